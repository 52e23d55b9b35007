# SPDX-License-Identifier: Apache-2.0
"""Which axioms of a metric each distance violates, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import GREY, RED, panels

from lipbench.api import Column, Entry, Record, Table

from .reading import distance_of, in_order, measured, pair_of, parameter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AXIOMS = {"identity": "d(P,P) = 0", "indiscernibles": "d(P,Q) > 0", "symmetry": "d(P,Q) = d(Q,P)", "triangle": "triangle",
           "nonnegative": "d >= 0"}  # fmt: skip
_PANELS = 6


def axioms(records: Sequence[Record]) -> Table:
    """A row for each distance, a column for each axiom: the family with the most violations.

    Args:
        records: In the order of the plan.
    """
    found = measured(records, "axiom_violations")
    asked = [a for a in _AXIOMS if any(parameter(r, "axiom") == a for r in found)]
    rows = [
        [Entry(text=name), Entry(text=_on(mine)), *(_worst([r for r in mine if parameter(r, "axiom") == a]) for a in asked)]
        for name in in_order(distance_of(r) for r in found)
        for mine in [[r for r in found if distance_of(r) == name]]
    ]
    return Table(
        title="Axioms of a metric",
        columns=[Column(name="distance"), Column(name="on"), *(Column(name=_AXIOMS[a], direction="lower") for a in asked)]
        if rows
        else (),
        rows=rows,
        caption="Violations among random triples, in the family with the most of them; none is none in any family. Empty: not asked."
        if rows
        else "",
    )


def _on(records: Sequence[Record]) -> str:
    rows = in_order("moments" if parameter(r, "rows") is None else f"samples of {parameter(r, 'rows')}" for r in records)
    return ", ".join(rows)


def _worst(records: Sequence[Record]) -> Entry:
    if not records:
        return Entry(text="")
    worst = max(records, key=lambda r: r.value or 0.0)
    if not worst.value:
        return Entry(text="none", value=0.0, best=True)
    nan = worst.extras.get("nan", 0)
    words = f"{worst.value:.3g} % of {pair_of(worst)}"
    return Entry(text=f"{words}, NaN" if nan == worst.extras.get("violations") else words, value=worst.value)


def triangles(records: Sequence[Record]) -> dict[str, Figure]:
    """The longest side of each triple against the sum of the others; above the line the inequality is violated.

    Args:
        records: In the order of the plan.
    """
    sided = [r for r in measured(records, "axiom_violations") if r.extras.get("sides")]
    families = in_order(pair_of(r) for r in sided)
    if not families:
        return {}
    # The family with violations in most distances says most.
    family = max(families, key=lambda f: sum(bool(r.value) for r in sided if pair_of(r) == f))
    shown = [r for r in sided if pair_of(r) == family][:_PANELS]
    figure, axes = panels(len(shown), width=3.2, height=3.0)
    for panel, r in zip(axes, shown, strict=True):
        longest, others = zip(*r.extras["sides"], strict=True)
        top = max(*longest, *others) or 1.0
        colours = [RED if a > b * (1 + 1e-4) + 1e-9 else GREY for a, b in zip(longest, others, strict=True)]
        panel.scatter(others, longest, s=9, c=colours, linewidths=0)
        panel.plot([0, top], [0, top], color="black", linewidth=0.8)
        panel.set_title(f"{distance_of(r)}: {r.value:.3g} %", fontsize="medium")
        panel.set_xlabel("sum of the two shorter sides", fontsize="small")
        panel.set_ylabel("longest side", fontsize="small")
        panel.tick_params(labelsize="small")
    figure.suptitle(f"Triangle inequality, {family}; above the line it is violated")
    return {"triangles": figure}
