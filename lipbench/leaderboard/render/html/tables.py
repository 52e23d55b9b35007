# SPDX-License-Identifier: Apache-2.0
"""Tables as the page holds them: what each place shows, and which records are behind it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lipbench.contract.values import JSON, Column, Entry, Table
from lipbench.leaderboard.grid import Grid
from lipbench.leaderboard.page import Board, Source
from lipbench.leaderboard.render.text import numeric, own_unit, paragraphs, shared_unit, shown_unit, visible
from lipbench.leaderboard.table import main_table, shown_grid

BEST, STRUCK = 1, 4
"""Marks of a place, added up."""
_NO_ID = re.compile(r"[^a-z0-9]+")


def pack_tables(board: Board) -> list[dict[str, JSON]]:
    """All tables of a board; the one of all values knows its records, and has one beside it of what the suite leaves out."""
    source = board.source
    packed = []
    for number, table in enumerate(board.tables):
        if source is not None and number == source.main:
            packed.append(_with_records(table, source.plan, source))
            whole = _whole(source.plan)
            if whole is not None:
                everything = _with_records(main_table(whole, source.records), whole, source)
                packed.append(everything | {"title": "All values", "extra": True})
        else:
            packed.append(pack_table(table))
    return _named(packed)


def pack_table(table: Table) -> dict[str, JSON]:
    """One table, with what its rows can be filtered by: its columns of words."""
    unit, numbers = shared_unit(table), numeric(table)
    facts = {visible(c.name): [visible(row[i].text) for row in table.rows] for i, c in enumerate(table.columns) if not numbers[i]}
    return {
        "title": visible(table.title),
        "unit": unit,
        "caption": paragraphs(table.caption),
        "columns": [_column(c, unit, is_number) for c, is_number in zip(table.columns, numbers, strict=True)],
        "rows": [[_entry(entry) for entry in row] for row in table.rows],
        "notes": [visible(note) for note in table.notes],
        "facts": _useful(facts),
    }


def _with_records(table: Table, plan: Mapping[str, Any], source: Source) -> dict[str, JSON]:
    grid = shown_grid(plan, source.records)[0]
    numbers = {record.cell: number for number, record in enumerate(source.records)}
    return pack_table(table) | {"facts": _facts(grid), "cells": _cells(grid, numbers), "first": len(grid.keys)}


def _whole(plan: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The plan without the choice of columns and blocks, without ranks, which other rivals would change; None where it has none."""
    spec = plan.get("leaderboard") or {}
    if not isinstance(spec.get("columns"), list) and not spec.get("blocks"):
        return None
    return {**plan, "leaderboard": {**spec, "columns": None, "blocks": None, "rank": "none"}}


def _facts(grid: Grid) -> dict[str, list[str]]:
    """Every role and varying parameter of each row, whether a column shows it or not."""
    names = dict.fromkeys(name for row in grid.rows for name in row.facts)
    return _useful({visible(name): [visible(row.facts.get(name, "")) for row in grid.rows] for name in names})


def _useful(facts: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Those that tell some rows from others and are not different in all of them."""
    return {name: texts for name, texts in facts.items() if 1 < len(set(texts)) and (len(set(texts)) < len(texts) or len(texts) < 8)}


def _cells(grid: Grid, numbers: Mapping[str, int]) -> list[list[list[int]]]:
    """Row by row, the records of each metric's seeds."""
    return [
        [[numbers[cell] for cell in row.cells.get(metric, {}).values() if cell in numbers] for metric in grid.metrics]
        for row in grid.rows
    ]


def _column(column: Column, shared: str, is_number: bool) -> dict[str, JSON]:
    return {
        "name": visible(column.name),
        "unit": own_unit(column, shared),
        "full_unit": shown_unit(column.unit),
        "direction": column.direction,
        "number": is_number,
    }


def _entry(entry: Entry) -> JSON:
    """The text alone where there is no more to say; else text, value, marks, note and what else there is."""
    text = visible(entry.text)
    # JSON has no infinity; the text still says it.
    value = entry.value if entry.value is not None and math.isfinite(entry.value) else None
    marks = BEST * entry.best + STRUCK * entry.struck
    fields: list[JSON] = [text, value, marks, entry.note]
    while len(fields) > 1 and not fields[-1]:
        if fields[-1] == 0 and len(fields) == 2:  # a value of zero
            break
        fields.pop()
    return text if len(fields) == 1 else fields


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
