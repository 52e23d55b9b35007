# SPDX-License-Identifier: Apache-2.0
"""Projected gradient descent on the margin in l2 balls, to hold certificates against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .losses import margins, right


def pgd_l2(
    module: nn.Module, x: Tensor, y: Tensor, radius: float, *, steps: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Look for an input in the ball whose class is wrong; the ball is not cut by the range of the data.

    Steps of 2.5 radius / steps along the normalised gradient of the margin, from a random point of the ball; the point itself
    counts as well.

    Args:
        module: (B, *shape) -> (B, m), its weights without gradient.
        x: (B, *shape).
        y: (B,) classes.
        radius: Of the balls, in the unit of x.
        steps: Gradients.
        generator: Of the starts.

    Returns:
        (B,) bool, True where every point that was met is right; (B, *shape) the last points.
    """
    wide = (-1, *(1,) * (x.ndim - 1))
    start = torch.randn(x.shape, generator=generator)
    shift = start / _norm(start).view(wide) * radius * torch.rand(len(x), generator=generator).view(wide)
    with torch.no_grad():
        held = right(module(x), y)
    for _ in range(steps):
        moved = (x + shift).requires_grad_(True)
        f = module(moved)
        held &= right(f.detach(), y)
        (gradient,) = torch.autograd.grad(margins(f, y).sum(), moved)
        shift = shift - 2.5 * radius / steps * gradient / _norm(gradient).view(wide)
        shift = shift * (radius / _norm(shift)).clamp_max(1.0).view(wide)
    with torch.no_grad():
        held &= right(module(x + shift), y)
    return held, x + shift


def _norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1).clamp_min(1e-12)
