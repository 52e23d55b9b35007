# SPDX-License-Identifier: Apache-2.0
"""Accuracy against certified accuracy, over alpha."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from lipbench_basics.figures import COLOURS, MARKERS, legend_below, panels

from lipbench.api import Record

from .reading import Key, alpha, key, means, measured, value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[float, float, str]
Family = tuple[str, str]
"""Activation and norm: networks that differ in their loss alone."""


def pareto(records: Sequence[Record]) -> dict[str, Figure]:
    """A panel for each dataset that has three alphas or more, a line for each radius; marks that nothing beats are filled.

    Of networks that differ in more than alpha, those are shown of which there are most.

    Args:
        records: In the order of the plan.
    """
    clean = means(records, "accuracy")
    certified: dict[tuple[str, float], dict[Family, dict[Key, list[float]]]] = {}
    alphas: dict[Key, float] = {}
    for r in measured(records, "certified_accuracy"):
        a, params = alpha(r), r.params["network"]
        if a is not None and key(r) in clean:
            alphas[key(r)] = a
            families = certified.setdefault((r.roles["data"], r.extras["radius"]), {})
            family = str(params.get("act")), str(params.get("norm"))
            families.setdefault(family, {}).setdefault(key(r), []).append(value(r))
    panes: dict[str, dict[str, list[Point]]] = {}
    for (data, radius), families in certified.items():
        found = max(families.values(), key=len)
        if len(found) >= 3:
            points = [(clean[k], fmean(shares), f"{alphas[k]:g}") for k, shares in found.items()]
            panes.setdefault(data, {})[f"radius {radius:g}"] = points
    if not panes:
        return {}
    figure, axes = panels(len(panes), width=4.4, height=3.4)
    for axis, (data, lines) in zip(axes, panes.items(), strict=True):
        for i, (name, points) in enumerate(lines.items()):
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            points.sort(key=lambda p: float(p[2]))
            axis.plot([p[0] for p in points], [p[1] for p in points], color=colour, linewidth=0.8, label=name)
            for p in points:
                beaten = any(q[0] >= p[0] and q[1] >= p[1] and q[:2] != p[:2] for q in points)
                axis.plot(p[0], p[1], color=colour, marker=marker, fillstyle="none" if beaten else "full")
                axis.annotate(p[2], p[:2], xytext=(4, 3), textcoords="offset points", fontsize="x-small")
        axis.set_title(data, fontsize="small")
        axis.set_xlabel("accuracy", fontsize="small")
        axis.set_ylabel("certified accuracy", fontsize="small")
        axis.tick_params(labelsize="small")
    legend_below(figure, axes)
    figure.suptitle("Accuracy and certified accuracy over alpha (at the marks); filled: not beaten in both")
    return {"pareto": figure}
