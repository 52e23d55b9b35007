# SPDX-License-Identifier: Apache-2.0
"""The picture of the artefact: ratios along the line search, as searched and in float64, above the noise floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lipbench.api import Record

from .drawing import BLACK, BLUE, GREY, ORANGE, legend_below, panels
from .reading import Bound, read_bounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 8
"""Panels of one figure; those with the largest inflation are drawn."""


def traces(records: Sequence[Record]) -> dict[str, Figure]:
    """One figure for each precision, `traces_float32` and so on, with a panel for each network, data and kind of pairs.

    Drawn is the pair that the published line search reports; where a suite has only the sound one, that.

    Args:
        records: In any order.
    """
    figures = {}
    chosen = _chosen(read_bounds(records))
    for dtype in sorted({b.dtype for b in chosen}, key=lambda d: (d != "float32", d)):
        figures[f"traces_{dtype}"] = _figure(dtype, _loudest([b for b in chosen if b.dtype == dtype]))
    return figures


def _chosen(bounds: Sequence[Bound]) -> list[Bound]:
    """One trace for each quantity, kind of pairs, region and precision: published before sound, then the first seed."""
    found: dict[tuple[Any, ...], Bound] = {}
    able = [b for b in bounds if _drawable(b)]
    for b in sorted(able, key=lambda b: (b.record.extras.get("stop") != "published", b.record.seed, b.order())):
        found.setdefault((b.quantity, b.task("pairs"), b.region, b.dtype), b)
    return sorted(found.values(), key=Bound.order)


def _drawable(bound: Bound) -> bool:
    trace = bound.record.extras.get("trace")
    if bound.record.uses.get("metric") != "line_search" or not isinstance(trace, Mapping):
        return False
    return any(d > 0 and k > 0 for d, k in zip(trace.get("d", ()), trace.get("k_raw", ()), strict=False))


def _loudest(bounds: Sequence[Bound]) -> list[Bound]:
    inflated = sorted(bounds, key=lambda b: -(b.record.extras.get("inflation") or 0.0))[:PANELS]
    return sorted(inflated, key=Bound.order)


def _figure(dtype: str, bounds: Sequence[Bound]) -> Figure:
    figure, axes = panels(len(bounds), width=3.1, height=2.9, across=4 if len(bounds) > 6 else 3)
    for panel, bound in zip(axes, bounds, strict=True):
        _panel(panel, bound)
    # A float64 search is its own reference: there its k_ref cannot show noise.
    figure.suptitle(f"Line search in {dtype}" + ("" if dtype == "float64" else ", and the same stored pairs in float64"))
    legend_below(figure, axes)
    return figure


def _panel(panel: Axes, bound: Bound) -> None:
    from matplotlib.ticker import NullFormatter

    extras = bound.record.extras
    trace = extras["trace"]
    raw = _points(trace["d"], trace["k_raw"])
    ref = _points(trace["d"], trace["k_ref"])
    # The axes are chosen by the trace; the noise floor runs through them and out of the panel.
    span = [d for d, _ in raw]
    values = [k for _, k in raw + ref]
    noise = extras.get("eps_out") or 0.0
    d_min = extras.get("d_min") or 0.0
    left, right = max(span) * 2, min(span) / 2
    if noise > 0:
        panel.plot([left, right], [noise / left, noise / right], "--", color=GREY, label="noise floor eps_out / d")
    if right < d_min < left:
        panel.axvline(d_min, color=ORANGE, linewidth=1.5, label="d_min, where a sound search stops")
    panel.plot(*zip(*raw, strict=True), ".-", color=BLUE, markersize=5, linewidth=1.2, label="k_raw, as searched")
    if ref:
        panel.plot(*zip(*ref, strict=True), "o", color=BLACK, markerfacecolor="none", markersize=5, label="k_ref, float64")
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_xlim(left, right)
    panel.set_ylim(_floor(values, noise / right), max(values) * 3)
    panel.set_title(_title(bound), fontsize="small")
    panel.set_xlabel("distance, raw input units", fontsize="small")
    panel.set_ylabel("ratio, output / raw input", fontsize="small")
    panel.tick_params(labelsize="small")
    panel.grid(alpha=0.25, linewidth=0.5)


def _floor(values: Sequence[float], noise: float) -> float:
    """Lower end of the vertical axis: a decade below the highest ratio, or two below the lowest to show the noise floor."""
    low = min(min(values) / 2, max(values) / 20)
    return min(low, max(noise / 5, min(values) / 300)) if noise > 0 else low


def _points(distances: Sequence[float], ratios: Sequence[float | None]) -> list[tuple[float, float]]:
    return [(d, k) for d, k in zip(distances, ratios, strict=False) if k is not None and d > 0 and k > 0]


def _title(bound: Bound) -> str:
    q, extras = bound.quantity, bound.record.extras
    facts = [q.data, f"pairs: {bound.task('pairs')}"]
    facts += [q.norm] if q.norm != "l2" else []
    facts += [str(bound.region)] if bound.region.place != "box" else []
    inflation = extras.get("inflation")
    end = f"\nk_raw / k_ref = {inflation:.4g} at the reported pair" if inflation else ""
    return f"{q.network}\n{', '.join(facts)}{end}"
