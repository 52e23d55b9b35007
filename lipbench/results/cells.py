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


class _Cell(msgspec.Struct, gc=False):
    """Fields as in `Record`; `params` and `uses` become mappings right after they were read."""

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
    run: str = ""

    def age(self) -> tuple[str, bool, bytes]:
        """As that of a line: what a later record of a cell has more of."""
        return self.run, self.status == "ok", msgspec.json.encode(self)


def read_cells(folder: Path, wanted: Container[str]) -> dict[str, Any]:
    """Cells of a suite's folder by id, each as the record of the latest run has it: objects with the fields of a `Record` that tables read.

    Raises:
        StoreError: As `read_records`.
    """
    read = _reader()
    found: dict[str, Any] = {}
    for cell in each_line(folder, lambda _, line: read(line)):
        if cell.cell in wanted:
            known = found.setdefault(cell.cell, cell)
            if known is not cell and known.age() < cell.age():
                found[cell.cell] = cell
    return found


def _reader() -> Callable[[bytes], Any]:
    """A function that reads a line; what many lines share is kept once."""
    decode = msgspec.json.Decoder(_Cell).decode
    known: dict[bytes, Any] = {}
    texts: dict[str, str] = {}

    def new(raw: bytes, of: type) -> Any:
        thing = msgspec.json.decode(raw)
        if not isinstance(thing, dict) or not all(isinstance(value, of) for value in thing.values()):
            raise ValueError
        known[raw] = thing
        return thing

    def read(line: bytes) -> Any:
        try:
            cell: Any = decode(line)
        except ValueError:  # among them lone surrogates, which a message may hold
            check_line(line)
            cell = msgspec.convert({**read_line(line), "params": msgspec.Raw(b"{}"), "uses": msgspec.Raw(b"{}")}, _Cell)
            cell.params, cell.uses = (read_line(line)[name] for name in ("params", "uses"))
            return cell
        # A view of the line would keep all of it.
        params, uses = bytes(cell.params), bytes(cell.uses)
        cell.params, cell.uses = known.get(params) or new(params, dict), known.get(uses) or new(uses, str)
        cell.unit, cell.group = texts.setdefault(cell.unit, cell.unit), texts.setdefault(cell.group, cell.group)
        cell.run = texts.setdefault(cell.run, cell.run)
        if cell.value is None and cell.status == "ok":
            raise ValueError("a good record has a value")
        return cell

    return read
