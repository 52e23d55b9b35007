# SPDX-License-Identifier: Apache-2.0
"""Accuracy against certified accuracy, over alpha."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import COLOURS, MARKERS, legend_below, panels

from lipbench.api import Record

from .reading import Key, alpha, key, means, measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[float, float, str]


def pareto(records: Sequence[Record]) -> dict[str, Figure]:
    """A panel for each dataset that has three alphas or more, a line for each radius; marks that nothing beats are filled.

    Args:
        records: In the order of the plan.
    """
    alphas: dict[Key, float] = {key(r): a for r in measured(records, "certified_accuracy") if (a := alpha(r)) is not None}
    clean = means(records, "accuracy")
    labels = {r.metric: r.extras["radius"] for r in measured(records, "certified_accuracy")}
    panes: dict[str, dict[str, list[Point]]] = {}
    for label, radius in labels.items():
        for k, certified in means(records, label).items():
            if k in alphas and k in clean:
                point = (clean[k], certified, f"{alphas[k]:g}")
                panes.setdefault(k[1], {}).setdefault(f"radius {radius:g}", []).append(point)
    panes = {data: lines for data, lines in panes.items() if max(map(len, lines.values())) >= 3}
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
