# SPDX-License-Identifier: Apache-2.0
"""Radii of the largest balls around points of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, legend_below, panels, shorter, styles

from lipbench.api import Record

from .reading import good, points_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def radii(records: Sequence[Record]) -> dict[str, Figure]:
    """One panel for each network and box: cumulative shares, all seeds together; a line where the box alone is the limit.

    Args:
        records: In the order of the plan.
    """
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for r in good(records, "chebyshev_radius", of="radius"):
        found.setdefault((r.roles["network"], r.unit), {}).setdefault(points_of(r), []).extend(r.extras["radii"])
    if not found:
        return {}
    marks = styles(k for kinds in found.values() for k in kinds)
    figure, axes = panels(len(found), width=5.0, height=4.4)
    for panel, ((name, unit), kinds) in zip(axes, found.items(), strict=True):
        for kind, values in kinds.items():
            ordered = sorted(values)
            panel.step(
                ordered, [(i + 1) / len(ordered) for i in range(len(ordered))], where="post", color=marks[kind][0], label=kind
            )
        low, high = (float(v) for v in unit.split("[")[1].split("]")[0].split(","))
        largest = max(v for values in kinds.values() for v in values)
        if largest > 0.6 * (high - low) / 2:
            panel.axvline((high - low) / 2, color=BLACK, linestyle="--", linewidth=1, label="largest ball of the box")
        panel.set_xlim(left=0)
        panel.set_title(f"{shorter(name)}, {unit}", fontsize="medium")
        panel.set_xlabel("radius of the largest ball in cell and box")
        panel.set_ylabel("share of points below")
    figure.suptitle("Size of the cells around points")
    legend_below(figure, axes)
    return {"radii": figure}
