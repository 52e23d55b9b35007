# SPDX-License-Identifier: Apache-2.0
"""JSON for programs: numbers in full, marks and notes as fields."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from lipbench.contract.values import Entry, Table
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render.text import unique_names, visible


def render(boards: Sequence[Board]) -> str:
    """One board as an object, several as a list of such objects."""
    documents = [document(board) for board in boards]
    content = documents[0] if len(documents) == 1 else documents
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def document(board: Board) -> dict[str, Any]:
    """A board as JSON-able data."""
    return {
        "suite": visible(board.suite),
        "title": visible(board.title),
        "description": visible(board.description),
        "citation": visible(board.citation),
        "tables": [_table(table) for table in board.tables],
        "findings": [visible(f) for f in board.findings],
    }


def _table(table: Table) -> dict[str, Any]:
    names = unique_names(table.columns)
    return {
        "title": visible(table.title),
        "caption": visible(table.caption),
        "columns": [
            {"name": name, "direction": column.direction, "unit": visible(column.unit), "key": column.key}
            for name, column in zip(names, table.columns, strict=True)
        ],
        "rows": [{name: _entry(entry) for name, entry in zip(names, row, strict=True)} for row in table.rows],
        "notes": [visible(note) for note in table.notes],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    """Words alone have their text alone; what was measured has all that is known of it."""
    said = {"text": visible(entry.text), "value": _finite(entry.value)}
    said |= {"best": entry.best, "second": entry.second, "struck": entry.struck, "note": entry.note}
    if entry.seeds is None and entry.rank is None and entry.interval is None:
        return said
    interval, (have, asked) = entry.interval, entry.seeds or (None, None)
    return said | {
        "interval": interval
        and {
            "low": _finite(interval.low),
            "high": _finite(interval.high),
            "level": _finite(interval.level),
            "method": visible(interval.method),
        },
        "group": visible(entry.group),
        "rank": entry.rank,
        "effect": _finite(entry.effect),
        "seeds": have,
        "asked": asked,
        "status": entry.standing,
        "cells": list(entry.cells),
    }


def _finite(number: float | None) -> float | None:
    """JSON has no infinity; the text still says it."""
    return number if number is not None and math.isfinite(number) else None
