# SPDX-License-Identifier: Apache-2.0
"""Wasserstein distances of samples: exact, with entropy, and in slices; the solvers are those of POT."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, InvalidInput

from ..base import Distance, Distribution
from ..moments import gaussian_w2_squared


def pot() -> Any:
    """The module `ot`, imported where it is needed.

    Raises:
        InvalidInput: It is not installed.
    """
    try:
        import ot
    except ImportError as error:
        raise InvalidInput("this distance needs the package POT: pip install 'lipbench[transport]'") from error
    return ot


def costs(x: Tensor, y: Tensor, order: int) -> Tensor:
    """Distances to a power between all rows, (n, m), by differences: exactly 0 between equal rows."""
    found = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    return found if order == 1 else found.square()


_UNDERFLOW = 500


class Wasserstein(Distance):
    """Exact W1 or W2 of two samples, by the network simplex of POT.

    Args:
        order: 1 or 2.

    Cost: about n^3 log n operations and 8 n^2 bytes. Source: N. Bonneel et al., Displacement interpolation using Lagrangian
    mass transport, SIGGRAPH Asia 2011 (solver); R. Flamary et al., POT, JMLR 22(78), 2021.
    """

    pairwise = True

    def __init__(self, *, order: Literal[1, 2] = 2) -> None:
        self.order = order

    def between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """The root of order `order` of the least cost."""
        return self.loss(x, y, ctx).clamp(min=0) ** (1 / self.order)

    def loss(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """The least cost itself; its gradient holds the optimal plan fixed."""
        a, b = (torch.full((len(z),), 1 / len(z), dtype=z.dtype, device=z.device) for z in (x, y))
        found = costs(x, y, self.order)
        if not bool(found.isfinite().all()):
            return found.sum() * math.nan  # of which the solver would make 0
        value: Tensor = pot().emd2(a, b, found, numItermax=10_000_000)
        return value

    def population(self, p: Distribution, q: Distribution) -> float | None:
        """Known between Gaussians, for W2."""
        if self.order == 1 or not (p.gaussian and q.gaussian):
            return None
        return float(gaussian_w2_squared(p.mean, p.cov, q.mean, q.cov)) ** 0.5


class Sinkhorn(Distance):
    """Sinkhorn divergence: optimal transport of squared distances with entropy, less its value within each sample.

    S = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2 is 0 between equal samples and, like W2^2, no metric.

    Args:
        epsilon: Weight of the entropy, as a share of the mean squared distance between rows of the pooled samples.
        steps: Most iterations.
        tolerance: At which error of the marginals they stop.

    Source: J. Feydy et al., Interpolating between optimal transport and MMD using Sinkhorn divergences, AISTATS 2019; solver: POT.
    """

    degree = 2.0
    unit = "feature unit^2"
    pairwise = True

    def __init__(
        self,
        *,
        epsilon: Annotated[float, Field(gt=0)] = 0.1,
        steps: Annotated[int, Field(ge=1)] = 200,
        tolerance: Annotated[float, Field(gt=0)] = 1e-6,
    ) -> None:
        self.epsilon, self.steps, self.tolerance = epsilon, steps, tolerance

    def between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """Three problems with one weight of the entropy."""
        pooled = torch.cat([x, y]).detach()
        # Twice the variance of the pooled rows is their mean squared distance; 1 where all are equal, and any weight does.
        weight = self.epsilon * (2 * float((pooled - pooled.mean(0)).square().sum(1).mean()) or 1.0)
        return self._cost(x, y, weight) - (self._cost(x, x, weight) + self._cost(y, y, weight)) / 2

    def _cost(self, x: Tensor, y: Tensor, weight: float) -> Tensor:
        """Least cost plus `weight` times the divergence of the plan from independence; the gradient holds the plan fixed."""
        found = costs(x, y, 2)
        uniform = [torch.full((len(z),), 1 / len(z), dtype=z.dtype, device=z.device) for z in (x, y)]
        # Kernels of less than exp(-500) round to 0 and would divide by it; logarithms cost several times as much.
        method = "sinkhorn" if float(found.detach().max()) < _UNDERFLOW * weight else "sinkhorn_log"
        plan = pot().sinkhorn(
            *uniform, found.detach(), weight, method=method, numItermax=self.steps, stopThr=self.tolerance, warn=False
        )
        entropy = torch.special.xlogy(plan, plan * (len(x) * len(y))).sum()
        return (plan * found).sum() + weight * entropy


class SlicedWasserstein(Distance):
    """Sliced Wasserstein distance: W_p of the projections on random lines, averaged; n log n.

    One draw of lines serves a whole cell, so that the distance is one and the same function throughout.

    Args:
        projections: Number of lines.
        order: 1 or 2.

    Source: N. Bonneel et al., Sliced and Radon Wasserstein barycenters of measures, J. Math. Imaging Vis. 51, 2015; POT.
    """

    def __init__(self, *, projections: Annotated[int, Field(ge=1)] = 100, order: Literal[1, 2] = 2) -> None:
        self.projections, self.order = projections, order

    def between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """The root of the mean over lines."""
        return self.loss(x, y, ctx) ** (1 / self.order)

    def loss(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """To the power of its order, which has a gradient at 0."""
        lines = self._lines(x, ctx)
        moved, there = x @ lines, y @ lines
        if len(x) == len(y):
            # Row by row in order: twice as fast as the general quantile functions, which give the same.
            return (moved.sort(0).values - there.sort(0).values).abs().pow(self.order).mean()
        value: Tensor = pot().wasserstein_1d(moved, there, p=self.order).mean()
        return value

    def _lines(self, x: Tensor, ctx: Context) -> Tensor:
        """(d, projections) unit vectors."""
        generator = ctx.generator("lines")
        drawn = torch.randn((x.shape[1], self.projections), generator=generator, dtype=torch.float64).to(x.device)
        return drawn / torch.linalg.vector_norm(drawn, dim=0)
