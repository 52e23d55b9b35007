# SPDX-License-Identifier: Apache-2.0
"""Lower bounds from the derivative: Jacobian norms at points, and ascent of the Jacobian norm over the region."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, NotApplicable, Value

from ..balls import into_region, uniform_region
from ..certify import certify_directions, lower_bound, nearest_centres
from ..diagnostics import sampled
from ..probe import Probe
from ..result import Estimator
from ..spectral import MAX_ENTRIES, Linearisation, jacobians, lanczos, power_iteration, pullback, steepest
from ..task import NetworkOnRegion, need_l2

# Largest min(m, n) of a full Jacobian: beyond it the passes it takes are worth more than its norm.
MAX_FULL = 1024

# Random steps longer than this part of the region's size are reflected at its walls.
_LONG = 0.03

How = Literal["exact", "power", "lanczos"]


class JacobianNorm(Estimator):
    """Largest operator norm of the Jacobian over points, turned into a certified pair.

    K on a convex region is the essential supremum of ||J(x)||, so every norm at a point is a lower bound up to rounding.
    The best points are followed by finite pairs along their steepest direction, and the value is the certified ratio of the
    best pair; the norm itself is `sigma` in the extras.

    Cost for each point: `exact` one forward and min(m, n) backwards (or tangents, where n < m); `power` and `lanczos` one
    forward, about `iterations` tangents and as many backwards. The certificate adds a few forwards for each candidate.

    Source: spectral norm by full Jacobian, power iteration or Golub & Kahan 1965 (Rayleigh-Ritz on the Krylov space).

    Args:
        method: `exact` singular values of the full Jacobian; `power` iteration or `lanczos`, both never above the norm;
            `auto` takes exact where it costs no more than lanczos, or where the norm is not l2.
        iterations: Products with the Jacobian in `power` and `lanczos`.
        samples: Further points drawn uniformly from the region.
        candidates: Number of points with the largest norms that are turned into certified pairs.
    """

    def __init__(
        self,
        *,
        method: Literal["auto", "exact", "power", "lanczos"] = "auto",
        iterations: Annotated[int, Field(ge=1)] = 20,
        samples: Annotated[int, Field(ge=0)] = 0,
        candidates: Annotated[int, Field(ge=1)] = 8,
    ) -> None:
        self.method, self.iterations, self.samples, self.candidates = method, iterations, samples, candidates

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Norms at all points, then pairs at the best ones."""
        how = self._choose(evidence)
        points, given = evidence.points, len(evidence.points)
        if self.samples:
            points = torch.cat([points, uniform_region(evidence, self.samples, ctx.generator("samples"))])
        sigma, directions = _norms(evidence, points, how, self.iterations, ctx.generator("directions"))
        return _certified(
            evidence,
            points.flatten(1),
            directions,
            sigma,
            self.candidates,
            lambda i: {"point": i} if i < given else {"sample": i - given},
            method=how,
            points=len(points),
            sigma_median=float(sigma.median()),
        )

    def _choose(self, evidence: NetworkOnRegion) -> How:
        size = min(evidence.probe.outputs, evidence.probe.inputs)
        if evidence.norm != "l2" and self.method not in ("auto", "exact"):
            raise NotApplicable(f"method: {self.method} finds spectral norms (norm: l2); use method: exact for {evidence.norm}")
        cheap = size <= 2 * self.iterations or evidence.norm != "l2"
        how = ("exact" if cheap else "lanczos") if self.method == "auto" else self.method
        if how == "exact" and size > MAX_FULL:
            raise NotApplicable(
                f"a full Jacobian needs min(inputs, outputs) <= {MAX_FULL}, here it is {size}; use norm: l2, method: lanczos"
            )
        return how


def _norms(
    evidence: NetworkOnRegion, points: Tensor, how: How, iterations: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Norms (N,) in float64 and steepest directions (N, n) at points (N, *shape)."""
    probe = evidence.probe
    parts = []
    if how == "exact":
        rows = max(1, MAX_ENTRIES // (probe.outputs * probe.inputs))
        parts = [steepest(jacobians(probe, part), evidence.norm) for part in points.split(rows)]
    else:
        solve = lanczos if how == "lanczos" else power_iteration
        rows = max(1, min(probe.chunk, MAX_ENTRIES // (iterations * probe.inputs)))
        for part in points.split(rows):
            line = Linearisation(probe, part)
            parts.append(solve(line, line.start(generator), iterations)[:2])
    return torch.cat([p[0] for p in parts]).cpu(), torch.cat([p[1] for p in parts]).double().cpu()


def _certified(
    evidence: NetworkOnRegion,
    x: Tensor,
    directions: Tensor,
    sigma: Tensor,
    candidates: int,
    named: Callable[[int], Mapping[str, int]],
    **extras: Any,
) -> Value:
    """The best certified pair at the points (N, n) with the largest `sigma`, and how its point is called."""
    top = torch.argsort(sigma, descending=True, stable=True)[:candidates]
    shape = (-1, *evidence.spec.shape)
    best = int(top[0])
    where = [float(c) for c in x[best]] if x.shape[1] <= 64 else None
    certified, a, b = certify_directions(evidence, x[top].reshape(shape), directions[top].reshape(shape))

    def origin(i: int) -> dict[str, Any]:
        return {**named(int(top[i])), "how": "at distance d around the point, along its steepest direction"}

    facts: dict[str, Any] = {"sigma": float(sigma[best]), "sigma_at": where, "sigma_from": dict(named(best)), **extras}
    return lower_bound(evidence, a, b, certified, origin=origin, **facts)


class JacobianAscent(Estimator):
    """Climb the spectral norm of the Jacobian over the region, from many starts at once.

    Each step moves x by the sign of the gradient of ||J(x) v||, then v by one power step; a step that lowers the norm is
    undone and halved. Networks of linear pieces have a zero gradient almost everywhere, which is measured at the starts: the
    steps then are random, of scales between the size of the region and 1e-5 of it (hill climbing; pair ascent is the
    stronger search there). `search` in the extras says which was used.

    The value is the certified ratio of a finite pair at the best point; the norm itself is `sigma` in the extras.

    Cost for each start and step: 4 forwards and 4 backwards by gradient, 3 forwards and 1 backward by random steps.

    Source: projected sign-gradient ascent with backtracking; power method on J^T J.

    Args:
        restarts: Number of starts: the task's points, then uniform draws from the region.
        steps: Number of steps.
        step: First step length, in widths of the box (in radii, where the region is balls).
        warmup: Power steps at the starts.
        candidates: Number of best ends that are turned into certified pairs.
    """

    def __init__(
        self,
        *,
        restarts: Annotated[int, Field(ge=1)] = 32,
        steps: Annotated[int, Field(ge=1)] = 100,
        step: Annotated[float, Field(gt=0, le=1)] = 0.1,
        warmup: Annotated[int, Field(ge=1)] = 10,
        candidates: Annotated[int, Field(ge=1)] = 8,
    ) -> None:
        self.restarts, self.steps, self.step, self.warmup, self.candidates = restarts, steps, step, warmup, candidates

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Warm up at the starts, choose the search, climb, certify."""
        need_l2(evidence, "jacobian_ascent")
        starts = evidence.points[: self.restarts]
        if self.restarts > len(starts):
            starts = torch.cat([starts, uniform_region(evidence, self.restarts - len(starts), ctx.generator("starts"))])
        probe, generator = evidence.probe, ctx.generator("climb")
        climbers = [
            _warm(evidence, part.to(device=probe.device, dtype=probe.dtype), self.warmup, generator)
            for part in starts.split(probe.chunk)
        ]
        slopes = [_gradient(probe, c) for c in climbers]
        flat = all(_is_flat(g, c.sigma, evidence) for g, c in zip(slopes, climbers, strict=True))
        before = torch.cat([c.sigma for c in climbers]).max()
        width = evidence.high - evidence.low if evidence.radius is None else evidence.radius
        # Random steps may wander about on a plateau, so that they reach its edges.
        slack = 8 * torch.finfo(probe.dtype).eps if flat else 0.0
        # Nothing is lost but the last bits on a plateau, so the best so far is the largest of a step.
        heights = torch.full((self.steps + 1,), float(before), dtype=torch.float64)
        for climber in climbers:
            climber.length.fill_(self.step * width)
            move = _random_move(evidence, width, generator) if flat else _gradient_move(probe)
            for step in range(self.steps):
                climber.advance(evidence, move(climber), slack)
                heights[step + 1] = max(heights[step + 1], climber.sigma.max())
        return _certified(
            evidence,
            torch.cat([c.x for c in climbers]).cpu(),
            torch.cat([c.v for c in climbers]).double().cpu(),
            torch.cat([c.sigma for c in climbers]).cpu(),
            self.candidates,
            lambda i: {"restart": i},
            trace=sampled(step=range(self.steps + 1), sigma=heights.cummax(0).values.tolist()),
            search="hill climbing" if flat else "gradient",
            sigma_start=float(before),
            restarts=self.restarts,
            accepted=int(sum(int(c.accepted.sum()) for c in climbers)),
        )


@dataclass
class _Climbers:
    """Points that climb together, one chunk."""

    x: Tensor
    """(B, n) where they are."""
    v: Tensor
    """(B, n) estimates of the top right singular vectors."""
    left: Tensor
    """(B, m) J(x) v / ||J(x) v||."""
    sigma: Tensor
    """(B,) ||J(x) v||, float64."""
    centres: Tensor
    """(B, n) where their balls are centred, if the region is balls."""
    length: Tensor
    """(B, 1) step lengths."""
    accepted: Tensor
    """(B,) steps that were kept."""

    def advance(self, evidence: NetworkOnRegion, move: Tensor, slack: float) -> None:
        """Try x + move with one power step from v; keep it where the norm rose, else halve the step.

        Args:
            evidence: The network and the region.
            move: (B, n) steps.
            slack: Relative loss that is still accepted.
        """
        x = into_region(evidence, self.x + move, self.centres)
        top = power_iteration(Linearisation(evidence.probe, x), self.v, 1)
        better = top.sigma > self.sigma * (1 - slack)
        self.accepted += better
        self.sigma = torch.where(better, top.sigma, self.sigma)
        self.x = torch.where(better[:, None], x, self.x)
        self.v = torch.where(better[:, None], top.right, self.v)
        self.left = torch.where(better[:, None], top.left, self.left)
        self.length = torch.where(better[:, None], self.length * 1.2, self.length * 0.5)


def _warm(evidence: NetworkOnRegion, starts: Tensor, steps: int, generator: torch.Generator) -> _Climbers:
    line = Linearisation(evidence.probe, starts)
    top = lanczos(line, line.start(generator), steps)
    x = starts.flatten(1)
    return _Climbers(
        x=x,
        v=top.right,
        left=top.left,
        sigma=top.sigma,
        centres=x if evidence.radius is None else nearest_centres(evidence, starts).flatten(1).to(x),
        length=torch.ones_like(x[:, :1]),
        accepted=torch.zeros(len(x), dtype=torch.int64, device=x.device),
    )


def _gradient(probe: Probe, c: _Climbers) -> Tensor:
    """Gradient of ||J(x) v|| in x (B, n).

    With w = J v / ||J v|| held fixed it is that of <J(x)^T w, v>, which is the pull-back of v through x -> J(x)^T w.
    """

    def pulled(points: Tensor) -> Tensor:
        return pullback(lambda z: probe.module(z.reshape(-1, *probe.shape)).flatten(1), points)[1](c.left)

    probe.meter.forwards += len(c.x)
    probe.meter.backwards += 3 * len(c.x)
    return pullback(pulled, c.x)[1](c.v).nan_to_num()


def _is_flat(gradient: Tensor, sigma: Tensor, evidence: NetworkOnRegion) -> bool:
    """Whether the whole region could be crossed without the norms changing by more than rounding."""
    gain = gradient.double().abs().sum(1) * (evidence.high - evidence.low)
    return bool((gain <= 64 * torch.finfo(gradient.dtype).eps * sigma).all())


def _gradient_move(probe: Probe) -> Callable[[_Climbers], Tensor]:
    return lambda c: c.length * _gradient(probe, c).sign()


def _random_move(evidence: NetworkOnRegion, width: float, generator: torch.Generator) -> Callable[[_Climbers], Tensor]:
    span = evidence.high - evidence.low

    def move(c: _Climbers) -> Tensor:
        scale = width * 10 ** (-5 * torch.rand((len(c.x), 1), generator=generator))
        target = c.x + (scale * torch.randn(c.x.shape, generator=generator)).to(c.x)
        # Long steps are reflected at the walls of the box, where clipping would heap the points up; short ones are clipped,
        # because the maximum may lie on the rim.
        folded = (target - evidence.low).remainder(2 * span)
        reflected = evidence.low + torch.minimum(folded, 2 * span - folded)
        return torch.where((scale > _LONG * width).to(c.x.device), reflected, target) - c.x

    return move
