# SPDX-License-Identifier: Apache-2.0
"""What a table needs of a record, and no more: a million of them fit into memory and are read in seconds."""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, Literal

import msgspec

from lipbench.contract.values import Direction, Status
from lipbench.results.lines import check_line, read_line
from lipbench.results.store import each_line


class Ends(msgspec.Struct, gc=False):
    """An interval; read like the mapping that a record has."""

    low: float
    high: float
    level: Any = None
    method: Any = None

    def __getitem__(self, name: Literal["low", "high"]) -> float:
        """An end."""
        return getattr(self, name)

    def get(self, name: Literal["level", "method"]) -> Any:
        """Level or method."""
        return getattr(self, name)


class Cell(msgspec.Struct, gc=False):
    """A finished cell as a row of a table reads it; fields as in `Record`."""

    cell: str
    status: Status
    params: Any
    uses: Any
    value: float | None = None
    unit: str = "1"
    direction: Direction = "none"
    interval: Ends | None = None
    group: str = ""
    unranked: str | None = None
    error: dict[str, Any] | None = None


class _Line(msgspec.Struct, gc=False):
    cell: str
    status: Status
    params: msgspec.Raw
    uses: msgspec.Raw
    value: float | None = None
    unit: str = "1"
    direction: Direction = "none"
    interval: Ends | None = None
    group: str = ""
    unranked: str | None = None
    error: dict[str, Any] | None = None


def read_cells(folder: Path, wanted: Container[str]) -> dict[str, Cell]:
    """Cells of a suite's folder by id, each as its last record has it.

    Raises:
        StoreError: As `read_records`.
    """
    read = _reader()
    found: dict[str, Cell] = {}
    for cell in each_line(folder, read):
        if cell.cell in wanted:
            found[cell.cell] = cell
    return found


def _reader() -> Callable[[bytes], Cell]:
    """A function that reads a line; what many lines share is kept once."""
    decode = msgspec.json.Decoder(_Line).decode
    known: dict[bytes, Any] = {}
    texts: dict[str, str] = {}

    def shared(raw: msgspec.Raw) -> Any:
        key = bytes(raw)
        thing = known.get(key)
        if thing is None:
            thing = known[key] = msgspec.json.decode(key)
            if not isinstance(thing, dict):
                raise ValueError
        return thing

    def read(line: bytes) -> Cell:
        try:
            found = decode(line)
            cell = Cell(
                found.cell,
                found.status,
                shared(found.params),
                shared(found.uses),
                found.value,
                texts.setdefault(found.unit, found.unit),
                found.direction,
                found.interval,
                texts.setdefault(found.group, found.group),
                found.unranked,
                found.error,
            )
        except ValueError:  # among them lone surrogates, which a message may hold
            check_line(line)
            raw = read_line(line)
            cell = msgspec.convert({name: raw[name] for name in Cell.__struct_fields__ if name in raw}, Cell)
        if cell.status == "ok" and cell.value is None:
            raise ValueError("a good record has a value")
        return cell

    return read
