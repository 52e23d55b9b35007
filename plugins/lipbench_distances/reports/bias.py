# SPDX-License-Identifier: Apache-2.0
"""Bias and spread of sampled distances against their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import GREY, legend_below, log_ticks, panels, styles

from lipbench.api import Column, Entry, Record, Table

from .reading import distance_of, in_order, measured, pair_of, parameter

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def biases(records: Sequence[Record]) -> Table:
    """A row for each pair and distance, a column for each number of rows: bias and spread, as shares of the truth.

    Args:
        records: In the order of the plan.
    """
    found = measured(records, "bias")
    sizes = sorted({parameter(r, "rows") for r in found})
    cells = {(pair_of(r), distance_of(r), parameter(r, "rows")): r for r in found}
    lines = list(dict.fromkeys((pair_of(r), distance_of(r)) for r in found))
    return Table(
        title="Bias of samples",
        columns=[Column(name=n) for n in ("pair", "distance", "truth", *(f"{n} rows" for n in sizes))] if found else (),
        rows=[
            [
                Entry(text=pair),
                Entry(text=name),
                Entry(text=f"{next(r.extras['truth'] for k, r in cells.items() if k[:2] == (pair, name)):.3g}"),
                *(_entry(cells.get((pair, name, n))) for n in sizes),
            ]
            for pair, name in lines
        ],
        caption="Mean distance of samples less that of the distributions, plus and minus the standard deviation of one; in % of the "
        "truth, or as it is where the truth is 0."
        if found
        else "",
    )


def _entry(record: Record | None) -> Entry:
    if record is None:
        return Entry(text="")
    bias, spread, truth = record.value or 0.0, record.extras["spread"], record.extras["truth"]
    if not truth:
        return Entry(text=f"{bias:+.2g} ± {spread:.2g}", value=bias)
    return Entry(text=f"{100 * bias / truth:+.3g} % ± {100 * spread / truth:.2g} %", value=bias / truth)


def bias(records: Sequence[Record]) -> dict[str, Figure]:
    """Mean distance of samples over the truth, with the standard deviation of one sample; a panel for each pair.

    Args:
        records: In the order of the plan.
    """
    found = [r for r in measured(records, "bias") if r.extras["truth"]]
    pairs = in_order(pair_of(r) for r in found)
    if not pairs:
        return {}
    looks = styles(distance_of(r) for r in found)
    figure, axes = panels(len(pairs), width=4.2, height=3.4)
    for panel, pair in zip(axes, pairs, strict=True):
        mine = [r for r in found if pair_of(r) == pair]
        for name in in_order(distance_of(r) for r in mine):
            points = sorted((r for r in mine if distance_of(r) == name), key=lambda r: parameter(r, "rows"))
            colour, marker = looks[name]
            panel.errorbar(
                [parameter(r, "rows") for r in points],
                [1 + (r.value or 0.0) / r.extras["truth"] for r in points],
                yerr=[r.extras["spread"] / r.extras["truth"] for r in points],
                color=colour, marker=marker, markersize=4, linewidth=1.2, elinewidth=0.8, capsize=2, label=name,
            )  # fmt: skip
        rows = [parameter(r, "rows") for r in mine]
        panel.axhline(1, color=GREY, linewidth=0.8)
        panel.set_xscale("log")
        panel.set_yscale("log")
        log_ticks(panel.xaxis, min(rows), max(rows))
        log_ticks(panel.yaxis, *panel.get_ylim())
        panel.set_title(pair, fontsize="medium")
        panel.set_xlabel("rows of a sample", fontsize="small")
        panel.tick_params(labelsize="small")
    axes[0].set_ylabel("distance of samples over the truth", fontsize="small")
    figure.suptitle("Bias of samples; bars: standard deviation of one")
    legend_below(figure, axes)
    return {"bias": figure}
