# SPDX-License-Identifier: Apache-2.0
"""Accuracy against certified accuracy, over alpha."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from lipbench_basics.figures import legend_below, panels, styles

from lipbench.api import Record

from .reading import Key, alpha, key, means, measured, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float, str]
Family = tuple[str, str]
"""Activation and norm: networks that differ in their loss alone."""
CLOSE = 0.012
"""Shares by which two marks differ that have one label."""


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
    style = styles(name for lines in panes.values() for name in lines)
    figure, axes = panels(len(panes), width=4.4, height=3.4)
    for axis, (data, lines) in zip(axes, panes.items(), strict=True):
        _draw(axis, lines, style)
        axis.set_title(data, fontsize="small")
        axis.set_xlabel("accuracy", fontsize="small")
        axis.set_ylabel("certified accuracy", fontsize="small")
        axis.tick_params(labelsize="small")
    legend_below(figure, axes)
    figure.suptitle("Accuracy and certified accuracy over alpha (at the marks); filled: not beaten in both")
    return {"pareto": figure}


def _draw(axis: Axes, lines: Mapping[str, list[Point]], style: Mapping[str, tuple[str, str]]) -> None:
    for name, points in lines.items():
        colour, marker = style[name]
        points.sort(key=lambda p: float(p[2]))
        x, y = [p[0] for p in points], [p[1] for p in points]
        axis.plot(x, y, color=colour, marker=marker, fillstyle="none", linewidth=0.8, label=name)
        best = [p for p in points if not any(q[0] >= p[0] and q[1] >= p[1] and q[:2] != p[:2] for q in points)]
        axis.plot([p[0] for p in best], [p[1] for p in best], color=colour, marker=marker, linestyle="none")
    for place, names in _labels([p for points in lines.values() for p in points]).items():
        axis.annotate(names, place, xytext=(4, 3), textcoords="offset points", fontsize="x-small")


def _labels(points: Sequence[Point]) -> dict[tuple[float, float], str]:
    """Where to write which alphas: once for marks that lie on one another."""
    found: dict[tuple[float, float], list[str]] = {}
    for x, y, name in points:
        names = found.setdefault(next((p for p in found if max(abs(p[0] - x), abs(p[1] - y)) < CLOSE), (x, y)), [])
        if name not in names:
            names.append(name)
    return {place: ", ".join(names) for place, names in found.items()}
