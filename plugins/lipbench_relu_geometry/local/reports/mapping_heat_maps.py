# SPDX-License-Identifier: Apache-2.0
"""Maps between networks as heat maps: what the source's table shows, the gain over no map, and R2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import panels, put, shorter

from lipbench.api import Record

from ...reports.reading import average, good

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS = (
    ("accuracy after the map", {"of": "accuracy", "map": "fit", "rows": "biased"}, "viridis", None),
    ("accuracy with no map", {"of": "accuracy", "map": "identity"}, "viridis", None),
    ("gain of agreement over no map", {"of": "gain", "map": "fit"}, "RdBu", 0.1),
    ("accuracy, pairs in random order", {"of": "accuracy", "map": "shuffled"}, "viridis", None),
    ("$R^2$ of the rows", {"of": "r2", "map": "fit", "rows": "biased"}, "RdBu", 1.0),
    ("$R^2$ of w alone", {"of": "r2", "rows": "unbiased"}, "RdBu", 1.0),
)


def mapping_heat_maps(records: Sequence[Record]) -> dict[str, Figure]:
    """One figure for each dataset: sources by rows, targets by columns.

    Args:
        records: In the order of the plan.
    """
    figures: dict[str, Figure] = {}
    found = list(good(records, "mapped_outputs"))
    for data in dict.fromkeys(r.roles["data"] for r in found):
        put(figures, "mapping_heat_maps", _figure(data, [r for r in found if r.roles["data"] == data]))
    return figures


def _figure(data: str, found: Sequence[Record]) -> Figure:
    sources = list(dict.fromkeys(r.roles["network"] for r in found))
    targets = list(dict.fromkeys(r.roles["target"] for r in found))
    tables = []
    for title, params, cmap, reach in _PANELS:
        mine = list(good(found, "mapped_outputs", **params))
        if mine:
            table = [
                [average([r for r in mine if (r.roles["network"], r.roles["target"]) == (s, t)]) for t in targets]
                for s in sources
            ]
            tables.append((title, table, cmap, reach))
    figure, axes = panels(len(tables), width=1.6 + 0.95 * len(targets), height=1.2 + 0.7 * len(sources))
    for panel, (title, table, cmap, reach) in zip(axes, tables, strict=True):
        low, high = (0.0, 1.0) if reach is None else (-reach, reach)
        panel.imshow(
            [[float("nan") if v is None else v for v in row] for row in table], cmap=cmap, vmin=low, vmax=high, aspect="auto"
        )
        for i, row in enumerate(table):
            for j, v in enumerate(row):
                if v is not None:
                    share = (v - low) / (high - low)
                    dark = share < 0.5 if reach is None else abs(share - 0.5) > 0.3
                    panel.text(
                        j, i, f"{v:.3f}", ha="center", va="center", color="white" if dark else "black", fontsize="medium"
                    )
        panel.set_xticks(range(len(targets)), [shorter(t).replace(" ", "\n") for t in targets])
        panel.set_yticks(range(len(sources)), [shorter(s) for s in sources])
        panel.set_title(title, fontsize="medium")
    axes[0].set_ylabel("from")
    axes[0].set_xlabel("to")
    figure.suptitle(f"From the local maps of one network (rows) to those of another (columns) on {data}, means over seeds")
    return figure
