# SPDX-License-Identifier: Apache-2.0
"""What an optimiser leaves undone when it has brought a distance to 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLUE, RED, legend_below, panels

from lipbench.api import Column, Entry, Record, Table

from .reading import distance_of, in_order, measured, pair_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = {
    "loss at the end": lambda r: r.extras["loss"][-1],
    "Gram loss": lambda r: r.extras["gram_loss"],
    "mean error": lambda r: r.extras["mean_error"],
    "covariance error": lambda r: r.extras["cov_error"],
    "Gaussian W2": lambda r: r.extras["gaussian_w2"],
    "exact W2": lambda r: r.value,
    "of two samples": lambda r: r.extras["baseline"],
}


def left_undone(records: Sequence[Record]) -> Table:
    """A row for each pair and distance: what is left by each measure.

    Args:
        records: In the order of the plan.
    """
    found = measured(records, "matching")
    rows = [
        [Entry(text=pair_of(r)), Entry(text=distance_of(r)), *(Entry(text=f"{v:.3g}", value=v) for v in _values(r))]
        for r in found
    ]
    return Table(
        title="What matching leaves undone",
        columns=[Column(name="pair"), Column(name="descended"), *(Column(name=n) for n in _COLUMNS)] if rows else (),
        rows=rows,
        caption="A sample of the second distribution after Adam has moved it onto one of the first. The last column is the exact "
        "W2 of two samples of the first."
        if rows
        else "",
    )


def _values(record: Record) -> list[float]:
    return [float(read(record)) for read in _COLUMNS.values()]


def flows(records: Sequence[Record]) -> dict[str, Figure]:
    """The clouds of both samples at the end, their first two features; a figure for each pair, a panel for each distance.

    Args:
        records: In the order of the plan.
    """
    found = [r for r in measured(records, "matching") if r.extras.get("clouds")]
    figures = {}
    for pair in in_order(pair_of(r) for r in found):
        mine = [r for r in found if pair_of(r) == pair]
        figure, axes = panels(len(mine), width=2.9, height=2.9, across=4)
        for panel, r in zip(axes, mine, strict=True):
            clouds = r.extras["clouds"]
            for name, colour, label in (("target", BLUE, "target"), ("end", RED, "moved")):
                x, y = zip(*clouds[name], strict=True)
                panel.scatter(x, y, s=7, color=colour, alpha=0.7, linewidths=0, label=label)
            panel.set_title(f"{distance_of(r)}: exact W2 {r.value:.2g}", fontsize="small")
            panel.tick_params(labelsize="x-small")
        baseline = mine[0].extras["baseline"]
        figure.suptitle(f"{pair}: what is left after matching; two samples of the target have {baseline:.2g}")
        legend_below(figure, axes)
        figures["flows-" + "-".join(pair.replace(",", " ").split())] = figure
    return figures
