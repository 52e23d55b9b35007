# SPDX-License-Identifier: Apache-2.0
"""What the plots share: colours that colour-blind readers can tell apart, and figures of small panels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, RED, PINK, BLACK, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#000000", "#8A8A8A"
COLOURS: Mapping[str, str] = {"lower": BLUE, "upper": RED, "exact": BLACK, "estimate": GREEN}
NORMS: Mapping[str, str] = {"l1": "1", "l2": "2", "linf": "\\infty"}
"""Index of a norm in mathtext."""

_MARGIN = 0.8
"""Inches of a figure for its title and its legend."""
_ENTRY = 2.0
"""Inches of a legend's entry."""
_NARROWEST = 5.5
"""Inches that a title needs."""


def panels(
    count: int, *, width: float, height: float, across: int = 3, share_y: bool = False, compressed: bool = False
) -> tuple[Figure, Sequence[Axes]]:
    """A figure of equal panels, row by row.

    Args:
        count: Number of panels.
        width: Of one panel, in inches.
        height: Of one panel.
        across: Largest number of panels in a row.
        share_y: Whether the panels of a row have one vertical axis.
        compressed: Whether the panels keep their proportions and move together instead of filling the figure.
    """
    from matplotlib.figure import Figure

    columns = min(count, across)
    rows = -(-count // columns)
    figure = Figure(
        figsize=(max(width * columns, _NARROWEST), height * rows + _MARGIN),
        layout="compressed" if compressed else "constrained",
    )
    grid = figure.subplots(rows, columns, squeeze=False, sharey="row" if share_y else False)
    axes = list(grid.ravel())
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
        columns = max(1, int(figure.get_figwidth() / _ENTRY))
        figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=columns, frameon=False, fontsize="small"
        )


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks of a logarithmic axis written as plain numbers, as many as fit the range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = math.log10(high / low)
    subs = (1.0,) if decades > 2 else (1.0, 2.0, 5.0) if decades > 0.9 else (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=10))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())
