# SPDX-License-Identifier: Apache-2.0
"""Crossings of segments against the Hamming distance of their ends: on or above the diagonal, by even numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, legend_below, panels, shorter, styles

from lipbench.api import Record

from .reading import good

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def crossings(records: Sequence[Record]) -> dict[str, Figure]:
    """One panel for each kind of pairs.

    Args:
        records: In the order of the plan.
    """
    found: dict[str, dict[str, Record]] = {}
    for r in good(records, "segment_cells", of="cells"):
        found.setdefault(str(r.params["metric"]["pairs"]), {}).setdefault(r.roles["network"], r)
    if not found:
        return {}
    marks = styles(n for mine in found.values() for n in mine)
    figure, axes = panels(len(found), width=5.2, height=5.0)
    for panel, (kind, mine) in zip(axes, found.items(), strict=True):
        top = 1
        for name, r in mine.items():
            hamming, counts = r.extras["scatter"]
            top = max([top, *counts])
            colour, marker = marks[name]
            panel.scatter(hamming, counts, s=16, color=colour, marker=marker, alpha=0.55, linewidths=0, label=shorter(name))
        panel.plot([0, top], [0, top], color=BLACK, linewidth=0.8)
        panel.set_title(f"pairs: {kind}", fontsize="medium")
        panel.set_xlabel("Hamming distance of the ends")
        panel.set_ylabel("units crossed on the segment")
    figure.suptitle("A segment crosses at least as many units as its ends differ in, and an even number more")
    legend_below(figure, axes)
    return {"crossings": figure}
