# SPDX-License-Identifier: Apache-2.0
"""Exact cells, distinct maps and the source's count against the batch, and accuracies of all replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import legend_below, panels, shorter, styles

from lipbench.api import Record

from ...reports.reading import good

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORDS = {
    "exact": "cells, exact",
    "distinct": "distinct maps",
    "grid": "cells that a grid hits",
    "published": "the source's count",
}


def region_curves(records: Sequence[Record]) -> dict[str, Figure]:
    """`region_curves` and `accuracy_curves`, one panel for each network and dataset.

    Args:
        records: In the order of the plan.
    """
    figures: dict[str, Figure] = {}
    counts: dict[tuple[str, str], list[Record]] = {}
    for r in good(records, "region_evolution"):
        if len(r.extras.get("batches", [])) > 1:
            counts.setdefault((r.roles["network"], r.roles["data"]), []).append(r)
    look = styles(_WORDS)
    if counts:
        figure, axes = panels(len(counts), width=4.6, height=3.8)
        for panel, ((name, data), mine) in zip(axes, counts.items(), strict=True):
            for r in mine:
                of = r.params["metric"]["of"]
                colour, marker = look[of]
                panel.plot(r.extras["batches"], r.extras["means"], color=colour, marker=marker, label=_WORDS[of])
            panel.set_xscale("symlog", linthresh=1)
            panel.set_ylim(bottom=0)
            panel.set_xlabel("batch")
            panel.set_title(f"{shorter(name)} on {data}", fontsize="medium")
        legend_below(figure, axes)
        figure.suptitle("What is counted in the box of the data, means over replicas")
        figures["region_curves"] = figure
    curves = {(r.roles["network"], r.roles["data"]): r for r in good(records, "replica_learning", of="final")}
    if curves:
        figure, axes = panels(len(curves), width=4.6, height=3.8)
        colour = look["exact"][0]
        for panel, ((name, data), r) in zip(axes, curves.items(), strict=True):
            low, middle, high = zip(*r.extras["quartiles"], strict=True)
            panel.fill_between(r.extras["looks"], low, high, color=colour, alpha=0.25, label="middle half of the replicas")
            panel.plot(r.extras["looks"], middle, color=colour, label="median")
            panel.set_xscale("log")
            panel.set_ylim(0.3, 1.02)
            panel.set_xlabel("batch")
            panel.set_title(f"{shorter(name)} on {data}", fontsize="medium")
        legend_below(figure, axes)
        figure.suptitle("Test accuracy of all replicas while they learn")
        figures["accuracy_curves"] = figure
    return figures
