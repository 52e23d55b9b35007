# SPDX-License-Identifier: Apache-2.0
"""The axioms of a metric, tried on random triples of distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from lipbench.api import Context, Metric, NotApplicable, Value

from ..base import Distribution
from ..task import Compared

TOLERANCE = 1e-6
"""Share of the size of the distributions (to the degree of the distance) below which a number counts as 0: the root of a
squared distance turns rounding errors of 1e-15 into 1e-8 to 1e-7."""
_SHOWN = 150
"""Triples whose two sides are kept for a picture."""


@dataclass(frozen=True, kw_only=True)
class _Round:
    """Distances of one triple P, Q, R."""

    itself: float
    there: float
    back: float
    sides: tuple[float, float, float]
    """d(P, Q), d(Q, R), d(P, R)."""
    scale: float
    """What the tolerance is a share of."""
    example: Mapping[str, Any]


class AxiomViolations(Metric):
    """Share of random triples that violate an axiom of a metric, with the worst of them.

    `identity`: d(P, P) = 0. `indiscernibles`: d(P, Q) > 0 for different P and Q. `symmetry`: d(P, Q) = d(Q, P). `triangle`:
    d(P, R) <= d(P, Q) + d(Q, R), whichever of the three is in the middle. `nonnegative`: d >= 0. A distance that is NaN
    violates the axiom that it is needed for.

    Args:
        axiom: Which one.
        rounds: Triples. P and Q are a pair of the family, R is the first of another one.
        rows: null for the distributions themselves, by their moments. A number: each is replaced by a sample of so many rows,
            which is a distribution too.
    """

    def __init__(
        self,
        *,
        axiom: Literal["identity", "indiscernibles", "symmetry", "triangle", "nonnegative"] = "triangle",
        rounds: Annotated[int, Field(ge=1)] = 300,
        rows: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.axiom, self.rounds, self.rows = axiom, rounds, rows

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """The triples are the same for all axioms and distances.

        Raises:
            NotApplicable: By moments, and no formula is known for these distributions.
        """
        key = "triples", self.rounds, self.rows
        rounds = evidence.once(key, lambda: [self._round(evidence, i) for i in range(self.rounds)])
        excess = [_EXCESS[self.axiom](r) for r in rounds]
        broken = [i for i, e in enumerate(excess) if not e <= 0]
        worst = max(broken, key=lambda i: math.inf if math.isnan(excess[i]) else excess[i], default=None)
        extras: dict[str, Any] = {
            "rounds": self.rounds,
            "nan": sum(math.isnan(e) for e in excess),
            "violations": len(broken),
            "largest": max((e for e in excess if not math.isnan(e)), default=None),
        }
        if worst is not None:
            extras["example"] = rounds[worst].example
        if self.axiom == "triangle":
            extras["sides"] = [[float(f"{v:.5g}") for v in _sorted(r)] for r in rounds[:_SHOWN] if not math.isnan(sum(r.sides))]
        share = len(broken) / self.rounds
        group = f"{self.axiom}, {'moments' if self.rows is None else f'{self.rows} rows'}"
        return Value(value=100 * share, direction="lower", unit="%", group=group, extras=extras)

    def _round(self, evidence: Compared, i: int) -> _Round:
        rng = evidence.ctx.rng(f"triple {i}")
        (p, q), (r, _) = evidence.pair.pick(rng), evidence.pair.pick(rng)
        distance = self._between(evidence, rng, (p, q, r))
        itself, there, back = distance(0, 0), distance(0, 1), distance(1, 0)
        sides = there, distance(1, 2), distance(0, 2)
        scale = max(p.size, q.size, r.size) ** evidence.distance.degree
        named = {"d(P,P)": itself, "d(P,Q)": there, "d(Q,P)": back, "d(Q,R)": sides[1], "d(P,R)": sides[2]}
        example = {k: None if math.isnan(v) else v for k, v in named.items()} | _described(p, q, r)
        return _Round(itself=itself, there=there, back=back, sides=sides, scale=scale, example=example)

    def _between(
        self, evidence: Compared, rng: Any, three: tuple[Distribution, Distribution, Distribution]
    ) -> Callable[[int, int], float]:
        if self.rows is not None:
            drawn = [p.draw(self.rows, rng) for p in three]
            return lambda a, b: evidence.value(drawn[a], drawn[b])

        def known(a: int, b: int) -> float:
            value = evidence.distance.population(three[a], three[b])
            if value is None:
                raise NotApplicable(
                    f"{type(evidence.distance).__name__} has no formula for the distributions themselves; give rows: to the axioms"
                )
            return value

        return known


def _sorted(r: _Round) -> tuple[float, float]:
    """The longest side, and the sum of the other two."""
    longest = max(r.sides)
    return longest, sum(r.sides) - longest


def _triangle(r: _Round) -> float:
    longest, others = _sorted(r) if not math.isnan(sum(r.sides)) else (math.nan, math.nan)
    return longest - others - TOLERANCE * r.scale


_EXCESS: Mapping[str, Callable[[_Round], float]] = {
    "identity": lambda r: abs(r.itself) - TOLERANCE * r.scale,
    "indiscernibles": lambda r: TOLERANCE * r.scale - r.there,
    "symmetry": lambda r: abs(r.there - r.back) - TOLERANCE * r.scale,
    "triangle": _triangle,
    "nonnegative": lambda r: -min(r.itself, *r.sides) - TOLERANCE * r.scale if not math.isnan(sum(r.sides)) else math.nan,
}
"""How far an axiom is violated, less the tolerance; above 0 or NaN it is."""

_SMALL = 3
"""Features up to which an example names its moments."""


def _described(p: Distribution, q: Distribution, r: Distribution) -> dict[str, Any]:
    if len(p.mean) > _SMALL:
        return {"features": len(p.mean)}
    return {name: {"mean": _numbers(d.mean), "cov": _numbers(d.cov)} for name, d in (("P", p), ("Q", q), ("R", r))}


def _numbers(values: torch.Tensor) -> Any:
    return torch.round(values, decimals=4).tolist()
