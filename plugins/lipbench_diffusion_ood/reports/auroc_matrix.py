# SPDX-License-Identifier: Apache-2.0
"""AUROC of every detector on every pair in colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import shorter

from lipbench.api import Record

from .published import published_grid
from .reading import Published, Results, pair_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def auroc_matrix(records: Sequence[Record], published: Published = ()) -> dict[str, Figure]:
    """Detectors by pairs, white at chance; detectors as in the table of that name, a line before each in-domain set.

    A published value of the same detector on the same pair stands below ours.

    Args:
        records: In the order of the plan.
        published: Entries of the suite's reference file.
    """
    results = Results(records)
    names = [name for name in results.main if name in results.cells]
    # A set's pairs stand together, wherever the plan has them.
    pairs = sorted(results.pairs, key=lambda pair: [p[0] for p in results.pairs].index(pair[0]))
    if not names:
        return {}
    from matplotlib.figure import Figure

    size = 0.58 * len(pairs) + 3.2, 0.34 * len(names) + 2.6
    figure = Figure(figsize=(max(6.0, size[0]), size[1]), layout="constrained")
    panel = figure.subplots()
    means = [[results.mean(name, pair) for pair in pairs] for name in names]
    grid = [[math.nan if m is None else m.value for m in row] for row in means]
    panel.set_facecolor("#DDDDDD")  # not measured, which white would not say
    picture = panel.imshow(grid, vmin=0, vmax=1, cmap="RdBu", aspect="auto")
    theirs = published_grid(records, published).cells
    for y, row in enumerate(grid):
        known = theirs.get(names[y], {})
        for x, value in enumerate(row):
            if not math.isnan(value):
                colour = "white" if abs(value - 0.5) > 0.27 else "black"
                below = f"\n({known[pairs[x]]:.3f})" if pairs[x] in known else ""
                panel.text(x, y, f"{value:.3f}{below}", ha="center", va="center", fontsize=6 if below else 8, color=colour)
    for x in range(1, len(pairs)):
        if pairs[x][0] != pairs[x - 1][0]:
            panel.axvline(x - 0.5, color="black", linewidth=1.2)
    panel.set_xticks(
        range(len(pairs)), [shorter(pair_name(p), 34) for p in pairs], rotation=40, ha="right", rotation_mode="anchor"
    )
    panel.set_yticks(range(len(names)), [shorter(name, 34) for name in names])
    panel.tick_params(labelsize="small", length=0)
    figure.colorbar(picture, ax=panel, aspect=30, pad=0.01).set_label("AUROC", fontsize="small")
    figure.suptitle("Foreign against in-domain images; red: inverted")
    return {"auroc_matrix": figure}
