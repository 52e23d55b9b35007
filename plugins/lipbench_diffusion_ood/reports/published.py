# SPDX-License-Identifier: Apache-2.0
"""Published AUROCs in the shape of our own."""

from __future__ import annotations

from collections.abc import Sequence

from lipbench.api import Record

from .reading import AUROC, Grid, Published, kind_of


def published_grid(records: Sequence[Record], published: Published) -> Grid:
    """Published AUROCs by detector and lift; a detector that no record has is a baseline unless it says that it is LMD."""
    grid = Grid()
    kinds = {r.roles.get("detector", ""): kind_of(r) for r in records}
    metrics = {AUROC, *(r.metric for r in records if r.uses.get("metric") == AUROC)}
    for entry in published:
        where = entry.get("where") or {}
        if where.get("metric", AUROC) in metrics | {"auroc"} and {"in_dist", "out_dist", "detector"} <= where.keys():
            label = where["detector"].strip("*")
            name = f"{label}, {where['lift'].strip('*')}" if where.get("lift", "no_lift") != "no_lift" else label
            grid.kinds.setdefault(name, kinds.get(label, "lmd" if label.startswith("lmd") else "baseline"))
            pair = where["in_dist"].strip("*"), where["out_dist"].strip("*")
            if pair[0] == pair[1]:
                continue  # an average over pairs
            grid.cells.setdefault(name, {}).setdefault(pair, float(entry["value"]))
    return grid
