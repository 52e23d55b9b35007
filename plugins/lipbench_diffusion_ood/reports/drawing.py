# SPDX-License-Identifier: Apache-2.0
"""Small panels with a curve for each detector, one panel a pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import COLOURS, MARKERS, legend_below, panels, shorter

from lipbench.api import Record

from .curves import Curve, names_apart
from .reading import Pair, bounds, over_seeds, pair_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 6


def curve_panels(
    found: Sequence[Curve], first: str, title: str, label: str, x: Callable[[float, Record], float], *, log: bool
) -> Figure:
    """A panel for each of the first six pairs, a line for each curve, with 95 % intervals.

    Args:
        found: At least one curve.
        first: The fact that names a line first.
        title: Of the figure.
        label: Of the x axis.
        x: Where a point stands, by its parameter and its record.
        log: Whether the x axis is logarithmic.
    """
    pairs: list[Pair] = list(dict.fromkeys(c.pair for c in found))[:PANELS]
    shown = [c for c in found if c.pair in pairs]
    lines = list(zip(shown, names_apart(shown, first), strict=True))
    names = list(dict.fromkeys(name for _, name in lines))
    figure, axes = panels(len(pairs), width=4.2, height=3.2)
    for panel, pair in zip(axes, pairs, strict=True):
        for curve, name in lines:
            if curve.pair == pair:
                i = names.index(name)
                _line(panel, curve, name, COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], x)
        panel.set_title(shorter(pair_name(pair), 40), fontsize="medium")
        panel.set_xlabel(label, fontsize="small")
        panel.set_ylabel("AUROC", fontsize="small")
        panel.grid(alpha=0.25, linewidth=0.5)
        panel.tick_params(labelsize="small")
        if log:
            panel.set_xscale("log")
    figure.suptitle(f"{title}; bars: 95 % intervals")
    legend_below(figure, axes)
    return figure


def _line(panel: Axes, curve: Curve, name: str, colour: str, marker: str, x: Callable[[float, Record], float]) -> None:
    points = sorted((x(at, next(iter(seeds.values()))), seeds) for at, seeds in curve.points.items())
    means = [over_seeds(seeds).value for _, seeds in points]
    ends = [bounds(seeds) for _, seeds in points]
    # DeLong's interval is cut off at 0 and 1 and could end at the value itself.
    bars = [
        [max(m - low, 0.0) for m, (low, _) in zip(means, ends, strict=True)],
        [max(high - m, 0.0) for m, (_, high) in zip(means, ends, strict=True)],
    ]
    panel.errorbar(
        [at for at, _ in points],
        means,
        yerr=bars,
        color=colour,
        marker=marker,
        markersize=4.5,
        linewidth=1.4,
        elinewidth=0.8,
        capsize=2,
        label=name,
    )
