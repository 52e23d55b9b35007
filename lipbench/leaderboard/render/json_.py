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
            {"name": name, "direction": column.direction, "unit": visible(column.unit)}
            for name, column in zip(names, table.columns, strict=True)
        ],
        "rows": [{name: _entry(entry) for name, entry in zip(names, row, strict=True)} for row in table.rows],
        "notes": [visible(note) for note in table.notes],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    # JSON has no infinity; the text still says it.
    value = entry.value if entry.value is None or math.isfinite(entry.value) else None
    return {"text": visible(entry.text), "value": value, "best": entry.best, "struck": entry.struck, "note": entry.note}
