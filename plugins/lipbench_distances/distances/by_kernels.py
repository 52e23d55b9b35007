# SPDX-License-Identifier: Apache-2.0
"""Maximum mean discrepancies and the energy distance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, InvalidInput

from ..base import Distance, Distribution, evenly
from .transport import costs

_BLOCK = 512
"""Rows of both sides of a tile of pairs: its 2 MB stay in the cache, which makes a Gaussian kernel of many rows ten times faster, and
50,000 rows need no matrix of 20 GB."""
_MEDIAN = 2000
"""Rows of each sample that a median of distances looks at."""
_Kernel = Callable[[Tensor, Tensor], Tensor]


class KernelMMD(Distance):
    """Maximum mean discrepancy of a kernel.

    Args:
        kernel: `gaussian` exp(-|x - y|^2 / 2 s^2), `laplace` exp(-|x - y| / s), `polynomial` (x.y)^2, whose squared MMD is the
            Gram loss, or `cubic` (x.y / d + 1)^3, that of KID.
        bandwidth: s, in feature units; null for the median distance between rows of the two samples, evenly chosen where there
            are more than 2,000, which makes it another distance for each pair.
        estimator: `v` averages over all pairs of rows and is never negative. `u` leaves out a row with itself: unbiased, and
            as a square that may fall below 0 given without a root.
        squared: Give the square.

    Source: A. Gretton et al., A kernel two-sample test, JMLR 13, 2012; M. Binkowski et al., Demystifying MMD GANs, ICLR 2018.
    """

    pairwise = True

    def __init__(
        self,
        *,
        kernel: Literal["gaussian", "laplace", "polynomial", "cubic"] = "gaussian",
        bandwidth: Annotated[float, Field(gt=0)] | None = 1.0,
        estimator: Literal["v", "u"] = "v",
        squared: bool = False,
    ) -> None:
        self.kernel, self.bandwidth, self.estimator = kernel, bandwidth, estimator
        self.squared = squared or estimator == "u"
        power = {"polynomial": 4.0, "cubic": 6.0}.get(kernel, 0.0)
        self.degree = power if self.squared else power / 2
        self.unit = "1" if power == 0 else f"feature unit^{self.degree:g}"

    def _between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """The root of the estimate, where `squared` is false."""
        value = self.loss(x, y, ctx)
        return value if self.squared else value.clamp(min=0).sqrt()

    def loss(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """The squared discrepancy."""
        kernel = self._kernel(x.detach(), y.detach())
        apart = self.estimator == "u"
        if apart and min(len(x), len(y)) < 2:
            raise InvalidInput("the unbiased estimate needs two rows of each sample; write estimator: v")
        within = _within(kernel, x, apart=apart) + _within(kernel, y, apart=apart)
        return within - 2 * _mean(kernel, x, y)

    def population(self, p: Distribution, q: Distribution) -> float | None:
        """Of `polynomial` from second moments; of `gaussian` with a fixed bandwidth between Gaussians, in closed form."""
        if self.kernel == "polynomial":
            square = float((p.gram - q.gram).square().sum())
        elif self.kernel == "gaussian" and self.bandwidth is not None and p.gaussian and q.gaussian:
            s = self.bandwidth
            square = _gaussian_mean(p, p, s) + _gaussian_mean(q, q, s) - 2 * _gaussian_mean(p, q, s)
        else:
            return None
        return square if self.squared else max(square, 0.0) ** 0.5

    def _kernel(self, x: Tensor, y: Tensor) -> _Kernel:
        if self.kernel == "polynomial":
            return lambda a, b: (a @ b.mT).square()
        if self.kernel == "cubic":
            return lambda a, b: (a @ b.mT / a.shape[1] + 1) ** 3
        s = self.bandwidth or float(_distances(*(z[evenly(len(z), _MEDIAN)] for z in (x, y))).median()) or 1.0
        if self.kernel == "laplace":
            return lambda a, b: (-costs(a, b, 1) / s).exp()
        return lambda a, b: (-costs(a, b, 2) / (2 * s**2)).exp()


class Energy(Distance):
    """Energy distance: the root of 2 E|X - Y| - E|X - X'| - E|Y - Y'|, averages over all pairs of rows.

    Args:
        squared: Give the square.

    Source: G. J. Szekely, M. L. Rizzo, Energy statistics, J. Stat. Plan. Inference 143, 2013.
    """

    pairwise = True

    def __init__(self, *, squared: bool = False) -> None:
        self.squared = squared
        self.degree = 1.0 if squared else 0.5
        self.unit = "feature unit" if squared else "feature unit^0.5"

    def _between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """From all distances of rows."""
        value = self.loss(x, y, ctx)
        return value if self.squared else value.clamp(min=0).sqrt()

    def loss(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """Its square."""
        return 2 * _mean(_distances, x, y) - _within(_distances, x) - _within(_distances, y)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return costs(x, y, 1)


def _mean(kernel: _Kernel, x: Tensor, y: Tensor) -> Tensor:
    """Mean of a kernel over all pairs of rows, tile by tile."""
    total = x.new_zeros(())
    for a in x.split(_BLOCK):
        for b in y.split(_BLOCK):
            total = total + kernel(a, b).sum()  # a list of sums would lie between the tiles and keep their memory from use
    return total / (len(x) * len(y))


def _within(kernel: _Kernel, x: Tensor, *, apart: bool = False) -> Tensor:
    """Mean over all pairs of rows of one sample, a tile and its mirror image computed once; `apart` leaves out a row with itself."""
    total = x.new_zeros(())
    for i, a in enumerate(parts := x.split(_BLOCK)):
        itself = kernel(a, a)
        total = total + (itself.sum() - itself.diagonal().sum() if apart else itself.sum())
        for b in parts[i + 1 :]:
            total = total + 2 * kernel(a, b).sum()
    return total / (len(x) * (len(x) - apart))


def _gaussian_mean(p: Distribution, q: Distribution, s: float) -> float:
    """E exp(-|X - Y|^2 / 2 s^2) of independent Gaussians."""
    scale = torch.eye(len(p.mean), dtype=p.mean.dtype) + (p.cov + q.cov) / s**2
    gap = (p.mean - q.mean) / s
    return math.exp(-0.5 * float(torch.linalg.slogdet(scale)[1] + gap @ torch.linalg.solve(scale, gap)))
