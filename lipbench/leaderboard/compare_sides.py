# SPDX-License-Identifier: Apache-2.0
"""The same places of two leaderboards beside each other, whatever the ids of their cells are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lipbench.contract.values import Record
from lipbench.leaderboard.grid import UNSET, VARIANT, Grid, latest, make_grid, plan_from, planned
from lipbench.results.form import sound_plan
from lipbench.results.store import read_records

BySeed = Mapping[int, Record | None]
"""Seeds that the plan asks for, each with its record where there is one."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One metric of one row on both sides."""

    row: tuple[str, ...]
    """What tells the row from others: labels of roles, and values of task parameters that vary."""
    metric: str
    base: BySeed = field(default_factory=dict)
    new: BySeed = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sides:
    """One suite on both sides."""

    keys: tuple[str, ...]
    """Roles and parameters that `row` of a pair has values of."""
    pairs: Sequence[Pair]
    compare: Mapping[str, Any]
    """Thresholds of the new side, or of the base where the new one says nothing of them."""


def match(base: Path | None, new: Path | None) -> Sides:
    """Put two folders of one suite beside each other; None for a side that does not have it.

    Places are the same where roles, task parameters that vary on either side, and metric are the same by their labels.

    Raises:
        StoreError: A plan or records are damaged.
    """
    loaded = [_load(folder) for folder in (base, new)]
    options = dict.fromkeys(name for plan, _ in loaded for job in plan.get("jobs", ()) for name in job["varying"])
    places: dict[tuple[tuple[tuple[str, str], ...], str], dict[str, dict[int, Record | None]]] = {}
    for side, (plan, records) in zip(("base", "new"), loaded, strict=True):
        for key, metric, seeds in _places(plan, records, options):
            places.setdefault((key, metric), {})[side] = seeds
    roles = dict.fromkeys(role for plan, _ in loaded for job in plan.get("jobs", ()) for role in job["roles"])
    names = _telling([dict(key) for key, _ in places], (*roles, *options, VARIANT))
    pairs = [
        Pair(row=tuple(dict(key).get(name, "") for name in names), metric=metric, **both)
        for (key, metric), both in places.items()
    ]
    specs = [(plan.get("leaderboard") or {}).get("compare") or {} for plan, _ in loaded]
    return Sides(keys=names, pairs=pairs, compare=specs[1] if any(specs[1].values()) else specs[0])


def _load(folder: Path | None) -> tuple[Mapping[str, Any], Mapping[str, Record]]:
    if folder is None:
        return {}, {}
    plan = sound_plan(folder)
    records = latest(read_records(folder, planned(plan) if plan else None))
    return plan or plan_from(records.values()), records


def _places(
    plan: Mapping[str, Any], records: Mapping[str, Record], options: Mapping[str, None]
) -> Iterator[tuple[tuple[tuple[str, str], ...], str, dict[int, Record | None]]]:
    if not plan or not plan["jobs"]:
        return
    roles = dict.fromkeys(role for job in plan["jobs"] for role in job["roles"])
    grid: Grid = make_grid({**plan, "leaderboard": {"rows": [*roles, *options]}}, records)
    for row in grid.rows:
        facts = {name: text for name, text in row.facts.items() if name in roles or name in options}
        variant = row.keys[-1] if grid.keys[-1:] == (VARIANT,) else "1"
        key = (*facts.items(), (VARIANT, variant))
        for metric in row.cells:
            cells = row.cells[metric]
            yield tuple(sorted(key)), metric, {seed: records.get(cell) for seed, cell in cells.items()}


def _telling(rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> tuple[str, ...]:
    """Those names that are not the same in all rows; where nothing tells rows apart, those that are set."""
    several = tuple(name for name in names if len({row.get(name, "") for row in rows}) > 1)
    return several or tuple(name for name in names if name != VARIANT and any(row.get(name, UNSET) != UNSET for row in rows))
