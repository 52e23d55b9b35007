# SPDX-License-Identifier: Apache-2.0
"""The audit: a certified lower bound above a certified upper bound of the same constant means that one of them is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from lipbench.api import Record

from .reading import Bound, read_bounds

# Upper bounds and exact values are proved up to float64 rounding of a handful of last operations, which is not always carried
# outwards (the singular values behind an exact value err by about 1e-15 relative to the norms of the layers). No claim made
# with the five digits that are printed depends on the ninth.
SLACK = 1e-9


def bounds(records: Sequence[Record]) -> Iterator[str]:
    """One sentence for each contradiction.

    Compared are values of the same network (label, parameters, code, seed), data, norm and layer, where the region of the
    lower one lies inside that of the upper one. Precision of the search, kind and number of pairs do not matter: all of them
    bound the constant of the same real function. Estimates and unranked values never take part, nor upper bounds without proof.

    Args:
        records: In any order.
    """
    said: set[str] = set()
    sound = [b for b in read_bounds(records) if b.sound]
    for _, group in groupby(sound, key=lambda b: (b.quantity.order(), b.record.seed)):
        found = list(group)
        for low in (b for b in found if b.kind in ("lower", "exact")):
            for high in (b for b in found if b.kind in ("upper", "exact") and low.region.inside(b.region)):
                sentence = _sentence(low, high) if low.low > high.high + SLACK * abs(high.high) else ""
                if sentence and sentence not in said:
                    said.add(sentence)
                    yield sentence


def _sentence(low: Bound, high: Bound) -> str:
    unit = low.record.unit
    return (
        f"{low.quantity}, seed {low.record.seed}: {_name(low, 'lower bound')} {low.low:.10g} of {_origin(low)} "
        f"lies above {_name(high, 'upper bound')} {high.high:.10g} of {_origin(high)} (in {unit})"
    )


def _name(bound: Bound, otherwise: str) -> str:
    return "the exact value" if bound.kind == "exact" else f"the {'certified ' if bound.proved else ''}{otherwise}"


def _origin(bound: Bound) -> str:
    facts = [str(bound.region)]
    if bound.kind == "lower":
        facts += [bound.dtype, f"pairs: {bound.task('pairs')}"]
    return f"{bound.metric} [{', '.join(facts)}]"
