# SPDX-License-Identifier: Apache-2.0
"""What the map keeps of each source's own detector: points below the line are lost by the map, points above are gained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, GREY, legend_below, panels, put, room, shorter, stem, styles

from lipbench.api import Record

from .matrices import Matrix, Published, measured_matrix, published_matrix
from .reading import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def mapped_against_native(records: Sequence[Record], published: Published = ()) -> dict[str, Figure]:
    """A figure for each dataset: every pair of the setting with the most pairs, mean over seeds.

    Args:
        records: In the order of the plan.
        published: Entries of the suite's reference file.
    """
    results = Results(records)
    figures: dict[str, Figure] = {}
    for data in results.datasets:
        setting = results.headline(data)
        ours = measured_matrix(results, setting) if setting is not None else None
        if setting is None or ours is None or not _points(ours):
            continue
        name = stem("mapped_against_native", *([data] if len(results.datasets) > 1 else []))
        put(figures, name, _figure(ours, published_matrix(published, setting)))
    return figures


def _points(matrix: Matrix) -> list[tuple[str, float, float]]:
    """Target, AUROC of the source's own detector, AUROC through the map."""
    return [(pair[0], own, v) for pair, v in matrix.off_diagonal.items() if (own := matrix.own[pair][1]) is not None]


def _figure(ours: Matrix, theirs: Matrix | None) -> Figure:
    figure, (panel,) = panels(1, width=6.4, height=5.6)
    points = _points(ours)
    other = _points(theirs) if theirs is not None else []
    everything = [v for _, *xy in [*points, *other] for v in xy]
    limits = room(min(everything), max(everything))
    panel.plot(limits, limits, color=BLACK, linewidth=0.9, label="y = x: nothing is lost", zorder=1)
    if theirs is not None and other:
        _scatter(panel, other, color=GREY, marker="o", label=shorter(f"published: {theirs.title}", 40), hollow=True)
    for target, (colour, marker) in styles(ours.targets).items():
        mine = [p for p in points if p[0] == target]
        if mine:
            _scatter(panel, mine, color=colour, marker=marker, label=f"target {shorter(target)}")
    panel.set_xlim(*limits)
    panel.set_ylim(*limits)
    panel.set_aspect("equal")
    panel.grid(alpha=0.25, linewidth=0.5)
    panel.set_xlabel("AUROC of the source's own detector (native)")
    panel.set_ylabel("AUROC of the target's detector on mapped features")
    panel.set_title(f"Mapped against native: {shorter(ours.title, 48)}", fontsize="medium")
    legend_below(figure, [panel])
    return figure


def _scatter(
    panel: Axes, points: Sequence[tuple[str, float, float]], *, color: str, marker: str, label: str, hollow: bool = False
) -> None:
    panel.plot(
        [x for _, x, _ in points],
        [y for _, _, y in points],
        linestyle="none",
        marker=marker,
        markersize=7,
        color=color,
        markerfacecolor="none" if hollow else color,
        markeredgecolor=color if hollow else "white",
        markeredgewidth=1.2 if hollow else 0.6,
        label=label,
        zorder=2 if hollow else 3,
    )
