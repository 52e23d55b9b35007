# SPDX-License-Identifier: Apache-2.0
"""What several reports make of more than one metric."""

from __future__ import annotations

from .averages import less, over_seeds
from .reading import Point, Results, Setting, numbers


def gap(results: Results, setting: Setting) -> dict[Point, float]:
    """AUROC through the map less that of the source's own detector, asked for or worked out, off the diagonal."""
    auroc = results.mapped(setting)
    return less(auroc, results.own(setting, "source", auroc)) | results.mapped(setting, "transfer_gap")


def adaptive_attacks(results: Results, setting: Setting) -> list[tuple[float | None, int | None]]:
    """Weight and steps of the adaptive attacks that the suite asks for."""
    given = [r.params.get("metric", {}) for r in results.asked(setting, "adaptive_auroc")]
    return list(dict.fromkeys((p.get("weight"), p.get("steps")) for p in given))


def adaptive(results: Results, setting: Setting) -> tuple[dict[Point, float], dict[Point, float]]:
    """AUROC and the source's accuracy under the adaptive attack that brings the AUROC down most, off the diagonal."""
    found = [
        (results.mapped(setting, "adaptive_auroc", **given), results.mapped(setting, "adaptive_robust_accuracy", **given))
        for given in ({"weight": weight, "steps": steps} for weight, steps in adaptive_attacks(results, setting))
    ]
    worth = [(mean.value, i) for i, (evaded, _) in enumerate(found) if (mean := over_seeds(evaded)) is not None]
    return found[min(worth)[1]] if worth else ({}, results.mapped(setting, "adaptive_robust_accuracy"))


def rows_and_columns(results: Results, setting: Setting) -> dict[Point, tuple[float, float]]:
    """How many rows each map was fitted on and how many columns of its source vary over them, where a record says it."""
    found: dict[Point, tuple[float, float]] = {}
    for metric in ("rows_per_column", "auroc"):
        rows, columns, live = (numbers(results.records(setting, metric), key) for key in ("rows", "columns", "live"))
        columns |= live
        found |= {p: (rows[p], columns[p]) for p in rows if columns.get(p)}
    return found
