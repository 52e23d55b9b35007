# SPDX-License-Identifier: Apache-2.0
"""CSV that a spreadsheet opens without running anything.

Each table is a header and its rows; an empty line stands between tables. Every row starts with suite and table and ends with the
names of the columns that are of the first and of the second rank, that are struck through, with their notes and with their units. Behind
what was measured stand its interval, rank, effect size, seeds and status in columns of their own, where the table has any.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from lipbench.contract.values import Column, Entry, Table
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


Field = tuple[str, Callable[[Entry], str]]
"""What stands behind the name of a column in the header, and how it is read."""


def _rows(board: Board, table: Table) -> Iterator[list[str]]:
    names = unique_names(table.columns)
    fields = [_fields([row[i] for row in table.rows]) for i in range(len(names))]
    header = [Column(name=f"{name}{more}") for name, some in zip(names, fields, strict=True) for more, _ in some]
    yield ["suite", "table", *unique_names(header), "best", "second", "struck", "notes", "unit"]
    unit = _units(table, names)
    for row in table.rows:
        marked = list(zip(names, row, strict=True))
        yield [
            board.suite,
            table.title,
            *(read(entry) for entry, some in zip(row, fields, strict=True) for _, read in some),
            _join(name for name, entry in marked if entry.best),
            _join(name for name, entry in marked if entry.second),
            _join(name for name, entry in marked if entry.struck),
            _join(f"{name}: {table.notes[entry.note - 1]}" for name, entry in marked if entry.note is not None),
            unit,
        ]


def _fields(entries: Sequence[Entry]) -> list[Field]:
    """The columns that one column of the table takes: as many as there is something to say in."""
    fields: list[Field] = [("", _text)]
    if any(e.interval is not None for e in entries):
        fields += [
            (" low", lambda e: _number(e.interval.low if e.interval else None)),
            (" high", lambda e: _number(e.interval.high if e.interval else None)),
            (" level", lambda e: _number(e.interval.level if e.interval else None)),
            (" interval", lambda e: e.interval.method if e.interval else ""),
        ]
    if any(e.rank is not None for e in entries):
        fields += [(" rank", lambda e: _number(e.rank))]
    if any(e.effect is not None for e in entries):
        fields += [(" effect", lambda e: _number(e.effect))]
    if any(e.seeds is not None for e in entries):
        fields += [
            (" seeds", lambda e: _number(e.seeds[0] if e.seeds else None)),
            (" asked", lambda e: _number(e.seeds[1] if e.seeds else None)),
            (" status", lambda e: e.standing),
        ]
    return fields


def _text(entry: Entry) -> str:
    """What was measured in full; words and the numbers of plugins, who say more in their text, as they are."""
    if entry.value is not None and entry.standing:
        return _number(entry.value)
    return "" if entry.text == ABSENT or entry.standing in ("failed", "missing") else entry.text


def _number(number: float | None) -> str:
    """The shortest text that is this very number."""
    return "" if number is None or not math.isfinite(number) else repr(number)


def _units(table: Table, names: Sequence[str]) -> str:
    units = {name: column.unit for name, column in zip(names, table.columns, strict=True) if column.unit}
    if len(set(units.values())) == 1:
        return next(iter(units.values()))
    return _join(f"{name}: {unit}" for name, unit in units.items())


def _join(texts: Iterable[str]) -> str:
    return "; ".join(texts)
