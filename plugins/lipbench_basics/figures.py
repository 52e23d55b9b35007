# SPDX-License-Identifier: Apache-2.0
"""What the plots of several plugins share: colours that colour-blind readers can tell apart, markers, small panels."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's palette without its yellow, which is too pale for lines.
BLUE, RED, GREEN, ORANGE, PINK, SKY, BLACK, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000", "#8A8A8A",
)  # fmt: skip
COLOURS = (BLUE, RED, GREEN, ORANGE, PINK, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
"""More than colours, and of another number: what has the colour of another has another marker."""

_MARGIN = 0.9
"""Inches of a figure for its title and its legend."""
_ENTRY = 2.1
"""Inches of a legend's entry."""
_LETTER = 0.066
"""Inches of its letters."""
_NARROWEST = 5.8
"""Inches that a title needs."""
_T = TypeVar("_T")


def panels(count: int, *, width: float, height: float, across: int = 3) -> tuple[Figure, Sequence[Axes]]:
    """A figure of equal panels, row by row.

    Args:
        count: Number of panels.
        width: Of one panel, in inches.
        height: Of one panel.
        across: Largest number of panels in a row.
    """
    from matplotlib.figure import Figure

    columns = min(count, across)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(width * columns, _NARROWEST), height * rows + _MARGIN), layout="constrained")
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
    if entries:
        longest = max(map(len, entries))
        columns = max(1, int(figure.get_figwidth() / max(_ENTRY, 0.55 + _LETTER * longest)))
        figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=columns, frameon=False, fontsize="small"
        )


def styles(names: Iterable[str]) -> Mapping[str, tuple[str, str]]:
    """Colour and marker of each name."""
    return {n: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, n in enumerate(dict.fromkeys(names))}


def stem(report: str, *words: str) -> str:
    """A file's name of a report and what sets its figure apart.

    >>> stem("auroc_heat_map", "digits 8 x 8")
    'auroc_heat_map-digits-8-x-8'
    """
    return "-".join([report, *re.findall(r"\w+", " ".join(words))])


def put(figures: dict[str, Figure], name: str, figure: Figure) -> None:
    """Keep a figure under a name of its own: `name`, `name_2` and so on."""
    names = (f"{name}_{i}" if i > 1 else name for i in itertools.count(1))
    figures[next(n for n in names if n not in figures)] = figure


def pages(items: Sequence[_T], size: int) -> Iterable[Sequence[_T]]:
    """At most `size` of them at a time."""
    return (items[i : i + size] for i in range(0, len(items), size))


def room(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """Limits of an axis with some room on both sides, also where both ends are the same."""
    more = share * (high - low) or 0.01
    return low - more, high + more


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks of a logarithmic axis written as plain numbers, as many as fit the range; both ends are positive."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = math.log10(high / low)
    subs = (
        (1.0,)
        if decades > 2.5
        else (1.0, 3.0)
        if decades > 1.2
        else (1.0, 2.0, 5.0)
        if decades > 0.6
        else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    )
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def shorter(text: str, most: int = 28) -> str:
    """A long label without its middle.

    >>> shorter("a" * 20 + "b" * 20, 11)
    'aaaaa…bbbbb'
    """
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"
