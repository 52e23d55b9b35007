# SPDX-License-Identifier: Apache-2.0
"""Lower bounds that survive rounding: ratios of stored pairs, recomputed in float64 and reduced by their error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lipbench.api import Value

from .result import Scope, bound
from .rounding import UNIT, Reference, lengths
from .task import ORDER, NetworkOnRegion

TAU = 0.01
"""Inflation k_raw / k_ref - 1 above which a ratio is called an artefact of rounding."""
# Steps of finite pairs, in diameters of the box: long ones suffer from curvature and kinks, short ones from rounding.
STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
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
    return certify_pairs(evidence, x, y, k_raw=blank, reference=reference), x, y


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
        room = (evidence.radius * (1 - 1e-9) - lengths(delta, evidence.norm)).clamp_min(0)
        points = centres + (points - centres) * _column((room / gap.clamp_min(1e-300)).clamp_max(1), points)
    middle = torch.maximum(torch.minimum(points, evidence.high - half.abs()), evidence.low + half.abs())
    return (middle + half).clamp(evidence.low, evidence.high), (middle - half).clamp(evidence.low, evidence.high)


def pairs_in_region(evidence: NetworkOnRegion) -> tuple[Tensor, Tensor]:
    """The pairs of the task as they are, or, where the region is balls, drawn towards the centre of one ball a pair."""
    if evidence.radius is None:
        return evidence.x, evidence.y
    centres = evidence.points[torch.arange(len(evidence.x)) % len(evidence.points)].double()
    inside = evidence.radius * (1 - 1e-6)
    return _into_ball(evidence, evidence.x, centres, inside), _into_ball(evidence, evidence.y, centres, inside)


def _into_ball(evidence: NetworkOnRegion, ends: Tensor, centres: Tensor, radius: float) -> Tensor:
    offset = ends.double() - centres
    # The stored end is rounded to the precision of the search, so it stops a little short of the rim.
    room = radius - torch.finfo(ends.dtype).eps * lengths(centres, evidence.norm)
    scale = (room.clamp_min(0) / lengths(offset, evidence.norm).clamp_min(1e-300)).clamp_max(1)
    return (centres + offset * _column(scale, offset)).clamp(evidence.low, evidence.high).to(ends.dtype)


def region_scope(evidence: NetworkOnRegion) -> Scope:
    """The scope of what was searched in the region of the evidence."""
    return "box" if evidence.radius is None else "ball"


def is_certified(k_ref: float, k_cert: float, rigorous: bool) -> bool:
    """Whether rounding is proved, or estimated to be far below what is printed."""
    return rigorous or k_ref - k_cert <= 1e-6 * k_ref


def witness(x: Tensor, y: Tensor) -> dict[str, Any] | None:
    """A pair as lists where it has at most 64 coordinates."""
    if x.numel() > _WITNESS:
        return None
    return {"x": x.double().flatten().tolist(), "y": y.double().flatten().tolist()}


def lower_bound(
    evidence: NetworkOnRegion, x: Tensor, y: Tensor, certified: Certified, *, scope: Scope | None = None, **extras: Any
) -> Value:
    """Report the pair with the largest certified ratio.

    Args:
        evidence: What was searched.
        x: (P, *shape) first ends.
        y: (P, *shape) second ends.
        certified: Their ratios.
        scope: Where the pairs lie; None for the region of the evidence.
        extras: Further facts.
    """
    i = certified.best()
    raw, ref, cert = (float(k[i]) for k in (certified.k_raw, certified.k_ref, certified.k_cert))
    return bound(
        evidence,
        cert,
        kind="lower",
        scope=scope or region_scope(evidence),
        certified=is_certified(ref, cert, certified.rigorous),
        **{
            "k_raw": raw,
            "k_ref": ref,
            "k_cert": cert,
            "inflation": raw / ref if ref > 0 else None,
            "fp_artifact": raw > (1 + TAU) * ref,
            "rigorous": certified.rigorous,
            "d": float(certified.distance[i]),
            "witness": witness(x[i], y[i]),
            **extras,
        },
    )
