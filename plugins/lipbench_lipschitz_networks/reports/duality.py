# SPDX-License-Identifier: Apache-2.0
"""The audit: what must hold of every network, constrained or not, because its constant K is bounded by its layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lipbench.api import Record

from .reading import Key, key, measured, value

ROUNDING = 1e-6
"""Relative: outputs are in float32."""


def duality(records: Sequence[Record]) -> Iterator[str]:
    """One sentence for each contradiction: KR above K W1, a gradient above K, a certificate broken, a hinge below its floor.

    Args:
        records: In any order.
    """
    bounds: dict[tuple[Key, int], float] = {(key(r), r.seed): value(r) for r in measured(records, "product_bound")}
    for r in measured(records, "kr"):
        most = r.extras["bound"] * r.extras["w1"]
        if r.extras["kr"] > most * (1 + ROUNDING) + ROUNDING:
            yield f"{_where(r)}: KR {r.extras['kr']:.9g} is above K W1 = {most:.9g}"
    for r in measured(records, "gradient_norm"):
        most = bounds.get((key(r), r.seed), float("inf"))
        if value(r) > most * (1 + ROUNDING):
            yield f"{_where(r)}: the gradient norm {r.value:.9g} is above the product bound {most:.9g}"
    for r in measured(records, "attacked_accuracy"):
        if r.extras["broken"]:
            yield f"{_where(r)}: the attack of radius {r.extras['radius']:g} changed {r.extras['broken']} certified rows"
    for r in measured(records, "hinge"):
        floor = r.extras.get("floor", 0.0)
        if r.extras["bound"] <= 1 + ROUNDING and value(r) < floor - ROUNDING:
            yield f"{_where(r)}: the hinge {r.value:.9g} is below its floor {floor:.9g}"


def _where(record: Record) -> str:
    return f"{record.roles['network']} on {record.roles['data']}, seed {record.seed}"
