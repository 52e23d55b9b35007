# SPDX-License-Identifier: Apache-2.0
"""What the plots share: colours that colour-blind readers can tell apart, and figures of small panels with curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lipbench.api import Record

from .curves import Curve, names_apart
from .reading import Pair, bounds, over_seeds, pair_name

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette without its yellow, which is too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
"""More than colours, and of another number: what has the colour of another has another marker."""
PANELS = 6


def panels(count: int, *, width: float, height: float, across: int = 3) -> tuple[Figure, Sequence[Axes]]:
    """A figure of equal panels, row by row; width and height of one panel in inches."""
    from matplotlib.figure import Figure

    columns = min(count, across)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(width * columns, 5.8), height * rows + 0.9), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, each label once, under the figure and not wider than it."""
    entries: dict[str, Artist] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    columns = max(1, int(figure.get_figwidth() / max(2.1, 0.55 + 0.066 * max(map(len, entries), default=0))))
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=columns, frameon=False, fontsize="small"
    )


def shorter(text: str, most: int = 28) -> str:
    """A long label without its middle.

    >>> shorter("a" * 20 + "b" * 20, 11)
    'aaaaa…bbbbb'
    """
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


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
