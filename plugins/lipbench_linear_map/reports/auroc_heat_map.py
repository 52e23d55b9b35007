# SPDX-License-Identifier: Apache-2.0
"""The target by source matrix in colours, with the published one beside it on the same scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lipbench.api import Record

from .drawing import put, shorter, stem
from .matrices import Matrix, Published, measured_matrix, published_matrix
from .reading import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 0.62
"""Inches of a cell: its three digits must be legible."""
_LABELS = 1.7
"""Inches for the names beside and below the cells."""
_WRITTEN = 30
"""Rows or columns above which cells are too many to be written into."""


def auroc_heat_map(records: Sequence[Record], published: Published = ()) -> dict[str, Figure]:
    """A figure for each dataset of more than one pair: the setting with the most pairs, its diagonal boxed.

    Args:
        records: In the order of the plan.
        published: Entries of the suite's reference file.
    """
    results = Results(records)
    figures: dict[str, Figure] = {}
    for data in results.datasets:
        setting = results.headline(data)
        ours = measured_matrix(results, setting) if setting is not None else None
        if setting is None or ours is None or len(ours.cells) < 2:
            continue
        theirs = published_matrix(published, setting)
        shown = [("ours", ours), *([("published", theirs)] if theirs is not None else [])]
        put(figures, stem("auroc_heat_map", *([data] if len(results.datasets) > 1 else [])), _figure(shown))
    return figures


def _figure(shown: Sequence[tuple[str, Matrix]]) -> Figure:
    from matplotlib.figure import Figure

    widths = [_CELL * len(m.sources) + _LABELS for _, m in shown]
    height = max(_CELL * len(m.targets) for _, m in shown) + _LABELS + 0.7
    figure = Figure(figsize=(max(4.5, sum(widths)) + 1.0, height), layout="constrained")
    axes = list(figure.subplots(1, len(shown), squeeze=False, width_ratios=[len(m.sources) for _, m in shown]).ravel())
    values = [v for _, m in shown for v in m.cells.values()]
    low = math.floor(20 * min(values) - 1e-9) / 20
    for panel, (whose, matrix), width in zip(axes, shown, widths, strict=True):
        picture = _panel(panel, matrix, low)
        panel.set_title(f"{whose}\n{shorter(matrix.title, int(11 * width))}", fontsize="medium")
    axes[0].set_ylabel("target: whose detector")
    figure.colorbar(picture, ax=axes, shrink=0.8, aspect=25).set_label("AUROC", fontsize="small")
    figure.suptitle("Detection through the map; boxed: native, nothing is mapped")
    return figure


def _panel(panel: Axes, matrix: Matrix, low: float) -> Any:
    from matplotlib.patches import Rectangle

    targets, sources = matrix.targets, matrix.sources
    grid = [[matrix.cells.get((t, s), math.nan) for s in sources] for t in targets]
    picture = panel.imshow(grid, vmin=low, vmax=1.0, cmap="viridis", aspect="equal")
    for y, t in enumerate(targets):
        for x, s in enumerate(sources):
            value = grid[y][x]
            if max(len(targets), len(sources)) <= _WRITTEN and not math.isnan(value):
                # Viridis is dark below and light above the middle.
                colour = "white" if value < low + 0.42 * (1 - low) else "black"
                panel.text(x, y, f"{value:.3f}", ha="center", va="center", fontsize=8.5, color=colour)
            if (t, s) in matrix.diagonal:
                for colour, width in (("white", 3.8), ("black", 2.0)):
                    panel.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor=colour, linewidth=width))
    panel.set_xticks(range(len(sources)), [shorter(s) for s in sources], rotation=40, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(len(targets)), [shorter(t) for t in targets])
    panel.tick_params(labelsize="small", length=0)
    panel.set_xlabel("source: attacked and mapped")
    return picture
