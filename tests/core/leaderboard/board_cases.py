# SPDX-License-Identifier: Apache-2.0
"""Plans and records made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lipbench.contract.values import Column, Entry, Record, Table


def record(cell: str, metric: str = "steepness", value: float | None = 1.0, **changes: Any) -> Record:
    """A good record; whatever is named is otherwise."""
    roles = changes.pop("roles", {"network": "mlp", "data": "digits"})
    task = changes.pop("task_params", {})
    facts: dict[str, Any] = {
        "cell": cell,
        "suite": "hills",
        "task": "climb",
        "roles": roles,
        "params": {"task": task, "metric": {}},
        "seed": 0,
        "metric": metric,
        "uses": {"task": "climb", "metric": metric, **roles},
        "code": {},
        "data": {},
        "status": "ok",
        "value": value,
        "direction": "higher",
        "group": "lower",
        "run": "20260101-000000-aaaaaa",
    }
    return Record(**(facts | changes))


def failed(cell: str, metric: str = "steepness", kind: str = "crash", message: str = "it fell", **changes: Any) -> Record:
    error = {"class": kind, "message": message}
    return record(cell, metric, None, status="timeout" if kind == "timeout" else "failed", error=error, **changes)


def job(cells: Mapping[str, str], seed: int = 0, network: str = "mlp", data: str = "digits", **varying: Any) -> dict[str, Any]:
    return {"roles": {"network": network, "data": data}, "varying": varying, "seed": seed, "cells": dict(cells)}


def plan(*jobs: Mapping[str, Any], reference: Any = None, **leaderboard: Any) -> dict[str, Any]:
    return {
        "suite": "hills",
        "title": "How steep?",
        "description": "",
        "citation": "",
        "profile": None,
        "task": "climb",
        "leaderboard": {"rows": None, "columns": "metrics", "rank": "row", "digits": 4} | leaderboard,
        "reference": reference,
        "jobs": list(jobs),
    }


def at(table: Table, row: int, column: str) -> Entry:
    names = [c.name for c in table.columns]
    return table.rows[row][names.index(column)]


def note(table: Table, entry: Entry) -> str:
    return "" if entry.note is None else table.notes[entry.note - 1]


def texts(table: Table, column: str) -> list[str]:
    return [at(table, r, column).text for r in range(len(table.rows))]


def table_of(text: str, *, header: str = "name", notes: Sequence[str] = (), **looks: Any) -> Table:
    """One row with one text and one number."""
    entry = Entry(text=text, note=1 if notes else None, **looks)
    return Table(
        title="T",
        columns=[Column(name=header), Column(name="n", direction="lower")],
        rows=[[entry, Entry(text="-1.5", value=-1.5)]],
        notes=notes,
    )
