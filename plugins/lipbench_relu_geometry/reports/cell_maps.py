# SPDX-License-Identifier: Apache-2.0
"""Cells of planar networks: coloured polygons with the zero set, and the affine map of each cell as a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, panels, put, shorter

from lipbench.api import Record

from .reading import good

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

PAGE = 6


def cell_maps(records: Sequence[Record]) -> dict[str, Figure]:
    """`cell_maps` with the polygons and `dual_maps` with the maps, at most six panels a figure, each network's first seed.

    Args:
        records: In the order of the plan.
    """
    found: dict[tuple[str, str], Record] = {}
    for r in good(records, "cell_map"):
        if r.extras.get("polygons"):
            found.setdefault((r.roles["network"], r.metric), r)
    figures: dict[str, Figure] = {}
    drawn = list(found.values())
    for i in range(0, len(drawn), PAGE):
        page = drawn[i : i + PAGE]
        put(figures, "cell_maps", _maps(page))
        put(figures, "dual_maps", _duals(page))
    return figures


def _maps(page: Sequence[Record]) -> Figure:
    figure, axes = panels(len(page), width=6.0, height=5.6, across=2)
    for panel, r in zip(axes, page, strict=True):
        polygons(panel, r.extras["polygons"], r.extras["colour"])
        for x0, y0, x1, y1 in r.extras["zero"]:
            panel.plot([x0, x1], [y0, y1], color=BLACK, linewidth=2.2, solid_capstyle="round")
        low, high = r.extras["window"]
        a, b = r.extras["box"]
        if (a, b) != (low, high):
            panel.plot([a, b, b, a, a], [a, a, b, b, a], color=BLACK, linestyle="--", linewidth=1.0)
        panel.set_xlim(low, high)
        panel.set_ylim(low, high)
        panel.set_title(f"{shorter(r.roles['network'])}: {r.value:.0f} cells", fontsize="medium")
    figure.suptitle("Cells of planar networks, one colour each; black: where the output is zero; dashed: the data's box")
    return figure


def polygons(panel: Axes, shapes: Sequence[Sequence[float]], colour: Sequence[float], cmap: str = "turbo") -> PolyCollection:
    """Draw filled polygons, given as [x0, y0, x1, y1, ...]; what is drawn has a scale of colours."""
    from matplotlib.collections import PolyCollection

    drawn = PolyCollection(
        [list(zip(p[::2], p[1::2], strict=True)) for p in shapes], cmap=cmap, edgecolors="white", linewidths=0.5, alpha=0.85
    )
    drawn.set_array(colour)
    panel.add_collection(drawn)
    panel.autoscale_view()
    panel.set_aspect("equal")
    panel.margins(0)
    return drawn


def _duals(page: Sequence[Record]) -> Figure:
    figure, axes = panels(len(page), width=5.2, height=4.6, across=2)
    for panel, r in zip(axes, page, strict=True):
        x, y, b = zip(*r.extras["dual"], strict=True)
        dots = panel.scatter(x, y, c=b, cmap="viridis", s=22, edgecolors="white", linewidths=0.3)
        panel.figure.colorbar(dots, ax=panel, label="$b$")
        panel.set_xlabel("$w_1$")
        panel.set_ylabel("$w_2$")
        panel.set_title(f"{shorter(r.roles['network'])}: {r.value:.0f} maps", fontsize="medium")
    figure.suptitle("The affine map $w \\cdot x + b$ of each cell")
    return figure
