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
_ITERATIONS = 1_000_000_000
_DENSE = 8192**2
"""Pairs of rows up to which a matrix of all of them is made; the solver of exact transport takes 40 bytes a pair, 2.7 GB at most."""
_BATCH = 2**20
"""Pairs of rows at a time beyond that."""


class Wasserstein(Distance):
    """Exact W1 or W2 of two samples, by the network simplex of POT.

    Args:
        order: 1 or 2.

    Cost: about n^3 log n operations at worst, and 40 bytes a pair of rows up to 8,192 of each. Beyond, costs are computed when they
    are asked for: a kilobyte a row, and the time times two in 3 features, ten in 64. Source: N. Bonneel et al., Displacement
    interpolation using Lagrangian mass transport, SIGGRAPH Asia 2011 (solver); R. Flamary et al., POT, JMLR 22(78), 2021.
    """

    pairwise = True

    def __init__(self, *, order: Literal[1, 2] = 2) -> None:
        self.order = order

    def _between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """The root of order `order` of the least cost."""
        return self.loss(x, y, ctx).clamp(min=0) ** (1 / self.order)

    def loss(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """The least cost itself; its gradient holds the optimal plan fixed."""
        if not bool(x.isfinite().all() & y.isfinite().all()):
            return (x.sum() + y.sum()) * math.nan  # of which the solver would make 0
        # The solver takes costs below 1e-15 for 0, so it is given features of size 1 about the origin.
        middle = x.detach().mean(0)
        size = float(max((z.detach() - middle).abs().max() for z in (x, y))) or 1.0
        x, y = ((z - middle) / size for z in (x, y))
        value = self._sparse(x, y) if len(x) * len(y) > _DENSE else self._dense(x, y)
        return value * size**self.order

    def _dense(self, x: Tensor, y: Tensor) -> Tensor:
        a, b = _uniform(x, y)
        value: Tensor = pot().emd2(a, b, costs(x, y, self.order), numItermax=_ITERATIONS)
        return value

    def _sparse(self, x: Tensor, y: Tensor) -> Tensor:
        """From the pairs of rows that the optimal plan joins, about n + m."""
        metric = "euclidean" if self.order == 1 else "sqeuclidean"
        rows = (z.detach().cpu().numpy() for z in (x, y))
        plan = pot().emd2_lazy(*rows, metric=metric, numItermax=_ITERATIONS, log=True)[1]["G"]
        i, j, mass = (torch.from_numpy(z).to(x.device) for z in (plan.row, plan.col, plan.data))
        return (mass * torch.linalg.vector_norm(x[i] - y[j], dim=1) ** self.order).sum()

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

    def _between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """Three problems with one weight of the entropy."""
        pooled = torch.cat([x, y]).detach()
        # Twice the variance of the pooled rows is their mean squared distance; 1 where all are equal, and any weight does.
        weight = self.epsilon * (2 * float((pooled - pooled.mean(0)).square().sum(1).mean()) or 1.0)
        return self._cost(x, y, weight) - (self._cost(x, x, weight) + self._cost(y, y, weight)) / 2

    def _cost(self, x: Tensor, y: Tensor, weight: float) -> Tensor:
        """Least cost plus `weight` times the divergence of the plan from independence; the gradient holds the plan fixed."""
        if len(x) * len(y) > _DENSE:
            return self._in_batches(x, y, weight)
        found = costs(x, y, 2)
        # Kernels of less than exp(-500) round to 0 and would divide by it; logarithms cost several times as much.
        method = "sinkhorn" if float(found.detach().max()) < _UNDERFLOW * weight else "sinkhorn_log"
        plan = pot().sinkhorn(
            *_uniform(x, y), found.detach(), weight, method=method, numItermax=self.steps, stopThr=self.tolerance, warn=False
        )
        return _objective(plan, found, weight, len(x) * len(y))

    def _in_batches(self, x: Tensor, y: Tensor, weight: float) -> Tensor:
        """The same without a matrix of all pairs, unless a gradient is asked for."""
        rows = max(1, _BATCH // max(len(x), len(y)))
        middle = x.detach().mean(0)  # POT's squares of distances are differences of squares of rows
        x, y = x - middle, y - middle
        u, v = pot().bregman.empirical_sinkhorn(
            x.detach(),
            y.detach(),
            weight,
            numIterMax=self.steps,
            stopThr=self.tolerance,
            isLazy=True,
            batchSize=rows,
            warn=False,
        )
        parts = []
        for part, mine in zip(x.split(rows), u.split(rows), strict=True):
            found = costs(part, y, 2)
            plan = (mine[:, None] + v - found.detach() / weight).exp()
            parts.append(_objective(plan, found, weight, len(x) * len(y)))
        return torch.stack(parts).sum()


def _uniform(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the rows of two samples, each of sum 1."""
    a, b = (torch.full((len(z),), 1 / len(z), dtype=z.dtype, device=z.device) for z in (x, y))
    return a, b


def _objective(plan: Tensor, found: Tensor, weight: float, pairs: int) -> Tensor:
    """Cost of a plan, or of some rows of it, and `weight` times its divergence from independence."""
    return (plan * found).sum() + weight * torch.special.xlogy(plan, plan * pairs).sum()


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

    def _between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
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
