# SPDX-License-Identifier: Apache-2.0
"""What LMD and two others say of in-domain and of foreign images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lipbench_basics.figures import COLOURS, legend_below, panels, shorter

from lipbench.api import Record

from .reading import Grid, Results, mean, pair_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAIRS = 6


def score_histograms(records: Sequence[Record]) -> dict[str, Figure]:
    """A row for each of at most six pairs, from LMD's best to its worst; columns are LMD, the best baseline and the best control.

    Args:
        records: In the order of the plan.
    """
    results = Results(records)
    grid = results.main_grid
    names = _shown(grid)
    ranked = sorted(grid.cells[names[0]], key=lambda pair: -grid.cells[names[0]][pair]) if names else []
    pairs = [ranked[round(i * (len(ranked) - 1) / max(1, min(PAIRS, len(ranked)) - 1))] for i in range(min(PAIRS, len(ranked)))]
    cells = [(name, pair, next(iter(results.cells[name].get(pair, {}).values()), None)) for pair in pairs for name in names]
    if not any(r is not None and r.extras.get("histogram") for _, _, r in cells):
        return {}
    figure, axes = panels(len(cells), width=3.4, height=2.1, across=len(names))
    for i, (panel, (name, pair, r)) in enumerate(zip(axes, cells, strict=True)):
        if r is not None and r.extras.get("histogram"):
            _panel(panel, r.extras["histogram"])
        value = f", AUROC {r.value:.3f}" if r is not None else ""
        panel.set_title(f"{shorter(pair_name(pair), 40)}\n{shorter(name)}{value}", fontsize="small")
        panel.tick_params(labelsize="x-small")
        if i % len(names) == 0:
            panel.set_ylabel("% of images", fontsize="small")
        if i >= len(cells) - len(names):
            panel.set_xlabel("score, outer bins hold the tails", fontsize="small")
    seeds = {r.seed for _, _, r in cells if r is not None}
    figure.suptitle(f"Scores, seed {' or '.join(map(str, sorted(seeds)))}")
    legend_below(figure, axes)
    return {"score_histograms": figure}


def _shown(grid: Grid) -> list[str]:
    """LMD, the best baseline and the best control by their means; the second best where a kind is missing."""
    if grid.headline is None:
        return []
    scores = {name: (len(c), mean(c.values())) for name, c in grid.cells.items() if c and grid.kinds[name] != "lmd"}
    ranked = sorted(scores, key=lambda name: scores[name], reverse=True)
    first = [next((n for n in ranked if grid.kinds[n] == kind), None) for kind in ("baseline", "control")]
    chosen = [n for n in first if n is not None]
    return [grid.headline, *[*chosen, *(n for n in ranked if n not in chosen)][:2]]


def _panel(panel: Axes, histogram: Mapping[str, Any]) -> None:
    edges = histogram["edges"]
    for kind, label, colour in (("inside", "in-domain images", COLOURS[0]), ("outside", "foreign images", COLOURS[1])):
        shares = [100 * v for v in histogram[kind]]
        panel.stairs(shares, edges, color=colour, linewidth=1.3, label=label)
        panel.stairs(shares, edges, color=colour, fill=True, alpha=0.22)
    panel.locator_params(axis="x", nbins=5)
    panel.set_ylim(bottom=0)
    panel.set_xlim(edges[0], edges[-1])
