# SPDX-License-Identifier: Apache-2.0
"""What the trace of one pair shows: signs of rounding in its own numbers, and the same pairs again in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from .certify import Certified, certify_outputs, confined
from .linesearch import Search, trail
from .pairsource import Pairs
from .rounding import Reference
from .task import NetworkOnRegion

ENTRIES = 64
"""Entries of a trace that are kept for the reader."""


@dataclass(frozen=True, kw_only=True)
class TraceSigns:
    """What a trace says of its own rounding."""

    monotonicity_violations: int
    """Rounds after which the ratio fell, which exact arithmetic forbids."""
    halving_defects: int
    """Rounds that did not halve the distance: midpoints are no longer representable."""
    local_exponent: float | None
    """-dlog k / dlog d over the last rounds: 0 on a plateau, 1 where a constant numerator is divided by d."""

    def to_json(self) -> dict[str, Any]:
        """The signs by name."""
        return asdict(self)


def trace_signs(
    distance: Sequence[float], ratio: Sequence[float], *, fall: float = 1e-6, defect: float = 1e-3, last: int = 4
) -> TraceSigns:
    """Read the signs of rounding off a trace.

    Args:
        distance: Distances, from the given pair on.
        ratio: Ratios of the same pairs.
        fall: Relative fall of the ratio that counts as a violation.
        defect: Deviation of d_{i+1} / d_i from 1/2 that counts as a defect.
        last: Rounds over which the exponent is taken.
    """
    steps = list(zip(distance, distance[1:], ratio, ratio[1:], strict=False))
    return TraceSigns(
        monotonicity_violations=sum(k1 < k0 * (1 - fall) for _, _, k0, k1 in steps),
        halving_defects=sum(d0 > 0 and abs(d1 / d0 - 0.5) > defect for d0, d1, _, _ in steps),
        local_exponent=_exponent(distance[-last - 1 :], ratio[-last - 1 :]),
    )


def _exponent(distance: Sequence[float], ratio: Sequence[float]) -> float | None:
    if len(distance) < 2 or min(*distance, *ratio) <= 0 or distance[0] == distance[-1]:
        return None
    return -math.log(ratio[-1] / ratio[0]) / math.log(distance[-1] / distance[0])


def differing_coordinates(x: Tensor, y: Tensor) -> int:
    """How many coordinates still differ between two stored points; it drops when a pair runs out of digits."""
    return int((x != y).sum())


def batch_dependence(f: Callable[[Tensor], Tensor], points: Tensor) -> float:
    """Largest change of an output (l2) between a point alone and in a batch: how far f is from being a function.

    Args:
        f: (B, *shape) -> (B, m).
        points: (B, *shape), a few; costs 2 B evaluations.
    """
    together, alone = f(points), torch.cat([f(p[None]) for p in points])
    return float(torch.linalg.vector_norm((together.double() - alone.double()).flatten(1), dim=1).max())


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One pair from its start to its last halving."""

    distance: list[float]
    """Distances in the precision of the search."""
    k_raw: list[float]
    """Ratios in the precision of the search."""
    entries: list[int]
    """The entries that were computed again in float64."""
    x: Tensor
    """(E, *shape) first ends of these entries."""
    y: Tensor
    """(E, *shape) second ends."""
    certified: Certified
    """Their ratios in float64."""

    def to_json(self) -> dict[str, Any]:
        """Distances and ratios, at most 64 of them; `k_ref` and `k_cert` are null where float64 was not asked."""
        rows = {e: i for i, e in enumerate(self.entries)}
        shown = spread(len(self.distance), ENTRIES, self.entries if len(self.entries) <= ENTRIES else [])

        def column(values: Tensor) -> list[float | None]:
            return [float(values[rows[e]]) if e in rows else None for e in shown]

        return {
            "d": [self.distance[e] for e in shown],
            "k_raw": [self.k_raw[e] for e in shown],
            "k_ref": column(self.certified.k_ref),
            "k_cert": column(self.certified.k_cert),
        }


def spread(count: int, limit: int, must: Sequence[int] = ()) -> list[int]:
    """At most `limit` of range(count), evenly spread with both ends, and those that must be among them.

    >>> spread(10, 4, [7])
    [0, 4, 7, 9]
    """
    if count <= limit:
        return list(range(count))
    room = max(2, limit - len(must))
    chosen = {round(i * (count - 1) / (room - 1)) for i in range(room)} | set(must)
    return sorted(chosen)


def sampled(**columns: Sequence[float]) -> dict[str, list[float]]:
    """Columns of equal length, cut to at most 64 rows that are evenly spread, the last among them.

    >>> sampled(step=[0, 1, 2], best=[1.0, 1.5, 1.5])
    {'step': [0, 1, 2], 'best': [1.0, 1.5, 1.5]}
    """
    shown = spread(len(next(iter(columns.values()))), ENTRIES)
    return {name: [values[i] for i in shown] for name, values in columns.items()}


def retrace(
    evidence: NetworkOnRegion, reference: Reference, pairs: Pairs, search: Search, pair: int, limit: int, must: int
) -> Trace:
    """Compute the trace of one pair again in float64; a round costs one float64 forward, as in the search.

    Args:
        evidence: The network, the norm and the region.
        reference: The network in float64.
        pairs: As given to the search.
        search: What happened.
        pair: Which pair.
        limit: Largest number of entries to compute again.
        must: An entry that has to be among them.
    """
    rounds = int(search.rounds[pair])
    distance, ratio = search.distance[: rounds + 1, pair], search.ratio[: rounds + 1, pair]
    start_x, start_y = pairs.take(torch.tensor([pair]))
    points, ends = trail(start_x[0], start_y[0], search.left[:rounds, pair])
    entries = spread(rounds + 1, limit, [must])
    used, place = ends[entries].unique(return_inverse=True)
    out, error = reference(points[used])
    first, second = place[:, 0], place[:, 1]
    x, y = points[used][first], points[used][second]
    certified = certify_outputs(
        x,
        y,
        (out[first], error[first]),
        (out[second], error[second]),
        norm=evidence.norm,
        k_raw=ratio[entries],
        rigorous=reference.rigorous,
    )
    return Trace(
        distance=distance.tolist(),
        k_raw=ratio.tolist(),
        entries=entries,
        x=x,
        y=y,
        certified=confined(evidence, x, y, certified),
    )
