# SPDX-License-Identifier: Apache-2.0
"""Markdown as GitHub reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lipbench.contract.values import Column, Entry, Table
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render.text import ARROWS, numeric, own_unit, paragraphs, shared_unit, visible

_SIGNS = str.maketrans(
    {sign: f"\\{sign}" for sign in "\\`*_{}[]|~$#!"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"},
)
_BLOCK = re.compile(r"^(?:[-+=]|\d{1,9}(?=[.)]))")
"""What would make a list or a heading of a paragraph."""


def render(boards: Sequence[Board]) -> str:
    """All boards below each other."""
    return "\n".join("\n".join(_board(board)) for board in boards)


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return visible(text).translate(_SIGNS)


def _paragraph(text: str) -> str:
    escaped = escape(text)
    start = _BLOCK.match(escaped)
    if start is None:
        return escaped
    head = start.group()
    return f"{head}\\{escaped[len(head) :]}" if head[0].isdigit() else f"\\{escaped}"


def _board(board: Board) -> Iterator[str]:
    yield from (f"# {escape(board.title or board.suite)}", "")
    for text in paragraphs(board.description):
        yield from (_paragraph(text), "")
    if board.citation.strip():
        yield from (f"Source: {escape(board.citation)}", "")
    for table in board.tables:
        yield from _table(table)
    if board.findings:
        yield from ("## Contradictions", "", *(f"- {_paragraph(f)}" for f in board.findings), "")


def _table(table: Table) -> Iterator[str]:
    yield from (f"## {escape(table.title)}", "")
    unit = shared_unit(table)
    caption = " ".join([*([f"Values in {unit}."] if unit else []), *paragraphs(table.caption)])
    if caption:
        yield from (_paragraph(caption), "")
    yield _line([_header(column, unit) for column in table.columns])
    yield _line(["---:" if right else "---" for right in numeric(table)])
    for row in table.rows:
        yield _line([_entry(entry) for entry in row])
    yield ""
    if table.notes:
        yield from (*(f"{number}. {_paragraph(note)}" for number, note in enumerate(table.notes, 1)), "")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _header(column: Column, shared: str) -> str:
    unit = own_unit(column, shared)
    return " ".join(filter(None, [escape(column.name), ARROWS[column.direction], f"({escape(unit)})" if unit else ""]))


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if text and entry.struck:
        text = f"~~{text}~~"
    if text and entry.best:
        text = f"**{text}**"
    elif text and entry.second:
        text = f"<ins>{text}</ins>"  # GitHub takes <u> out
    return text if entry.note is None else f"{text}<sup>{entry.note}</sup>"
