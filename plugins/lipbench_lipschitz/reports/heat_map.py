# SPDX-License-Identifier: Apache-2.0
"""How steep a network with two inputs is, and where: the Jacobian norm of each linear region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lipbench.api import Record

from .drawing import NORMS, RED, legend_below, panels
from .reading import Bound, Quantity, number, read_bounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 6


def heat_map(records: Sequence[Record]) -> dict[str, Figure]:
    """Planar networks, at most six a figure: `heat_map`, `heat_map_2` and so on.

    Drawn are the regions that `regions` puts into its extras, the steepest of them, and the pair of the largest certified
    lower bound.

    Args:
        records: In any order.
    """
    bounds = read_bounds(records)
    maps: dict[tuple[Quantity, Any], Bound] = {}
    for b in bounds:
        if b.kind == "exact" and b.record.extras.get("polygons") and b.record.extras.get("norms"):
            maps.setdefault((b.quantity, b.region), b)
    found = list(maps.values())
    pages = [found[i : i + PANELS] for i in range(0, len(found), PANELS)]
    return {"heat_map" if i == 0 else f"heat_map_{i + 1}": _figure(page, bounds) for i, page in enumerate(pages)}


def _figure(found: Sequence[Bound], bounds: Sequence[Bound]) -> Figure:
    figure, axes = panels(len(found), width=4.2, height=3.4, compressed=True)
    for panel, bound in zip(axes, found, strict=True):
        _panel(panel, bound)
        _pair(panel, _best_pair(bound, bounds))
    figure.suptitle("Jacobian norm of each linear region")
    legend_below(figure, axes)
    return figure


def _panel(panel: Axes, bound: Bound) -> None:
    from matplotlib.collections import PolyCollection

    extras = bound.record.extras
    polygons = [list(zip(p[::2], p[1::2], strict=True)) for p in extras["polygons"]]
    filled = PolyCollection(polygons, cmap="viridis", edgecolors="white", linewidths=0.4)
    filled.set_array(extras["norms"])
    panel.add_collection(filled)
    panel.autoscale_view()
    panel.set_aspect("equal")
    panel.margins(0)
    bar = panel.figure.colorbar(filled, ax=panel, shrink=0.9)
    bar.set_label(f"$||J(x)||_{{{NORMS[bound.quantity.norm]}}}$, output by raw input unit", fontsize="small")
    panel.plot(
        *extras["winner"][:2],
        "*",
        color=RED,
        markeredgecolor="white",
        markersize=13,
        label="steepest region",
        linestyle="none",
        clip_on=False,
        zorder=3,
    )
    panel.set_xlabel("$x_1$, raw input units")
    panel.set_ylabel("$x_2$, raw input units")
    where = "" if bound.region.place == "box" else f", {bound.region}"
    title = f"{bound.quantity.network}, {bound.quantity.norm}{where}\nK = {number(extras['raw'])}, {len(polygons)} regions"
    panel.set_title(title, fontsize="medium")


def _best_pair(bound: Bound, bounds: Sequence[Bound]) -> Bound | None:
    """The largest certified lower bound of the same quantity and region that says where its pair is."""
    pairs = [
        b
        for b in bounds
        if b.sound
        and b.kind == "lower"
        and (b.quantity, b.record.seed) == (bound.quantity, bound.record.seed)
        and b.region.inside(bound.region)
        and b.record.extras.get("witness")
    ]
    return max(pairs, key=lambda b: b.value, default=None)


def _pair(panel: Axes, bound: Bound | None) -> None:
    if bound is None:
        return
    ends = bound.record.extras["witness"]
    panel.plot(
        *zip(ends["x"], ends["y"], strict=True),
        "o-",
        color="white",
        markeredgecolor="black",
        markersize=5,
        linewidth=2,
        zorder=4,
        label="pair of the best certified lower bound",
    )
