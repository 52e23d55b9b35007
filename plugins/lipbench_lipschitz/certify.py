# SPDX-License-Identifier: Apache-2.0
"""Lower bounds that survive rounding: ratios of stored pairs, recomputed in float64 and reduced by their error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lipbench.api import Value

from .pairsource import Pairs, stored
from .result import Scope, bound
from .rounding import UNIT, Reference, lengths
from .task import ORDER, NetworkOnRegion

TAU = 0.01
"""Inflation k_raw / k_ref - 1 above which a ratio is called an artefact of rounding."""
# Steps of finite pairs, in diameters of the box: long ones suffer from curvature and kinks, short ones from rounding.
STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
# Coordinates up to which a point is written out.
_WITNESS = 64


@dataclass(frozen=True, kw_only=True)
class Certified:
    """Ratios of P stored pairs; tensors are (P,) float64 on the CPU."""

    k_raw: Tensor
    """The ratio in the precision of the search, what a naive search reports."""
    k_ref: Tensor
    """The same stored pair in float64."""
    k_cert: Tensor
    """A lower bound on K: `k_ref` less all rounding."""
    distance: Tensor
    """||x - y|| of the stored numbers."""
    error: Tensor
    """e64(x) + e64(y) in the norm of the task."""
    rigorous: bool
    """True where `error` is proved, False where it is estimated."""

    def best(self) -> int:
        """Index of the pair with the largest certified ratio."""
        return int(self.k_cert.argmax())

    def is_artefact(self, i: int, tau: float = TAU) -> bool:
        """Whether a pair's ratio, as searched or in float64, is above what remains of it after all rounding."""
        return max(float(self.k_raw[i]), float(self.k_ref[i])) > (1 + tau) * float(self.k_cert[i])

    def facts(self, i: int, tau: float = TAU) -> dict[str, Any]:
        """What is reported of one pair."""
        raw, ref = float(self.k_raw[i]), float(self.k_ref[i])
        return {
            "k_raw": raw,
            "k_ref": ref,
            "k_cert": float(self.k_cert[i]),
            "inflation": raw / ref if ref > 0 else None,
            "fp_artifact": self.is_artefact(i, tau),
            "rigorous": self.rigorous,
            "certificate": "proved" if self.rigorous else "estimated",
            "d": float(self.distance[i]),
        }


def _ratio(numerator: Tensor, distance: Tensor) -> Tensor:
    return torch.where(distance > 0, numerator / distance.clamp_min(torch.finfo(distance.dtype).tiny), 0.0)


def certify_outputs(
    x: Tensor, y: Tensor, fx: tuple[Tensor, Tensor], fy: tuple[Tensor, Tensor], *, norm: str, k_raw: Tensor, rigorous: bool
) -> Certified:
    """Certify pairs whose float64 outputs and their errors are known.

    k_cert = max(0, ||f64(x) - f64(y)|| (1 - (m+2)u) - e64(x) - e64(y)) / (d (1 + (n+2)u)), with a few more u for the
    operations of this formula.

    Args:
        x: (P, *shape) first ends, stored numbers.
        y: (P, *shape) second ends.
        fx: Outputs (P, m) and errors (P,) at `x`, from `Reference`.
        fy: The same at `y`.
        norm: Norm on inputs and outputs.
        k_raw: (P,) ratios in the precision of the search.
        rigorous: Whether the errors are proved.
    """
    n, m = x[0].numel(), fx[0].shape[1]
    distance = lengths((x.double() - y.double()).cpu(), norm)
    numerator = lengths(fx[0] - fy[0], norm)
    error = fx[1] + fy[1]
    low = (numerator * (1 - (m + 8) * UNIT) - error).clamp_min(0)
    return Certified(
        k_raw=k_raw.double().cpu(),
        k_ref=_ratio(numerator, distance),
        k_cert=_ratio(low, distance * (1 + (n + 8) * UNIT)),
        distance=distance,
        error=error,
        rigorous=rigorous,
    )


def raw_ratios(evidence: NetworkOnRegion, x: Tensor, y: Tensor) -> Tensor:
    """(P,) ratios in the precision of the search; costs 2 forwards a pair."""
    x, y = x.to(evidence.probe.dtype), y.to(evidence.probe.dtype)
    both = evidence.probe(torch.cat([x, y])).cpu()
    return _ratio(lengths(both[: len(x)] - both[len(x) :], evidence.norm), lengths(x - y, evidence.norm).cpu()).double()


def certify_pairs(
    evidence: NetworkOnRegion, x: Tensor, y: Tensor, *, k_raw: Tensor | None = None, reference: Reference | None = None
) -> Certified:
    """Ratios of stored pairs in the search's own precision, in float64, and certified. Costs 4 forwards a pair.

    Args:
        evidence: The network and the norm.
        x: (P, *shape) first ends, in the precision of the search or in float64.
        y: (P, *shape) second ends.
        k_raw: The ratios of the search where they are already known; saves 2 forwards a pair.
        reference: The float64 network where the caller has one; its error estimate is then paid for once.
    """
    reference = reference or Reference(evidence)
    if k_raw is None:
        k_raw = raw_ratios(evidence, x, y)
    out, error = reference(torch.cat([x, y]))
    p = len(x)
    return certify_outputs(
        x, y, (out[:p], error[:p]), (out[p:], error[p:]), norm=evidence.norm, k_raw=k_raw, rigorous=reference.rigorous
    )


def certify_directions(
    evidence: NetworkOnRegion,
    points: Tensor,
    directions: Tensor,
    *,
    k_raw: Tensor | None = None,
    steps: Sequence[float] = STEPS,
    reference: Reference | None = None,
) -> tuple[Certified, Tensor, Tensor]:
    """Finite float64 pairs around points along directions, each with the step that gives the largest certified ratio.

    The pair is moved into the region, which keeps its direction. Costs 2 forwards a point and step.

    Args:
        evidence: The network, the norm and the region.
        points: (P, *shape) places of a large derivative.
        directions: (P, *shape), of any length but zero.
        k_raw: (P,) what the caller's own search says of these points; the float64 ratio where None.
        steps: Lengths of the pairs in diameters of the box (of the ball, where the region has a radius).
        reference: The float64 network where the caller has one.

    Returns:
        The certified ratios and the two ends of each pair, (P, *shape) float64.
    """
    reference = reference or Reference(evidence)
    points, directions = points.double().cpu(), directions.double().cpu()
    unit = directions / _column(lengths(directions, evidence.norm).clamp_min(1e-300), directions)
    tried = [_along(evidence, reference, points, unit * (step * diameter(evidence))) for step in steps]
    best = torch.stack([t[0].k_cert for t in tried]).argmax(0)
    rows = torch.arange(len(points))

    def pick(parts: list[Tensor]) -> Tensor:
        return torch.stack(parts)[best, rows]

    k_ref = pick([t[0].k_ref for t in tried])
    certified = Certified(
        k_raw=k_ref if k_raw is None else k_raw.double().cpu(),
        k_ref=k_ref,
        k_cert=pick([t[0].k_cert for t in tried]),
        distance=pick([t[0].distance for t in tried]),
        error=pick([t[0].error for t in tried]),
        rigorous=reference.rigorous,
    )
    return certified, pick([t[1] for t in tried]), pick([t[2] for t in tried])


def _along(evidence: NetworkOnRegion, reference: Reference, points: Tensor, delta: Tensor) -> tuple[Certified, Tensor, Tensor]:
    x, y = segment_in_region(evidence, points, delta)
    blank = torch.zeros(len(x), dtype=torch.float64)
    return confined(evidence, x, y, certify_pairs(evidence, x, y, k_raw=blank, reference=reference)), x, y


def diameter(evidence: NetworkOnRegion) -> float:
    """Diameter of the box, or of a ball where the region is balls and that is smaller, in the norm of the task."""
    wide = (evidence.high - evidence.low) * evidence.probe.inputs ** (1 / ORDER[evidence.norm])
    return wide if evidence.radius is None else min(wide, 2 * evidence.radius)


def _column(v: Tensor, like: Tensor) -> Tensor:
    return v.reshape(-1, *(1,) * (like.dim() - 1))


def nearest_centres(evidence: NetworkOnRegion, points: Tensor) -> Tensor:
    """The evidence point closest to each of the points, in the norm of the task: the centre of its ball."""
    centres = evidence.points.to(points.dtype)
    gaps = torch.cdist(points.flatten(1).double(), centres.flatten(1).double(), p=ORDER[evidence.norm])
    return centres[gaps.argmin(1)]


def segment_in_region(evidence: NetworkOnRegion, points: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """Segments of given extent, centred at the points or as near to them as the region allows.

    Args:
        evidence: The region.
        points: (P, *shape) float64 wanted midpoints.
        delta: (P, *shape) float64 first end less second end; shorter than the region is wide.
    """
    half = delta / 2
    if evidence.radius is not None:
        # Away from the rim by the length of the segment; the shift into the box then costs at most half of it.
        centres = nearest_centres(evidence, points)
        gap = lengths(points - centres, evidence.norm)
        rim = (1 - 1e-9) * evidence.radius - 1e-15 * (lengths(centres, evidence.norm) + evidence.radius)
        room = (rim - lengths(delta, evidence.norm)).clamp_min(0)
        points = centres + (points - centres) * _column((room / gap.clamp_min(1e-300)).clamp_max(1), points)
    middle = torch.maximum(torch.minimum(points, evidence.high - half.abs()), evidence.low + half.abs())
    return (middle + half).clamp(evidence.low, evidence.high), (middle - half).clamp(evidence.low, evidence.high)


def ball_room(evidence: NetworkOnRegion, radius: float, centres: Tensor, *dtypes: torch.dtype) -> Tensor:
    """(P,) how far from its centre a point may lie, so that rounding it to each of some precisions leaves it in its ball.

    Half of what is kept free is used up by the rounding of the point itself, the rest is for midpoints of such points.
    """
    reach = lengths(centres.double(), evidence.norm) + radius
    spread = evidence.probe.inputs ** (1 / ORDER[evidence.norm])
    kept = torch.zeros_like(reach)
    for info in map(torch.finfo, dtypes):
        # Relative to the coordinates, and the spacing of the smallest numbers for those near 0.
        kept += info.eps * reach + info.eps * info.smallest_normal * spread
    return (radius * (1 - 1e-6) - kept).clamp_min(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _PairsInBalls(Pairs):
    """The pairs of the task, each drawn towards the centre of one ball."""

    evidence: NetworkOnRegion
    radius: float

    def __len__(self) -> int:
        return len(self.evidence.pairs)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Move the ends that lie outside."""
        x, y = self.evidence.pairs.take(index)
        centres = self.evidence.points[index % len(self.evidence.points)].double()
        room = ball_room(self.evidence, self.radius, centres, x.dtype)
        return self._inside(x, centres, room), self._inside(y, centres, room)

    def _inside(self, ends: Tensor, centres: Tensor, room: Tensor) -> Tensor:
        offset = ends.double() - centres
        scale = (room / lengths(offset, self.evidence.norm).clamp_min(1e-300)).clamp_max(1)
        return stored(centres + offset * _column(scale, offset), self.evidence.spec, ends.dtype)


def pairs_in_region(evidence: NetworkOnRegion) -> Pairs:
    """The pairs of the task as they are, or, where the region is balls, drawn towards the centre of one ball a pair."""
    radius = evidence.radius
    return evidence.pairs if radius is None else _PairsInBalls(evidence=evidence, radius=radius)


def confined(evidence: NetworkOnRegion, x: Tensor, y: Tensor, certified: Certified) -> Certified:
    """The same, with nothing certified where rounding has carried an end of a pair out of the region."""
    first, second = (ends.double().cpu().flatten(1) for ends in (x, y))
    both = torch.stack([first, second])
    inside = ((both >= evidence.low) & (both <= evidence.high)).all(2).all(0)
    if evidence.radius is not None:
        centres, order = evidence.points.double().flatten(1), ORDER[evidence.norm]
        # The quick way to distances, by products, loses all digits of small ones.
        gaps = [torch.cdist(e, centres, p=order, compute_mode="donot_use_mm_for_euclid_dist") for e in (first, second)]
        slack = 1 + (first.shape[1] + 8) * UNIT
        inside &= (torch.maximum(*gaps) * slack <= evidence.radius).any(1)
    return replace(certified, k_cert=torch.where(inside, certified.k_cert, 0.0))


def region_scope(evidence: NetworkOnRegion) -> Scope:
    """The scope of what was searched in the region of the evidence."""
    return "box" if evidence.radius is None else "ball"


def witness(norm: str, origin: Mapping[str, Any], **ends: Tensor) -> dict[str, Any]:
    """Which points attain a value: where they come from, and the points themselves or, where they are large, a digest.

    Args:
        norm: Norm of the task.
        origin: How to find them again.
        ends: The points by name, each with all its coordinates up to 64, otherwise its norm and the SHA-256 of its
            coordinates as float64 (little-endian, row-major).
    """
    found = dict(origin)
    for name, point in ends.items():
        flat = point.double().cpu().flatten()
        if flat.numel() <= _WITNESS:
            found[name] = flat.tolist()
        else:
            found[f"norm_{name}"] = float(lengths(flat[None], norm))
            found[f"sha256_{name}"] = hashlib.sha256(flat.numpy().astype("<f8").tobytes()).hexdigest()
    return found


def lower_bound(
    evidence: NetworkOnRegion,
    x: Tensor,
    y: Tensor,
    certified: Certified,
    *,
    origin: Callable[[int], Mapping[str, Any]],
    scope: Scope | None = None,
    **extras: Any,
) -> Value:
    """Report the pair with the largest certified ratio.

    Args:
        evidence: What was searched.
        x: (P, *shape) first ends.
        y: (P, *shape) second ends.
        certified: Their ratios.
        origin: Where the i-th of these pairs comes from.
        scope: Where the pairs lie; None for the region of the evidence.
        extras: Further facts.
    """
    certified = confined(evidence, x, y, certified)
    i = certified.best()
    return bound(
        evidence,
        float(certified.k_cert[i]),
        kind="lower",
        scope=scope or region_scope(evidence),
        certified=certified.rigorous,
        **certified.facts(i),
        witness=witness(evidence.norm, origin(i), x=x[i], y=y[i]),
        **extras,
    )
