# SPDX-License-Identifier: Apache-2.0
"""Tables on a terminal: bold and strike where it has them, signs where it has not, never wider than it is."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from lipbench.contract.values import Entry, Table
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render.layout import Block, Field, Piece, arrange
from lipbench.leaderboard.render.text import ARROWS, numeric, own_unit, paragraphs, shared_unit, visible
from lipbench.leaderboard.summary import ABSENT

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

PLAIN_WIDTH = 100
"""Width where the output is no terminal."""
_ASCII = str.maketrans({"±": "+/-", "↑": "^", "↓": "v", "·": "-", "─": "-"})


def print_board(board: Board, out: TextIO | None = None) -> None:
    """Print a board to a stream, by default standard output."""
    from rich.console import Console

    console = Console(file=out, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if console.is_terminal:
        _print(board, console)
        return
    text = render([board])
    console.file.write(_to_ascii(text) if console.options.ascii_only else text)


def render(boards: Sequence[Board], width: int = PLAIN_WIDTH) -> str:
    """All boards as plain text: `*` after the best, `+` after the second, `~` around what is struck through."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=False,
        color_system=None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    for board in boards:
        _print(board, console)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _to_ascii(text: str) -> str:
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode()


class _Pen:
    """Makes text for one console."""

    def __init__(self, console: Console) -> None:
        self.marks = not console.is_terminal
        self.ascii = console.options.ascii_only
        self.width = console.width

    def text(self, content: str, style: str = "") -> Text:
        from rich.text import Text

        if self.ascii:
            content = _to_ascii(content)
        return Text(content, style=style)

    def field(self, entry: Entry) -> Field:
        text = visible(entry.text)
        if self.marks and text:
            text = f"~{text}~" if entry.struck else text
            text = f"{text}*" if entry.best else f"{text}+" if entry.second else text
        note = f" [{entry.note}]" if entry.note is not None else ""
        return Field(text=f"{text}{note}".strip(), best=entry.best, second=entry.second, struck=entry.struck)


def _print(board: Board, console: Console) -> None:
    pen = _Pen(console)
    console.print(pen.text(visible(board.title or board.suite), "bold"))
    for text in paragraphs(board.description):
        console.print(pen.text(text))
    if board.citation.strip():
        console.print(pen.text(f"Source: {visible(board.citation)}", "dim"))
    for table in board.tables:
        console.print()
        _print_table(table, console, pen)
    console.print()


def _print_table(table: Table, console: Console, pen: _Pen) -> None:
    pieces, constant = arrange(_blocks(table, pen), pen.width)
    console.print(pen.text(visible(table.title), "bold underline"))
    for line in _head(table, constant, pen):
        console.print(pen.text(line, "dim"))
    for number, piece in enumerate(pieces):
        if number:
            console.print()
        console.print(_drawn(piece, pen))
    for number, note in enumerate(table.notes, 1):
        console.print(pen.text(f"[{number}] {visible(note)}", "dim"))


def _head(table: Table, constant: dict[str, str], pen: _Pen) -> Iterator[str]:
    yield from paragraphs(table.caption)
    unit = shared_unit(table)
    if unit:
        yield f"Values in {unit}."
    if constant:
        yield " · ".join(f"{name}: {value}" for name, value in constant.items())
    entries = [entry for row in table.rows for entry in row] if pen.marks else []
    signs = ["* best"] if any(e.best for e in entries) else []
    signs += ["+ second"] if any(e.second for e in entries) else []
    signs += ["~x~ struck through"] if any(e.struck for e in entries) else []
    if signs:
        yield ", ".join(signs)


def _blocks(table: Table, pen: _Pen) -> list[Block]:
    unit = shared_unit(table)
    keys = _key_count(table)
    blocks = []
    for i, (column, right) in enumerate(zip(table.columns, numeric(table), strict=True)):
        own = own_unit(column, unit)
        words = [visible(column.name), ARROWS[column.direction], f"({own})" if own else ""]
        fields = [pen.field(row[i]) for row in table.rows]
        blocks.append(Block(header=" ".join(filter(None, words)), fields=fields, right=right, key=i < keys))
    return blocks


def _key_count(table: Table) -> int:
    """How many columns from the left name their row: words without marks, notes, unit or direction."""
    for i, column in enumerate(table.columns):
        if column.unit or column.direction != "none" or not all(_names_row(row[i]) for row in table.rows):
            return max(i, 1)
    return 1


def _names_row(entry: Entry) -> bool:
    return entry.value is None and entry.note is None and entry.text not in ("", ABSENT)


def _drawn(piece: Piece, pen: _Pen) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable

    drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="")
    for block in piece:
        drawn.add_column(
            pen.text(block.header, "bold" if block.key else ""), justify="right" if block.right else "left", overflow="fold"
        )
    for row in zip(*(block.fields for block in piece), strict=True):
        drawn.add_row(*(pen.text(f.text, _style(f)) for f in row))
    return drawn


def _style(shown: Field) -> str:
    marks = ["bold green"] if shown.best else ["underline"] if shown.second else []
    return " ".join([*marks, *(["strike dim"] if shown.struck else [])])
