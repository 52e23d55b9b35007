# SPDX-License-Identifier: Apache-2.0
"""The target by source matrix in colours, with the published one beside it on the same scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lipbench_basics.figures import put, shorter, stem

from lipbench.api import Record

from .matrices import Matrix, Published, measured_matrix, published_matrix
from .reading import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 0.62
"""Inches of a cell: its three digits must be legible."""
_LABELS = 1.7
"""Inches for the names beside and below the cells."""
_NARROWEST = 4.5
"""Inches of all panels that the figure's own title needs."""
_LETTERS = 11
"""Letters of a panel's title to the inch."""
_LINE = 0.2
"""Inches of its lines."""
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


def wrapped(title: str, most: int) -> str:
    r"""A title on at most two lines; what still does not fit there loses its middle.

    Args:
        title: Words with spaces between them.
        most: Letters of a line.

    >>> wrapped("digits, fgsm, ols_affine, embedding", 24)
    'digits, fgsm,\nols_affine, embedding'
    """
    if len(title) <= most:
        return title
    words = title.split(" ")
    # Of all places to break it the one that leaves the shorter of the longest lines: even lines, with the most room.
    breaks = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))] or [(title, "")]
    best = min(breaks, key=lambda lines: max(map(len, lines)))
    return "\n".join(shorter(line, most) for line in best if line)


def _figure(shown: Sequence[tuple[str, Matrix]]) -> Figure:
    from matplotlib.figure import Figure

    widths = [_CELL * len(m.sources) + _LABELS for _, m in shown]
    across = max(_NARROWEST, sum(widths))
    titles = [
        wrapped(m.title, int(_LETTERS * width * across / sum(widths))) for (_, m), width in zip(shown, widths, strict=True)
    ]
    lines = 1 + max(title.count("\n") for title in titles)
    height = max(_CELL * len(m.targets) for _, m in shown) + _LABELS + 0.5 + _LINE * lines
    figure = Figure(figsize=(across + 1.0, height), layout="constrained")
    axes = list(figure.subplots(1, len(shown), squeeze=False, width_ratios=[len(m.sources) for _, m in shown]).ravel())
    values = [v for _, m in shown for v in m.cells.values()]
    low = math.floor(20 * min(values) - 1e-9) / 20
    for panel, (whose, matrix), title in zip(axes, shown, titles, strict=True):
        picture = _panel(panel, matrix, low)
        panel.set_title(f"{whose}\n{title}", fontsize="medium")
    axes[0].set_ylabel("target: whose detector")
    figure.colorbar(picture, ax=axes, shrink=0.8, aspect=25).set_label("AUROC", fontsize="small")
    figure.suptitle("Detection through the map; boxed: native, nothing is mapped")
    # Cells are square, so the first layout knows too little of the room that they leave: names below could be cut off.
    figure.draw_without_rendering()
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
