# SPDX-License-Identifier: Apache-2.0
"""Seconds against rows and features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import GREY, legend_below, panels, styles

from lipbench.api import Column, Entry, Record, Table

from .reading import distance_of, in_order, measured, pair_of, parameter

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def seconds(records: Sequence[Record]) -> Table:
    """A row for each distance, a column for each number of features: seconds at the size that is asked for.

    Args:
        records: In the order of the plan.
    """
    found = measured(records, "cost")
    cells = {(distance_of(r), pair_of(r)): r for r in found}
    pairs = in_order(pair_of(r) for r in found)
    return Table(
        title="Cost",
        columns=[Column(name="distance"), *(Column(name=p, unit="s", direction="lower") for p in pairs)] if found else (),
        rows=[
            [Entry(text=name), *(_entry(cells.get((name, pair))) for pair in pairs)]
            for name in in_order(distance_of(r) for r in found)
        ],
        caption=f"Seconds for one distance of two samples of {parameter(found[0], 'rows')} rows; where it is extrapolated, in brackets "
        "the 95 % interval of prediction, the largest measured size, and the power of the rows."
        if found
        else "",
    )


def _entry(record: Record | None) -> Entry:
    if record is None:
        return Entry(text="")
    text = f"{record.value:.3g}"
    if record.extras["measured"] < parameter(record, "rows"):
        band = f"{record.interval['low']:.2g} to {record.interval['high']:.2g}; " if record.interval else ""
        text = f"extrapolated: {text} ({band}{record.extras['measured']} rows, n^{record.extras['exponent']:.2f})"
    return Entry(text=text, value=record.value)


def cost(records: Sequence[Record]) -> dict[str, Figure]:
    """A panel for each number of features, a line for each distance, dashed where it is extrapolated.

    Args:
        records: In the order of the plan.
    """
    found = measured(records, "cost")
    if not found:
        return {}
    pairs = in_order(pair_of(r) for r in found)
    looks = styles(distance_of(r) for r in found)
    figure, axes = panels(len(pairs), width=3.9, height=3.6)
    for panel, pair in zip(axes, pairs, strict=True):
        mine = [r for r in found if pair_of(r) == pair]
        for r in mine:
            colour, marker = looks[distance_of(r)]
            sizes, seconds = r.extras["sizes"], r.extras["seconds"]
            panel.plot(sizes, seconds, color=colour, marker=marker, markersize=3.5, linewidth=1.2, label=distance_of(r))
            if r.extras["measured"] < parameter(r, "rows"):
                ends = [sizes[-1], parameter(r, "rows")], [seconds[-1], r.value or 0.0]
                if r.interval:
                    low, high = (abs(r.interval[k] - (r.value or 0.0)) for k in ("low", "high"))
                    panel.errorbar([ends[0][1]], [ends[1][1]], yerr=[[low], [high]], color=colour, elinewidth=0.8, capsize=2)
                panel.plot(*ends, color=colour, linestyle=":", marker=marker, markersize=3.5, fillstyle="none", linewidth=1.0)
        panel.axvline(parameter(mine[0], "rows"), color=GREY, linewidth=0.8)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(f"{mine[0].extras['features']} features", fontsize="medium")
        panel.set_xlabel("rows of each sample", fontsize="small")
        panel.tick_params(labelsize="small")
        panel.grid(alpha=0.25, linewidth=0.5)
    axes[0].set_ylabel("seconds for one distance", fontsize="small")
    figure.suptitle("Cost; dotted: extrapolated to the 50,176 rows of the source (grey line), bars: 95 % of prediction")
    legend_below(figure, axes)
    return {"cost": figure}
