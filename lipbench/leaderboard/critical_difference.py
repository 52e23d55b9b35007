# SPDX-License-Identifier: Apache-2.0
"""Critical-difference diagrams: average ranks on a line, bars over those between which no difference is found.

After J. Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7:1-30, 2006, figure 1. Drawn here, because the
libraries that draw them (scikit-posthocs, autorank) need pandas and statsmodels for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lipbench.leaderboard.overall import Overall
from lipbench.leaderboard.render.text import visible

_WIDTH, _LINE = 9.0, 0.28
"""Inches: of the figure, and of each line of text."""
_BAR = 0.45
"""Height that a bar takes, in lines."""


def diagrams(judged: Sequence[Overall]) -> Mapping[str, Any]:
    """Figures by the stem of their file, for families of three competitors or more."""
    return {f"ranks-{overall.family.words}": _diagram(overall) for overall in judged if overall.friedman is not None}


def runs(overall: Overall) -> list[tuple[int, int]]:
    """First and last of each longest run of competitors between whose average ranks no difference is found."""
    limit = math.inf if overall.critical is None else overall.critical
    found: list[tuple[int, int]] = []
    for start, low in enumerate(overall.average_ranks):
        end = max(i for i, high in enumerate(overall.average_ranks) if high - low < limit)
        if end > start and (not found or end > found[-1][1]):
            found.append((start, end))
    return found


def _diagram(overall: Overall) -> Any:
    from matplotlib.figure import Figure

    count = len(overall.names)
    bars = runs(overall)
    left = (count + 1) // 2
    depth = 1 + _BAR * len(bars) + left
    figure = Figure(figsize=(_WIDTH, _LINE * (depth + 3.5)))
    axes = figure.add_axes((0.3, 0, 0.4, 1))
    axes.set_xlim(0.8, count + 0.2)
    axes.set_ylim(depth, -3.5)
    axes.axis("off")
    axes.plot([1, count], [0, 0], color="black", lw=1)
    step = max(1, math.ceil(count / 12))
    for rank in range(1, count + 1, step):
        axes.plot([rank, rank], [0, -0.25], color="black", lw=1)
        axes.text(rank, -0.4, str(rank), ha="center", va="bottom")
    for i, (name, average) in enumerate(zip(overall.names, overall.average_ranks, strict=True)):
        first = i < left
        height = 1 + _BAR * len(bars) + (i if first else count - 1 - i)
        axes.plot([average, average, 0.8 if first else count + 0.2], [0, height, height], color="black", lw=0.8)
        said = f"{_plain(name)}  {average:.3g}" if first else f"{average:.3g}  {_plain(name)}"
        axes.text(0.7 if first else count + 0.3, height, said, ha="right" if first else "left", va="center", clip_on=False)
    for i, (start, end) in enumerate(bars):
        height = 0.5 + _BAR * i
        ends = overall.average_ranks[start] - 0.05, overall.average_ranks[end] + 0.05
        axes.plot(ends, [height, height], color="black", lw=4, solid_capstyle="butt")
    if overall.critical is not None:
        axes.plot([1, 1 + overall.critical], [-2, -2], color="black", lw=2, marker="|", markersize=8)
        axes.text(1, -2.3, f"critical difference {overall.critical:.3g}", ha="left", va="bottom")
    figure.text(0.5, 0.01, _title(overall), ha="center", va="bottom", color="dimgrey", fontsize="small")
    return figure


def _title(overall: Overall) -> str:
    found = "Nemenyi at 5 %" if overall.critical is not None else f"Friedman p = {overall.friedman:.3g}: no difference is found"
    return _plain(f"{overall.family.words}: average ranks over {overall.datasets} datasets, {found}")


def _plain(text: str) -> str:
    """Text that matplotlib does not take for formulas."""
    return visible(text).replace("$", r"\$")
