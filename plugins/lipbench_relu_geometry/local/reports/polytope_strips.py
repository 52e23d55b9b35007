# SPDX-License-Identifier: Apache-2.0
"""Strips of cells, decision boundary and local maps of one planar network while it learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lipbench_basics.figures import BLACK, BLUE, GREY, put, shorter

from lipbench.api import Record

from ...reports.cell_maps import polygons
from ...reports.reading import good

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRAMES = 5


def polytope_strips(records: Sequence[Record]) -> dict[str, Figure]:
    """One figure for each network and dataset, its first seed.

    Args:
        records: In the order of the plan.
    """
    found: dict[tuple[str, str], Record] = {}
    for r in good(records, "region_evolution", of="exact"):
        if len(r.extras["frames"]) > 1 and all(frame.get("polygons") for frame in r.extras["frames"]):
            found.setdefault((r.roles["network"], r.roles["data"]), r)
    figures: dict[str, Figure] = {}
    for (name, data), r in found.items():
        put(figures, "polytope_strips", _figure(f"{shorter(name)} on {data}", r.extras["frames"]))
    return figures


def _figure(name: str, frames: Sequence[dict[str, Any]]) -> Figure:
    from matplotlib.figure import Figure

    step = (len(frames) - 1) / (min(FRAMES, len(frames)) - 1)
    shown = [frames[round(i * step)] for i in range(min(FRAMES, len(frames)))]
    depth = len(shown[0]["layers"])
    figure = Figure(figsize=(3.6 * len(shown), 7.4 + 3.6 * depth), layout="constrained")
    axes = figure.subplots(2 + depth, len(shown), squeeze=False)
    for column, frame in zip(axes.T, shown, strict=True):
        above, below = column[0], column[-1]
        polygons(above, frame["polygons"], frame["colour"])
        for x0, y0, x1, y1 in frame["zero"]:
            above.plot([x0, x1], [y0, y1], color=BLACK, linewidth=2.2, solid_capstyle="round")
        above.set_xticks([])
        above.set_yticks([])
        above.set_title(
            f"batch {frame['batch']}: {len(frame['polygons'])} cells\naccuracy {frame['accuracy']:.3f}", fontsize="medium"
        )
        for k, panel in enumerate(column[1:-1]):
            _layer(panel, frame["layers"][: k + 1], above)
        _duals(below, frame["dual"])
    for k, panel in enumerate(axes[1:-1, 0]):
        panel.set_ylabel(f"layer {k + 1}")
    axes[-1][0].set_ylabel("$w_2$")
    figure.suptitle(
        f"{name}: the best of all replicas; black: decision boundary\nin the middle: where units of a layer are zero, earlier layers grey; "
        "below: the map of each cell, coloured by $b$"
    )
    return figure


def _layer(panel: Axes, layers: Sequence[Sequence[Sequence[float]]], window: Axes) -> None:
    """The zero sets of the last of some layers, over those of the layers before it."""
    for k, segments in enumerate(layers):
        last = k == len(layers) - 1
        for x0, y0, x1, y1 in segments:
            panel.plot([x0, x1], [y0, y1], color=BLUE if last else GREY, linewidth=1.6 if last else 0.8, zorder=2 + last)
    panel.set_xlim(window.get_xlim())
    panel.set_ylim(window.get_ylim())
    panel.set_aspect("equal")
    panel.set_xticks([])
    panel.set_yticks([])


def _duals(panel: Axes, dual: Sequence[Sequence[float]]) -> None:
    x, y, b = zip(*dual, strict=True)
    panel.scatter(x, y, c=b, cmap="viridis", s=24, edgecolors="white", linewidths=0.3)
    panel.set_xlabel("$w_1$")
