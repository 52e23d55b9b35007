# SPDX-License-Identifier: Apache-2.0
"""Uniform draws from the region of a task: the box of the data's range, or balls cut by it."""

from __future__ import annotations

import torch
from torch import Tensor

from .task import ORDER, NetworkOnRegion, Norm


def uniform_ball(rows: int, inputs: int, norm: Norm, generator: torch.Generator) -> Tensor:
    """(rows, inputs) uniform draws from the unit ball of a norm, float32."""
    if norm == "linf":
        return 2 * torch.rand((rows, inputs), generator=generator) - 1
    if norm == "l2":
        g = torch.randn((rows, inputs), generator=generator)
        radius = torch.rand((rows, 1), generator=generator) ** (1 / inputs)
        return radius * torch.nn.functional.normalize(g)
    # Exponential spacings are uniform on the simplex; the one that is left out makes it the solid simplex.
    e = torch.empty((rows, inputs + 1)).exponential_(generator=generator)
    sign = torch.randint(0, 2, (rows, inputs), generator=generator) * 2 - 1
    return sign * e[:, :-1] / e.sum(1, keepdim=True)


def around(
    evidence: NetworkOnRegion, centres: Tensor, radius: float, rows: int, generator: torch.Generator, norm: Norm | None = None
) -> Tensor:
    """(C * rows, *shape) uniform draws from balls around centres (C, *shape), moved to the box where they leave it."""
    flat = centres.flatten(1).repeat_interleave(rows, 0)
    drawn = flat + radius * uniform_ball(len(flat), flat.shape[1], norm or evidence.norm, generator)
    return drawn.clamp(evidence.low, evidence.high).reshape(-1, *centres.shape[1:])


def uniform_region(evidence: NetworkOnRegion, rows: int, generator: torch.Generator) -> Tensor:
    """(rows, *shape) draws from the task's region: uniform on the box, or in balls around its points in turn."""
    if evidence.radius is None:
        unit = torch.rand((rows, *evidence.spec.shape), generator=generator)
        return evidence.low + (evidence.high - evidence.low) * unit
    turn = torch.arange(rows) % len(evidence.points)
    return around(evidence, evidence.points[turn], evidence.radius, 1, generator)


def into_region(evidence: NetworkOnRegion, x: Tensor, centres: Tensor) -> Tensor:
    """Move points (B, n) into the box and, where the region is balls, towards their centres (B, n) into the ball."""
    x = x.clamp(evidence.low, evidence.high)
    if evidence.radius is None:
        return x
    away = x - centres
    length = torch.linalg.vector_norm(away.double(), ORDER[evidence.norm], dim=1, keepdim=True)
    # A little inside, so that rounding cannot carry a point out of the ball.
    shrink = (evidence.radius * (1 - 1e-6) / length.clamp_min(1e-300)).clamp_max(1.0)
    return centres + shrink.to(x.dtype) * away
