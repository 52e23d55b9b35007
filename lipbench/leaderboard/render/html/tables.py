# SPDX-License-Identifier: Apache-2.0
"""Tables as the page holds them: what each place shows, and which records are behind it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lipbench.contract.values import JSON, Column, Entry, Record, Table
from lipbench.leaderboard.grid import words
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render.html.records import rounded
from lipbench.leaderboard.render.text import numeric, own_unit, paragraphs, shared_unit, shown_unit, visible
from lipbench.leaderboard.table import main_table

BEST, SECOND, STRUCK = 1, 2, 4
"""Marks of a place, added up."""
_NO_ID = re.compile(r"[^a-z0-9]+")
_FEW = 8
"""A table of fewer rows may be filtered by what is different in all of them."""


def pack_tables(board: Board, plan: Mapping[str, Any], records: Sequence[Record]) -> list[dict[str, JSON]]:
    """All tables of a board; behind the first that knows its cells stands one of all that the suite leaves out of it."""
    packed, whole = [], _whole(plan, records)
    for table in board.tables:
        packed.append(pack_table(table, plan, records))
        if whole is not None and "cells" in packed[-1]:
            packed.append(pack_table(whole, plan, records) | {"title": "All values", "extra": True})
            whole = None
    return _named(packed)


def pack_table(table: Table, plan: Mapping[str, Any], records: Sequence[Record]) -> dict[str, JSON]:
    """One table, with what its rows can be filtered by, and the numbers of the records behind its places."""
    unit, numbers = shared_unit(table), numeric(table)
    # Plugins need not say which columns name the row; then it is those of words.
    told = any(column.key for column in table.columns)
    keys = [c.key if told else not is_number for c, is_number in zip(table.columns, numbers, strict=True)]
    known = {record.cell: number for number, record in enumerate(records)}
    cells = [[[known[cell] for cell in entry.cells if cell in known] for entry in row] for row in table.rows]
    packed: dict[str, JSON] = {
        "title": visible(table.title) or "Table",
        "unit": unit,
        "caption": paragraphs(table.caption),
        "columns": [
            _column(c, unit, is_number and not key) for c, is_number, key in zip(table.columns, numbers, keys, strict=True)
        ],
        # What names a row stands in front.
        "keys": keys.index(False) if False in keys else 1,
        "rows": [
            [_entry(entry, records[behind[0]] if len(behind) == 1 else None) for entry, behind in zip(*line, strict=True)]
            for line in zip(table.rows, cells, strict=True)
        ],
        "notes": [visible(note) for note in table.notes],
    }
    if not any(entry.cells for row in table.rows for entry in row):
        facts = {visible(c.name): [visible(row[i].text) for row in table.rows] for i, c in enumerate(table.columns) if keys[i]}
        return packed | {"facts": _useful(facts)}
    return packed | {"facts": _facts(table, plan, records), "cells": cells}


def _whole(plan: Mapping[str, Any], records: Sequence[Record]) -> Table | None:
    """The table without the choice of columns and blocks, without ranks, which other rivals would change; None where it is the same."""
    spec = plan.get("leaderboard") or {}
    if not (isinstance(spec.get("columns"), list) or spec.get("blocks")):
        return None
    return main_table({**plan, "leaderboard": {**spec, "columns": None, "blocks": None, "rank": "none"}}, records)


def _facts(table: Table, plan: Mapping[str, Any], records: Sequence[Record]) -> dict[str, list[str]]:
    """Every role and varying parameter of each row, whether a column shows it or not."""
    jobs = {cell: job for job in plan.get("jobs") or () for cell in job["cells"]}
    params = {record.cell: record.params.get("task", {}) for record in records}
    first = [next((cell for entry in row for cell in entry.cells if cell in jobs), "") for row in table.rows]
    names = dict.fromkeys(name for job in jobs.values() for part in ("roles", "varying") for name in job[part])
    return _useful({visible(name): [_fact(name, jobs.get(cell), params.get(cell, {})) for cell in first] for name in names})


def _fact(name: str, job: Mapping[str, Any] | None, params: Mapping[str, JSON]) -> str:
    said = {**params, **job["varying"], **job["roles"]} if job is not None else {}
    return visible(words(said[name])) if name in said else ""


def _useful(facts: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Those that tell some rows from others and are not different in all of them."""
    return {
        name: texts
        for name, texts in facts.items()
        if len(set(texts)) > 1 and (len(set(texts)) < len(texts) or len(texts) < _FEW)
    }


def _column(column: Column, shared: str, is_number: bool) -> dict[str, JSON]:
    return {
        "name": visible(column.name),
        "unit": own_unit(column, shared),
        "full_unit": shown_unit(column.unit),
        "direction": column.direction,
        "number": is_number,
    }


def _entry(entry: Entry, record: Record | None) -> JSON:
    """The text alone where there is no more to say; else text, value, marks, note and what else there is.

    Value and interval that are those of the only record are not written again: `true` stands for them.
    """
    same = record is not None and entry.value is not None and record.value == entry.value and _interval(entry) == _own(record)
    fields: list[JSON] = [
        visible(entry.text),
        True if same else _finite(entry.value),
        BEST * entry.best + SECOND * entry.second + STRUCK * entry.struck,
        entry.note,
        entry.rank,
        _finite(entry.effect),
        list(entry.seeds) if entry.seeds and max(entry.seeds) > 1 else None,
        *([] if same else _interval(entry)),
    ]
    while fields[-1] is None or (fields[-1] == 0 and len(fields) == 3):
        fields.pop()
    return fields[0] if len(fields) == 1 else fields


def _interval(entry: Entry) -> list[JSON]:
    if entry.interval is None:
        return [None, None, None, None]
    interval = entry.interval
    return [rounded(interval.low), rounded(interval.high), interval.level, visible(interval.method)]


def _own(record: Record) -> list[JSON]:
    """What the metric itself said of a record, in the form of `_interval`."""
    if not record.interval:
        return [None, None, None, None]
    said = record.interval
    return [rounded(said["low"]), rounded(said["high"]), said.get("level"), visible(str(said.get("method") or ""))]


def _finite(value: float | None) -> float | None:
    """JSON has no infinity; the text still says it."""
    return value if value is not None and math.isfinite(value) else None


def _named(tables: Sequence[dict[str, JSON]]) -> list[dict[str, JSON]]:
    """With an id each, made of the title, for links."""
    taken: set[str] = set()
    for table in tables:
        base = _NO_ID.sub("-", table["title"].lower()).strip("-") or "table"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name)
        table["id"] = name
    return list(tables)
