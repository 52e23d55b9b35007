# SPDX-License-Identifier: Apache-2.0
"""Distances of images to several reconstructions of them, block by block, and the plainest one: the mean squared error."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from lipbench.api import Context, InvalidInput, NotFinite

from ..base import Backbone, Distance

# Pixels of originals and reconstructions that are worked on together; bounds the memory, changes no value.
_BLOCK = 2**17

Measure = Callable[[Tensor, Tensor], Tensor]
"""(b, C, L, L) originals and (r, b, C, L, L) reconstructions -> (r, b) float64."""


class PairDistance(Distance):
    """A distance of two images that depends on no other image; larger is further."""

    encodes: ClassVar[bool] = False
    """True where it evaluates the encoder of the diffusion model: once for an image and once for each reconstruction."""

    @abstractmethod
    def prepare(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Measure:
        """Check the images' shape and the backbone, and give what measures one block on `ctx.device`."""

    def between(self, x: Tensor, y: Tensor, backbone: Backbone | None, ctx: Context) -> Tensor:
        """(n,) float64 distances of images x, y (n, C, L, L) in [0, 1].

        Raises:
            InvalidInput: The shapes differ, the backbone is of another kind, or weights are missing.
            NotFinite: A distance is NaN or infinite.
        """
        return self.attempts(x, y[None], backbone, ctx)[0]

    @torch.inference_mode()
    def attempts(self, x: Tensor, ys: Tensor, backbone: Backbone | None, ctx: Context) -> Tensor:
        """(r, n) float64 distances of images x (n, C, L, L) to r reconstructions of each, ys (r, n, C, L, L), all in [0, 1].

        Raises:
            InvalidInput, NotFinite: As in `between`.
        """
        if x.ndim != 4 or ys.ndim != 5 or ys.shape[1:] != x.shape:
            raise InvalidInput(
                f"{type(self).__name__} compares images (n, C, L, L) with as many of the same shape, "
                f"found {tuple(x.shape)} and {tuple(ys.shape[1:])}"
            )
        measure = self.prepare(x, backbone, ctx)
        found = torch.empty(ys.shape[:2], dtype=torch.float64)
        size = ctx.batch(max(1, _BLOCK // max(1, (len(ys) + 1) * x[0].numel()))) if len(x) else 1
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            found[:, rows] = measure(x[rows].to(ctx.device), ys[:, rows].to(ctx.device)).cpu()
        if not bool(torch.isfinite(found).all()):
            raise NotFinite(f"{type(self).__name__} gave a distance that is not finite; look for NaN in the reconstructions")
        return found


class MeanSquared(PairDistance):
    """Mean squared difference over pixels and channels. No network is evaluated.

    Small for smooth or faint images wherever they come from, because little of them can be got wrong.
    """

    def prepare(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Measure:
        """Nothing to prepare; any backbone, or none."""
        return lambda x, ys: (x.double() - ys.double()).square().mean((-3, -2, -1))
