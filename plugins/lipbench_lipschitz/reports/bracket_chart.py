# SPDX-License-Identifier: Apache-2.0
"""All bounds of each network on one logarithmic axis."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lipbench.api import Record

from .drawing import BLACK, COLOURS, GREY, legend_below, log_ticks, panels
from .reading import Bound, Quantity, Region, natural, read_bounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = {"lower": ">", "exact": "D", "upper": "<", "estimate": "o"}
_LABELS = {
    "lower": "certified lower bound",
    "exact": "exact value",
    "upper": "certified upper bound",
    "estimate": "estimate, no bound",
}
_ORDER = ("lower", "estimate", "exact", "upper")

_Panel = tuple[Region, list[Bound]]


def bracket_chart(records: Sequence[Record]) -> dict[str, Figure]:
    """One figure for each dataset, norm and layer, in it a panel for each network and region.

    Args:
        records: In any order.
    """
    figures: dict[str, Figure] = {}
    for (_, data, norm, layer), group in groupby(_first_seeds(records), key=_page):
        name = "-".join(["bracket_chart", *re.findall(r"\w+", data), norm, layer])
        same = sum(known.split(".")[0] == name for known in figures)  # labels that differ in signs alone
        figures[f"{name}.{same + 1}" if same else name] = _figure(f"{data}, {norm}, {layer}", _panels(list(group)))
    return figures


def _first_seeds(records: Sequence[Record]) -> list[Bound]:
    """Positive values of the first seed of each quantity, page by page: with another seed a fitted network is another one."""
    bounds = [b for b in read_bounds(records) if b.value > 0]
    first: dict[Quantity, int] = {}
    for b in bounds:
        first[b.quantity] = min(b.record.seed, first.get(b.quantity, b.record.seed))
    return sorted((b for b in bounds if b.record.seed == first[b.quantity]), key=lambda b: (_page(b), b.order()))


def _page(bound: Bound) -> tuple[Any, ...]:
    q = bound.quantity
    return natural(q.data), q.data, q.norm, q.layer


def _panels(bounds: Sequence[Bound]) -> list[_Panel]:
    """Each network and region with what was measured there; a global bound is shown in every panel of its network."""
    found = []
    for _, group in groupby(bounds, key=lambda b: b.quantity):
        mine = list(group)
        regions = {b.region for b in mine if b.region.place != "global"} or {Region(place="global")}
        for region in sorted(regions, key=Region.order):
            found.append((region, [b for b in mine if b.region in (region, Region(place="global"))]))
    return found


def _figure(title: str, found: Sequence[_Panel]) -> Figure:
    rows = _rows(b for _, bounds in found for b in bounds)
    figure, axes = panels(len(found), width=4.2, height=0.22 * len(rows) + 0.9, share_y=True)
    for panel, (region, bounds) in zip(axes, found, strict=True):
        _panel(panel, region, bounds, rows)
    seeds = sorted({b.record.seed for _, bounds in found for b in bounds})
    figure.suptitle(f"Bounds on K: {title}, seed {', '.join(map(str, seeds))}")
    legend_below(figure, axes)
    return figure


def _rows(bounds: Iterable[Bound]) -> list[str]:
    """The metrics from top to bottom: lower bounds, estimates, exact values, upper bounds."""
    place: dict[str, int] = {}
    for b in bounds:
        place[b.metric] = max(place.get(b.metric, 0), _ORDER.index(b.kind))
    return sorted(place, key=lambda m: (place[m], natural(m)))


def _panel(panel: Axes, region: Region, bounds: Sequence[Bound], rows: Sequence[str]) -> None:
    from matplotlib.transforms import blended_transform_factory

    beside = blended_transform_factory(panel.transAxes, panel.transData)
    _shade(panel, bounds)
    for y, metric in enumerate(rows):
        mine = [b for b in bounds if b.metric == metric]
        for b in sorted(mine, key=lambda b: b.value):
            _mark(panel, b, y)
        if mine:
            panel.text(
                1.01,
                y,
                _summary(mine),
                transform=beside,
                va="center",
                fontsize="x-small",
                color=_colour(max(mine, key=_struck)),
            )
    _scale(panel, [b.value for b in bounds])
    panel.set_xlabel(f"K, {bounds[0].record.unit}", fontsize="small")
    panel.set_yticks(range(len(rows)), rows, fontsize="small")
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.grid(axis="y", alpha=0.25, linewidth=0.5)
    panel.tick_params(axis="x", which="both", labelsize="small")
    where = "" if region.place == "box" else f", {region}"
    panel.set_title(f"{bounds[0].quantity.network}{where}", fontsize="medium")


def _scale(panel: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis with some room on both sides, also where all values are the same."""
    low, high = min(values), max(values)
    room = max((high / low) ** 0.06, 1.25 if high / low < 1.2 else 1.0)
    panel.set_xscale("log")
    panel.set_xlim(low / room, high * room)
    log_ticks(panel.xaxis, low / room, high * room)


def _shade(panel: Axes, bounds: Sequence[Bound]) -> None:
    """A band between the best certified bounds, and a line at the exact value."""
    lower = max((b.value for b in bounds if b.sound and b.kind == "lower"), default=None)
    upper = min((b.value for b in bounds if b.sound and b.kind == "upper"), default=None)
    if lower is not None and upper is not None and lower <= upper:
        panel.axvspan(lower, upper, facecolor=GREY, edgecolor=GREY, alpha=0.25, linewidth=1.0, label="K lies here")
    for b in bounds:
        if b.sound and b.kind == "exact":
            panel.axvline(b.value, color=BLACK, linewidth=0.8)


def _mark(panel: Axes, bound: Bound, y: int) -> None:
    colour = _colour(bound)
    panel.plot(
        [bound.value],
        [y],
        linestyle="none",
        marker="x" if _struck(bound) else _MARKS[bound.kind],
        markersize=6,
        color=colour,
        markerfacecolor="none" if bound.kind == "estimate" else colour,
        label="not to be ranked" if _struck(bound) else _LABELS[bound.kind],
    )


def _colour(bound: Bound) -> str:
    return GREY if _struck(bound) else COLOURS[bound.kind]


def _struck(bound: Bound) -> bool:
    return bound.record.unranked is not None or (bound.kind != "estimate" and not bound.sound)


def _summary(bounds: Sequence[Bound]) -> str:
    low, high = min(b.value for b in bounds), max(b.value for b in bounds)
    ends = [f"{v:.3g}" for v in (low, high)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
