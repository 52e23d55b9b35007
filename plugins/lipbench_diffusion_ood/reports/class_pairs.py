# SPDX-License-Identifier: Apache-2.0
"""AUROC of each pair of classes in colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import panels, shorter

from lipbench.api import Record

from .reading import Pair, measured, pair_name, pair_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 6
_MOST = 12
"""Classes along a side up to which the numbers are written into the squares."""


def class_pairs(records: Sequence[Record]) -> dict[str, Figure]:
    """A panel for each of the six pairs of sets with the lowest value, of one detector: in-domain classes by foreign ones.

    Args:
        records: In the order of the plan.
    """
    found: dict[Pair, Record] = {}
    for r in records:
        if r.uses.get("metric") == "class_pairs" and measured(r):
            found.setdefault(pair_of(r), r)
    shown = sorted(found.values(), key=lambda r: float(r.value or 0.0))[:PANELS]
    if not shown:
        return {}
    figure, axes = panels(len(shown), width=3.6, height=3.3)
    for panel, r in zip(axes, shown, strict=True):
        _panel(panel, r)
    figure.colorbar(axes[0].images[0], ax=list(axes), aspect=40, pad=0.01).set_label("AUROC", fontsize="small")
    figure.suptitle(f"{shown[0].roles.get('detector', '')}: classes of the in-domain set against those of the other")
    return {"class_pairs": figure}


def _panel(panel: Axes, record: Record) -> None:
    grid, rows, columns = (record.extras[name] for name in ("auroc", "inside_classes", "outside_classes"))
    panel.imshow(grid, vmin=0, vmax=1, cmap="RdBu", aspect="auto")
    if max(len(rows), len(columns)) <= _MOST:
        for y, row in enumerate(grid):
            for x, value in enumerate(row):
                colour = "white" if abs(value - 0.5) > 0.27 else "black"
                panel.text(x, y, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=6, color=colour)
    for axis, classes in ((panel.xaxis, columns), (panel.yaxis, rows)):
        step = max(1, len(classes) // _MOST)
        axis.set_ticks(range(0, len(classes), step), [str(c) for c in classes[::step]])
    panel.tick_params(labelsize="x-small", length=0)
    panel.set_xlabel("foreign class", fontsize="x-small")
    panel.set_ylabel("in-domain class", fontsize="x-small")
    panel.set_title(f"{shorter(pair_name(pair_of(record)), 36)}\nlowest {record.value:.3f}", fontsize="small")
