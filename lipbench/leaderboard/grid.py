# SPDX-License-Identifier: Apache-2.0
"""Which rows a table has: the jobs of a plan put together where they differ in nothing but the seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lipbench.contract.values import JSON, Record
from lipbench.files import canonical
from lipbench.leaderboard.summary import Finished, Measured

VARIANT = "variant"
UNSET = "default"
"""Shown for a task parameter that a job leaves as it is, as long as no record says what it is."""


@dataclass(kw_only=True)
class Row:
    """One row before its numbers are read."""

    keys: tuple[str, ...]
    """What its first columns show."""
    facts: Mapping[str, str]
    """Every role and varying parameter in words, shown or not."""
    cells: dict[str, dict[int, str]] = field(default_factory=dict)
    """Metric to its cells by seed, in plan order."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows and columns of a leaderboard, and the records that fill it."""

    keys: tuple[str, ...]
    roles: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: Sequence[Row]
    records: Mapping[str, Finished]
    """By cell; those that no row asks for are not read."""

    def measured(self, row: Row, metric: str) -> Measured:
        """The seeds of one metric in one row; empty where the plan has none."""
        get = self.records.get
        return [(seed, get(cell)) for seed, cell in row.cells.get(metric, {}).items()]


Found = Iterable[Record] | Mapping[str, Finished]
"""Records in any order, or what a table needs of them by cell, which takes a plan."""


def make_grid(plan: Mapping[str, Any], records: Found) -> Grid:
    """Rows of a plan; of an empty plan, of the records themselves."""
    known: Mapping[str, Finished]
    if isinstance(records, Mapping):
        known = records
    else:
        known = chosen_records = latest(records)
        plan = plan or plan_from(chosen_records.values())
    jobs: Sequence[Mapping[str, Any]] = plan["jobs"]
    chosen = known if known is records else {c: known[c] for job in jobs for c in job["cells"] if c in known}
    facts = _facts(jobs, chosen, (plan.get("leaderboard") or {}).get("rows") or ())
    keys = _keys(jobs, facts, (plan.get("leaderboard") or {}).get("rows"))
    rows, varied = _rows(jobs, facts, keys)
    metrics = dict.fromkeys(metric for job in jobs for metric in job["cells"].values())
    roles = tuple(dict.fromkeys(role for job in jobs for role in job["roles"]))
    shown = (*keys, VARIANT) if varied else keys
    return Grid(keys=shown, roles=roles, metrics=tuple(metrics), rows=rows, records=chosen)


def planned(plan: Mapping[str, Any]) -> set[str]:
    """Ids of the cells of a plan: a folder may hold far more records than its last plan asks for."""
    return {cell for job in plan["jobs"] for cell in job["cells"]}


def current(plan: Mapping[str, Any], records: Iterable[Record]) -> list[Record]:
    """The records that belong to a plan, one a cell, in plan order; of an empty plan, the latest of each kind."""
    known = latest(records)
    jobs = (plan or plan_from(known.values()))["jobs"]
    return [known[cell] for job in jobs for cell in job["cells"] if cell in known]


def latest(records: Iterable[Record]) -> dict[str, Record]:
    """One record a cell, whatever the order they come in: that of the latest run."""
    found: dict[str, Record] = {}
    for record in records:
        other = found.get(record.cell)
        if other is None or (other != record and _age(other) < _age(record)):
            found[record.cell] = record
    return found


def _age(record: Record) -> tuple[str, bool, str]:
    # Ids of runs start with the time. The rest only makes the choice the same on every machine.
    return record.run, record.status == "ok", canonical(record.to_json())


def plan_from(records: Iterable[Record]) -> dict[str, Any]:
    """A plan that asks for just what the records measured: of each role, parameter, metric and seed the latest."""
    newest: dict[tuple[str, str, int, str], Record] = {}
    for record in records:
        key = (canonical(record.roles), canonical(record.params.get("task", {})), record.seed, record.metric)
        if key not in newest or _age(newest[key]) < _age(record):
            newest[key] = record
    jobs: dict[tuple[str, str, int], dict[str, Any]] = {}
    for (roles, params, seed, metric), record in sorted(newest.items(), key=lambda item: item[0]):
        varying = dict(sorted(record.params.get("task", {}).items()))
        empty: dict[str, Any] = {"roles": dict(record.roles), "varying": varying, "seed": seed, "cells": {}}
        jobs.setdefault((roles, params, seed), empty)["cells"][record.cell] = metric
    last = max(newest.values(), key=_age, default=None)
    return {
        "suite": last.suite if last else "",
        "task": last.task if last else "",
        "jobs": list(jobs.values()),
    }


def words(value: JSON) -> str:
    """A parameter's value as a suite would write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(v, (int, float)) for v in value):
        return "-".join(map(canonical, value))
    return canonical(value)


def _facts(jobs: Sequence[Mapping[str, Any]], records: Mapping[str, Finished], wanted: Iterable[str]) -> list[dict[str, str]]:
    """Roles and task parameters of each job in words, the same keys for all jobs."""
    roles = dict.fromkeys(role for job in jobs for role in job["roles"])
    options = dict.fromkeys(name for job in jobs for name in job["varying"])
    options |= dict.fromkeys(name for name in wanted if name not in roles)
    base = _base(jobs, records, options)
    return [
        {role: job["roles"].get(role, "") for role in roles}
        | {name: words(job["varying"][name]) if name in job["varying"] else base.get(name, UNSET) for name in options}
        for job in jobs
    ]


def _base(jobs: Sequence[Mapping[str, Any]], records: Mapping[str, Finished], options: Iterable[str]) -> dict[str, str]:
    """What parameters are where a job does not set them: a suite has one value for that, and any record tells it."""
    base: dict[str, str] = {}
    open_ = set(options)
    for job in jobs:
        unset = open_.difference(job["varying"])
        record = next((records[c] for c in job["cells"] if c in records), None) if unset else None
        if record is not None:
            task = record.params.get("task", {})
            base |= {name: words(task[name]) for name in unset if name in task}
            open_ -= unset
    return base


def _keys(
    jobs: Sequence[Mapping[str, Any]], facts: Sequence[Mapping[str, str]], wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """The keys asked for, and every other one without which different jobs would share a row."""
    if not facts:
        return ()
    roles = dict.fromkeys(role for job in jobs for role in job["roles"])
    several = [name for name in facts[0] if name not in roles and len({f[name] for f in facts}) > 1]
    keys = [
        k for k in (wanted if wanted is not None else [*roles, *several]) if k in roles or any(f[k] != UNSET for f in facts)
    ]
    for name in facts[0]:
        if name not in keys:
            seen: dict[tuple[str, ...], str] = {}
            if any(seen.setdefault(tuple(f[k] for k in keys), f[name]) != f[name] for f in facts):
                keys.append(name)
    return tuple(keys)


def _rows(jobs: Sequence[Mapping[str, Any]], facts: Sequence[Mapping[str, str]], keys: Sequence[str]) -> tuple[list[Row], bool]:
    """Rows in plan order; jobs that have the same metric and seed but are not the same become variants of a row."""
    rows: dict[tuple[str, ...], list[Row]] = {}
    for job, fact in zip(jobs, facts, strict=True):
        key = tuple(fact[k] for k in keys)
        for cells in _layers(job["cells"]):
            variants = rows.setdefault(key, [])
            row = next((r for r in variants if not any(job["seed"] in r.cells.get(m, ()) for m in cells)), None)
            if row is None:
                row = Row(keys=key, facts=fact)
                variants.append(row)
            known, seed = row.cells, job["seed"]
            for metric, cell in cells.items():
                if metric in known:
                    known[metric][seed] = cell
                else:
                    known[metric] = {seed: cell}
    varied = any(len(variants) > 1 for variants in rows.values())
    for variants in rows.values() if varied else ():
        for number, row in enumerate(variants, 1):
            row.keys = (*row.keys, str(number))
    return [row for variants in rows.values() for row in variants], varied


def _layers(cells: Mapping[str, str]) -> list[dict[str, str]]:
    """Cells by metric; where two metrics of a job have the same label, the second goes into a layer of its own."""
    first = {metric: cell for cell, metric in cells.items()}
    if len(first) == len(cells):
        return [first]
    layers: list[dict[str, str]] = []
    for cell, metric in cells.items():
        layer = next((known for known in layers if metric not in known), None)
        if layer is None:
            layer = {}
            layers.append(layer)
        layer[metric] = cell
    return layers
