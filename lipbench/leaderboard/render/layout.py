# SPDX-License-Identifier: Apache-2.0
"""How a table is cut and turned so that it can be read at a given width; knows text only, no terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rich.cells import cell_len, chop_cells

GAP = 2
"""Columns of the screen between two columns of a table."""
_NARROW = 14
"""Headers break beyond this, or beyond the widest value."""
_LIMITS = (34, 26, 20, 16)
"""Words in cells break beyond the first of these with which the table fits; where none does, the first."""
_WORD = re.compile(r"\S*\s?")
_BREAK = re.compile(r"[^\s_(,=/·-]*[\s_(,=/·-]?")
"""Up to where a word that is too long may be broken: after an underscore, a bracket, ..."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """The text of one place with its looks."""

    text: str
    best: bool = False
    second: bool = False
    struck: bool = False


@dataclass(frozen=True, kw_only=True)
class Block:
    """A column of a piece: header and fields."""

    header: str
    fields: Sequence[Field]
    right: bool = False
    key: bool = False
    """Belongs to the name of the row: repeated in every piece."""

    def broken(self, limit: int) -> Block:
        """With lines broken where they are too long; numbers never are."""
        fields = self.fields if self.right else [replace(f, text=wrap(f.text, limit)) for f in self.fields]
        values = max((_widest(f.text) for f in fields), default=0)
        return replace(self, header=wrap(self.header, max(values, _NARROW)), fields=fields)

    @cached_property
    def width(self) -> int:
        """Cells that it takes."""
        return max([_widest(self.header), *(_widest(f.text) for f in self.fields)])


Piece = list[Block]


def wrap(text: str, limit: int) -> str:
    r"""Break a text into lines of at most so many cells, after a space or a sign where there is one.

    >>> wrap("gradient_ascent(restarts=64)", 14)
    'gradient_\nascent(\nrestarts=64)'
    """
    lines: list[str] = []
    for given in text.split("\n"):
        line = ""
        for part in _parts(given, limit):
            if line and cell_len((line + part).rstrip()) > limit:
                lines.append(line.rstrip())
                line = ""
            line += part
        lines.append(line.rstrip())
    return "\n".join(lines)


def _parts(text: str, limit: int) -> Iterator[str]:
    words = _WORD.findall(text)
    for part in (p for w in words for p in ([w] if cell_len(w.rstrip()) <= limit else _BREAK.findall(w))):
        yield from chop_cells(part, limit) if cell_len(part) > limit else [part]


def _widest(text: str) -> int:
    return max(cell_len(line) for line in text.split("\n"))


def total_width(piece: Sequence[Block]) -> int:
    """Cells that a piece takes."""
    return sum(block.width + GAP for block in piece)


def arrange(blocks: Sequence[Block], width: int) -> tuple[list[Piece], dict[str, str]]:
    """Pieces that fit into a width, and the keys that were taken out because they are the same in all rows.

    A table that is too wide is cut between its columns, with the names of the rows repeated, or turned so that its columns
    become rows, whichever takes fewer pieces.
    """
    for limit in _LIMITS:
        piece = [block.broken(limit) for block in blocks]
        if total_width(piece) <= width:
            return [piece], {}
    blocks, constant = _without_constants(blocks)
    cut, turned = (_cut([block.broken(_LIMITS[0]) for block in way], width) for way in (blocks, _turned(blocks)))
    fits = all(total_width(piece) <= width for piece in turned)
    return (turned if fits and len(turned) < len(cut) else cut), constant


def _without_constants(blocks: Sequence[Block]) -> tuple[list[Block], dict[str, str]]:
    constant = [b for b in blocks if b.key and len(b.fields) > 1 and len({f.text for f in b.fields}) == 1]
    if len(constant) == sum(b.key for b in blocks):
        constant = constant[1:]
    return [b for b in blocks if b not in constant], {b.header: b.fields[0].text for b in constant}


def _cut(blocks: Sequence[Block], width: int) -> list[Piece]:
    """As many columns in each piece as fit beside the keys; at least one."""
    keys = [b for b in blocks if b.key]
    start = total_width(keys)
    pieces: list[Piece] = [list(keys)]
    used = start
    for block in blocks:
        if block.key:
            continue
        if used + block.width + GAP > width and len(pieces[-1]) > len(keys):
            pieces.append(list(keys))
            used = start
        pieces[-1].append(block)
        used += block.width + GAP
    return pieces


def _turned(blocks: Sequence[Block]) -> list[Block]:
    """Columns become rows; the keys stand above each other in the headers."""
    keys, values = [b for b in blocks if b.key], [b for b in blocks if not b.key]
    if not values:
        return list(blocks)
    rows = [[b.fields[r] for b in values] for r in range(len(values[0].fields))]
    headers = _stacked(keys, [max(_NARROW, *(_widest(f.text) for f in row)) for row in rows])
    names = Block(header=headers[0], fields=[Field(text=b.header) for b in values], key=True)
    return [names, *(Block(header=h, fields=row, right=True) for h, row in zip(headers[1:], rows, strict=True))]


def _stacked(keys: Sequence[Block], limits: Sequence[int]) -> list[str]:
    """The keys of each row above each other, every key at the same height in all of them; their names first."""
    columns = [""] * (len(limits) + 1)
    for key in keys:
        parts = [key.header, *(wrap(f.text, limit) for f, limit in zip(key.fields, limits, strict=True))]
        height = max(part.count("\n") for part in parts)
        columns = [f"{c}\n{part}" + "\n" * (height - part.count("\n")) for c, part in zip(columns, parts, strict=True)]
    return [c.removeprefix("\n") for c in columns]
