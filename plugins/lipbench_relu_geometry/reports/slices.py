# SPDX-License-Identifier: Apache-2.0
"""Cells on a plane through three points of different classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, panels, put, shorter

from lipbench.api import Record

from .cell_maps import polygons
from .reading import good

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = 4


def slices(records: Sequence[Record]) -> dict[str, Figure]:
    """Two panels for each network, its cells and its classes, each network's first seed.

    Args:
        records: In the order of the plan.
    """
    found: dict[str, Record] = {}
    for r in good(records, "slice_map"):
        if r.extras.get("polygons"):
            found.setdefault(r.roles["network"], r)
    figures: dict[str, Figure] = {}
    drawn = list(found.values())
    for i in range(0, len(drawn), PAGE):
        put(figures, "slices", _figure(drawn[i : i + PAGE]))
    return figures


def _figure(page: Sequence[Record]) -> Figure:
    figure, axes = panels(2 * len(page), width=5.6, height=5.2, across=2)
    for k, r in enumerate(page):
        for panel, shapes, colour, cmap, words in (
            (axes[2 * k], r.extras["polygons"], r.extras["colour"], "turbo", f"{r.value:.0f} cells"),
            (axes[2 * k + 1], r.extras["class_polygons"], r.extras["class_of"], "tab10", "class of the network"),
        ):
            drawn = polygons(panel, shapes, colour, cmap)
            if cmap == "tab10":
                drawn.set(clim=(-0.5, 9.5), edgecolor="face")
            for (x, y), label in zip(r.extras["corners"], r.extras["classes"], strict=True):
                panel.plot(x, y, "o", color="white", markeredgecolor=BLACK, markersize=17)
                panel.text(x, y, str(label), ha="center", va="center", fontsize="medium", fontweight="bold")
            panel.set_title(f"{shorter(r.roles['network'])}: {words}", fontsize="medium")
            panel.set_xticks([])
            panel.set_yticks([])
    figure.suptitle("The plane through three images of different classes")
    return figure
