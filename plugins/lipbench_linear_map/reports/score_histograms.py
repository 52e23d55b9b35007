# SPDX-License-Identifier: Apache-2.0
"""What the detector says of originals, of noise and of adversarial images, natively and through the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lipbench_basics.figures import BLUE, GREY, RED, legend_below, panels, put, shorter, stem

from lipbench.api import Record

from .reading import Point, Results, Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS = (
    ("clean", "originals", BLUE, "-"),
    ("noise", "noise of the same size", GREY, "--"),
    ("adversarial", "adversarial", RED, "-"),
)


def score_histograms(records: Sequence[Record]) -> dict[str, Figure]:
    """A figure for each dataset: the best, the median and the worst pair of the setting with the most pairs, and one native.

    Args:
        records: In the order of the plan.
    """
    results = Results(records)
    figures: dict[str, Figure] = {}
    for data in results.datasets:
        setting = results.headline(data)
        shown = _examples(results, setting) if setting is not None else []
        if shown:
            name = stem("score_histograms", *([data] if len(results.datasets) > 1 else []))
            put(figures, name, _figure(f"{setting}, seed {shown[0][1].seed}", shown))
    return figures


_Example = tuple[str, Point, float | None, Mapping[str, Any]]
"""What it is, where, its AUROC, and its histogram."""


def _examples(results: Results, setting: Setting) -> list[_Example]:
    """Of the first seed, since scores of different seeds are those of different detectors."""
    found = {p: r for p, r in results.records(setting, "auroc").items() if r.extras.get("histograms")}
    seed = min((p.seed for p in found), default=0)
    found = {p: r for p, r in found.items() if p.seed == seed}
    ranked = sorted((p for p in found if not results.native(p)), key=lambda p: (-float(found[p].value or 0.0), p))
    chosen: dict[Point, str] = {}
    for name, i in (("best pair", 0), ("median pair", len(ranked) // 2), ("worst pair", len(ranked) - 1)):
        if ranked:
            chosen.setdefault(ranked[i], name)
    shown: list[_Example] = [
        (name, p, float(found[p].value or 0.0), found[p].extras["histograms"]["mapped"]) for p, name in chosen.items()
    ]
    first = ranked[0] if ranked else next(iter(found), None)
    if first is None:
        return []
    native = results.own(setting, "target", [first]).get(first)
    return [("native", first, native, found[first].extras["histograms"]["native"]), *shown]


def _figure(title: str, shown: Sequence[_Example]) -> Figure:
    figure, axes = panels(len(shown), width=4.4, height=3.1, across=2)
    for panel, (name, point, auroc, histogram) in zip(axes, shown, strict=True):
        _panel(panel, histogram)
        where = shorter(point.target) if name == "native" else f"{shorter(point.source, 22)} → {shorter(point.target, 22)}"
        panel.set_title(f"{name}{'' if auroc is None else f', AUROC {auroc:.3f}'}\n{where}", fontsize="medium")
    figure.suptitle(f"Scores: {shorter(title, 70)}")
    legend_below(figure, axes)
    return figure


def _panel(panel: Axes, histogram: Mapping[str, Any]) -> None:
    edges = histogram["edges"]
    for kind, label, colour, line in _KINDS:
        if kind in histogram:
            shares = [100 * v for v in histogram[kind]]
            panel.stairs(shares, edges, color=colour, linestyle=line, linewidth=1.4, label=label)
            if line == "-":
                panel.stairs(shares, edges, color=colour, fill=True, alpha=0.22)
    panel.set_ylim(bottom=0)
    panel.set_xlim(edges[0], edges[-1])
    panel.set_xlabel("score of the detector, outer bins hold the tails", fontsize="small")
    panel.set_ylabel("% of images", fontsize="small")
    panel.tick_params(labelsize="small")
