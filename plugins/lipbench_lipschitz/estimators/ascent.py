# SPDX-License-Identifier: Apache-2.0
"""Lower bound by gradient ascent on the ratio of a pair."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, InvalidInput, Value

from ..certify import ball_room, certify_pairs, diameter, lower_bound, pairs_in_region, raw_ratios
from ..diagnostics import sampled
from ..pairsource import box_ends
from ..result import Estimator
from ..rounding import Reference, d_min, lengths
from ..task import NetworkOnRegion

# A gradient keeps all activations of a batch; this many more bytes than a forward of one chunk.
_GRADIENT_SHARE = 4
_RECHECK = 8


class PairAscent(Estimator):
    """Gradient ascent (Adam) on log ||f(x + delta) - f(x)|| / ||delta|| over x and delta, many restarts at once.

    x and x + delta stay in the region, and r_min <= ||delta|| <= r_max: the smallest length is never below the distance at
    which rounding noise could pass for slope. The best pair of each restart is kept, the best of all are certified in
    float64. Unlike the Jacobian norm, the ratio of a finite pair has a gradient in x where the network is piecewise linear.

    A step costs 2 forwards and 2 backwards a restart; then 64 forwards for the noise floor and 2 float64 forwards for each
    of at most 8 pairs.

    Source: projected gradient ascent on the definition of K; Adam after Kingma and Ba, ICLR 2015, algorithm 1.

    Args:
        restarts: Pairs that climb. The first start from the given pairs, the rest from random places and directions.
        steps: Steps of Adam.
        lr: Size of a step, as a share of the width of the region.
        r_min: Smallest distance of a pair in raw input units; null for the distance that rounding allows.
        r_max: Largest distance; null for the diameter of the region.
        tau: Tolerated share of rounding noise in a ratio.
    """

    def __init__(
        self,
        *,
        restarts: Annotated[int, Field(ge=1)] = 32,
        steps: Annotated[int, Field(ge=0)] = 200,
        lr: Annotated[float, Field(gt=0)] = 0.01,
        r_min: Annotated[float, Field(gt=0)] | None = None,
        r_max: Annotated[float, Field(gt=0)] | None = None,
        tau: Annotated[float, Field(gt=0, lt=1)] = 0.01,
    ) -> None:
        self.restarts, self.steps, self.lr, self.tau = restarts, steps, lr, tau
        self.r_min, self.r_max = r_min, r_max

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Climb in groups, certify the best."""
        reference = Reference(evidence)
        noise = reference.noise_floor()
        x, delta, centres = self._starts(evidence, ctx)
        limits = self._limits(evidence, noise, x, delta)
        parts = [
            _climb(evidence, _Region(evidence, centres[rows], *limits), x[rows], delta[rows], self.steps, self._step(evidence))
            for rows in _groups(len(x), evidence)
        ]
        best, x, y, when = (torch.cat([getattr(p, name) for p in parts]) for name in ("best", "x", "y", "when"))
        heights = torch.stack([p.heights for p in parts]).amax(0)
        top = best.argsort(descending=True, stable=True)[:_RECHECK]
        certified = certify_pairs(evidence, x[top], y[top], k_raw=best[top], reference=reference)

        def origin(i: int) -> dict[str, Any]:
            return {"restart": int(top[i]), "step": int(when[top[i]]), "how": "the pair of the restart after the step"}

        return lower_bound(
            evidence,
            x[top],
            y[top],
            certified,
            origin=origin,
            trace=sampled(step=range(self.steps + 1), best=heights.tolist()),
            eps_out=noise,
            d_min=limits[0],
            r_max=limits[1],
            restarts=self.restarts,
            per_restart=[float(q) for q in best.quantile(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64))],
        )

    def _step(self, evidence: NetworkOnRegion) -> float:
        width = evidence.high - evidence.low
        return self.lr * (width if evidence.radius is None else min(width, 2 * evidence.radius))

    def _limits(self, evidence: NetworkOnRegion, noise: float, x: Tensor, delta: Tensor) -> tuple[float, float]:
        """r_min and r_max; d_min is taken for the steepest of the starting pairs."""
        longest = self.r_max or diameter(evidence)
        steepest = float(raw_ratios(evidence, x + delta, x).max())
        finest = d_min(noise, steepest, self.tau)
        shortest = max(self.r_min or 0.0, finest if finest < longest else 0.0, 1e-9 * diameter(evidence))
        if shortest > longest:
            raise InvalidInput(f"pair_ascent: r_min is {shortest:g}, above r_max {longest:g}; write a smaller r_min")
        return shortest, longest

    def _starts(self, evidence: NetworkOnRegion, ctx: Context) -> tuple[Tensor, Tensor, Tensor]:
        """x, delta and the centre of each restart's ball (unused where the region is the box)."""
        x, y = (ends.float() for ends in pairs_in_region(evidence).first(self.restarts))
        g = ctx.generator("restarts")
        size = (self.restarts - len(x), *evidence.spec.shape)
        width = evidence.high - evidence.low
        centres = evidence.points[torch.arange(self.restarts) % len(evidence.points)].float()
        place = evidence.low + width * torch.rand(size, generator=g)
        if evidence.radius is not None:
            place = centres[len(x) :]
        step = torch.randn(size, generator=g)
        scale = torch.exp(torch.rand(size[0], generator=g) * math.log(100.0)) / 100 * diameter(evidence) / 2
        step = step * (scale / lengths(step, evidence.norm).clamp_min(1e-30)).reshape(-1, *(1,) * (step.dim() - 1))
        return torch.cat([x, place]), torch.cat([y - x, step]), centres


@dataclass(frozen=True)
class _Region:
    """Projection of pairs (x, x + delta) onto the region and the allowed distances."""

    evidence: NetworkOnRegion
    centres: Tensor
    shortest: float
    longest: float

    def project(self, x: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        """The pair moved inside: length first, then place, which leaves the direction as it is."""
        low, high, norm = self.evidence.low, self.evidence.high, self.evidence.norm
        delta = delta.clamp(low - high, high - low)
        size = lengths(delta, norm).clamp_min(1e-30)
        delta = delta * _column(size.clamp(self.shortest, self.longest) / size, delta)
        delta = delta.clamp(low - high, high - low)
        x = torch.maximum(torch.minimum(x, high - delta.clamp_min(0)), low - delta.clamp_max(0))
        if self.evidence.radius is None:
            return x, delta
        # Towards the centre until both ends are in the ball, also when rounded; both stay in the box, as the centre is in it.
        reach = torch.maximum(lengths(x - self.centres, norm), lengths(x + delta - self.centres, norm)).clamp_min(1e-30)
        room = ball_room(self.evidence, self.evidence.radius, self.centres, x.dtype, self.evidence.probe.dtype)
        shrink = _column((room.to(x.dtype) / reach).clamp_max(1), x)
        return self.centres + (x - self.centres) * shrink, delta * shrink

    def ends(self, x: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        """The two stored numbers that f is given: inside the box also after rounding."""
        dtype = self.evidence.probe.dtype
        low, high = box_ends(self.evidence.spec, dtype)
        return x.to(dtype).clamp(low, high), (x + delta).to(dtype).clamp(low, high)


def _column(v: Tensor, like: Tensor) -> Tensor:
    return v.reshape(-1, *(1,) * (like.dim() - 1))


def _groups(count: int, evidence: NetworkOnRegion) -> Iterator[slice]:
    size = max(1, evidence.probe.chunk * _GRADIENT_SHARE)
    for start in range(0, count, size):
        yield slice(start, min(count, start + size))


@dataclass(frozen=True, kw_only=True)
class _Climbed:
    """What R restarts found."""

    best: Tensor
    """(R,) the best ratio of each, float64 on the CPU."""
    x: Tensor
    """(R, *shape) its first stored end."""
    y: Tensor
    """(R, *shape) its second stored end."""
    when: Tensor
    """(R,) after how many steps it was found."""
    heights: Tensor
    """(steps + 1,) the best ratio of all restarts so far."""


def _climb(evidence: NetworkOnRegion, region: _Region, x: Tensor, delta: Tensor, steps: int, lr: float) -> _Climbed:
    probe = evidence.probe
    x, delta = region.project(x, delta)
    x, delta = x.requires_grad_(), delta.requires_grad_()
    adam = torch.optim.Adam([x, delta], lr=lr, maximize=True)
    best, heights = torch.full((len(x),), -1.0, dtype=torch.float64), torch.empty(steps + 1, dtype=torch.float64)
    when = torch.zeros(len(x), dtype=torch.int64)
    kept_x, kept_y = region.ends(x.detach(), delta.detach())
    for step in range(steps + 1):
        first, second = region.ends(x, delta)
        out = probe.differentiable(torch.cat([first, second])).cpu()
        wide = torch.float64 if out.dtype == torch.float64 else torch.float32
        top = lengths((out[: len(x)] - out[len(x) :]).to(wide), evidence.norm)
        gap = lengths(first.to(wide) - second.to(wide), evidence.norm)
        ratio = torch.where(gap > 0, top / gap.clamp_min(1e-30), 0.0).detach().double()
        better = ratio > best
        best, when[better] = torch.where(better, ratio, best), step
        heights[step] = best.max()
        kept_x[better], kept_y[better] = first.detach()[better], second.detach()[better]
        if step == steps:
            break
        adam.zero_grad()
        (top.clamp_min(1e-30).log() - gap.clamp_min(1e-30).log()).sum().backward()
        probe.meter.backwards += 2 * len(x)
        adam.step()
        with torch.no_grad():
            moved = region.project(x, delta)
            x.copy_(moved[0]), delta.copy_(moved[1])
    return _Climbed(best=best, x=kept_x, y=kept_y, when=when, heights=heights)
