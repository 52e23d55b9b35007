# SPDX-License-Identifier: Apache-2.0
"""CSV that a spreadsheet opens without running anything.

Each table is a header and its rows; an empty line stands between tables. Every row starts with suite and table and ends with
the names of the columns that are best, that are struck through, with their notes and with their units.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from lipbench.contract.values import Entry, Table
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render.text import unique_names, visible
from lipbench.leaderboard.summary import ABSENT

_FORMULA = re.compile(r"^[=+\-@＝＋－＠]")  # noqa: RUF001  (spreadsheets in Japanese read the wide signs as well)
_NUMBER = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$", re.ASCII)


def render(boards: Sequence[Board]) -> str:
    """All tables of all boards."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, (board, table) in enumerate((b, t) for b in boards for t in b.tables):
        if number:
            out.write("\n")
        writer.writerows([escape(text) for text in row] for row in _rows(board, table))
    return out.getvalue()


def escape(text: str) -> str:
    """Text that no spreadsheet takes for a formula; plain numbers stay numbers."""
    clean = visible(text)  # a tab or a line break in front, which may start a formula too, is gone by now
    return f"'{clean}" if _FORMULA.match(clean) and not _NUMBER.match(clean) else clean


def _rows(board: Board, table: Table) -> Iterator[list[str]]:
    names = unique_names(table.columns)
    yield ["suite", "table", *names, "best", "struck", "notes", "unit"]
    unit = _units(table, names)
    for row in table.rows:
        marked = list(zip(names, row, strict=True))
        yield [
            board.suite,
            table.title,
            *(_text(entry) for entry in row),
            _join(name for name, entry in marked if entry.best),
            _join(name for name, entry in marked if entry.struck),
            _join(f"{name}: {table.notes[entry.note - 1]}" for name, entry in marked if entry.note is not None),
            unit,
        ]


def _text(entry: Entry) -> str:
    """What is not there is an empty field."""
    return "" if entry.text == ABSENT else entry.text


def _units(table: Table, names: Sequence[str]) -> str:
    units = {name: column.unit for name, column in zip(names, table.columns, strict=True) if column.unit}
    if len(set(units.values())) == 1:
        return next(iter(units.values()))
    return _join(f"{name}: {unit}" for name, unit in units.items())


def _join(texts: Iterable[str]) -> str:
    return "; ".join(texts)
