# SPDX-License-Identifier: Apache-2.0
"""Cells coloured by a number, not by their name; and how far classes are from each other by bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, pages, panels, put, shorter

from lipbench.api import Record

from .cell_maps import polygons
from .reading import good

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = 3
FEWEST = 30
"""Cells from which on a map is worth three panels."""


def heat_maps(records: Sequence[Record]) -> dict[str, Figure]:
    """`heat_maps` of planar networks, three panels each, and `class_heat_maps`, each network's first seed.

    Args:
        records: In the order of the plan.
    """
    figures: dict[str, Figure] = {}
    found: dict[str, Record] = {}
    for r in good(records, "cell_map"):
        if r.extras.get("steps") and len(r.extras["steps"]) >= FEWEST:
            found.setdefault(r.roles["network"], r)
    for page in pages(list(found.values()), PAGE):
        put(figures, "heat_maps", _cells(page))
    tables: dict[tuple[str, str], Record] = {}
    for r in good(records, "class_distances"):
        by = str(r.params["metric"]["by"])
        # Inputs are the same for every network.
        tables.setdefault(("" if by == "inputs" else r.roles["network"], by), r)
    if tables:
        put(figures, "class_heat_maps", _classes(tables))
    return figures


def _cells(page: Sequence[Record]) -> Figure:
    figure, axes = panels(3 * len(page), width=5.4, height=4.7)
    for k, r in enumerate(page):
        slopes = [math.hypot(x, y) for x, y, _ in r.extras["dual"]]
        low, high = r.extras["window"]
        for panel, (values, cmap, words) in zip(
            axes[3 * k : 3 * k + 3],
            (
                (slopes, "viridis", "slope of the affine map"),
                (r.extras["hamming"], "magma", "bits that differ from the middle cell's"),
                (
                    [s - h for s, h in zip(r.extras["steps"], r.extras["hamming"], strict=True)],
                    "cividis",
                    "steps beyond these bits",
                ),
            ),
            strict=True,
        ):
            drawn = polygons(panel, r.extras["polygons"], values, cmap)
            drawn.set_clim(0, max(*values, 2) if isinstance(values[0], int) else max(values))
            panel.figure.colorbar(drawn, ax=panel, shrink=0.85)
            for x0, y0, x1, y1 in r.extras["zero"]:
                panel.plot([x0, x1], [y0, y1], color="white", linewidth=2.6, solid_capstyle="round")
                panel.plot([x0, x1], [y0, y1], color=BLACK, linewidth=1.2, solid_capstyle="round")
            panel.set_xlim(low, high)
            panel.set_ylim(low, high)
            panel.set_title(f"{shorter(r.roles['network'])}: {words}", fontsize="medium")
    figure.suptitle("Cells by the slope of their map, and by how far they are from the cell in the middle; black: output zero")
    return figure


def _classes(tables: dict[tuple[str, str], Record]) -> Figure:
    figure, axes = panels(len(tables), width=5.2, height=4.6)
    top = max(v / r.extras["between"] for r in tables.values() for row in r.extras["matrix"] for v in row)
    for panel, ((name, by), r) in zip(axes, tables.items(), strict=True):
        scale = r.extras["between"]
        image = panel.imshow(
            [[v / scale for v in row] for row in r.extras["matrix"]], cmap="viridis", vmin=0, vmax=top, origin="upper"
        )
        panel.figure.colorbar(image, ax=panel, shrink=0.85)
        classes = [str(c) for c in r.extras["classes"]]
        panel.set_xticks(range(len(classes)), classes)
        panel.set_yticks(range(len(classes)), classes)
        words = "inputs" if by == "inputs" else f"bits of {shorter(name)}"
        panel.set_title(f"{words}: within / between {r.value:.2f}", fontsize="medium")
    axes[0].set_xlabel("class")
    axes[0].set_ylabel("class")
    figure.suptitle("Mean squared distance of points of two classes, as a share of its mean over different classes")
    return figure
