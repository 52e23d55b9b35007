# SPDX-License-Identifier: Apache-2.0
"""Records of one suite from several folders as one file: an index in memory, the lines stay on the disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lipbench.results.lines import read_line
from lipbench.results.store import RECORDS, age, checked_lines

Keep = Literal["newest", "first"]
_MEASURED = ("value", "unit", "direction", "interval", "group", "unranked")
"""What two good records of one cell must agree on; extras may hold what no claim rests on, such as how it was found."""

Place = tuple[str, int, int, int]
"""Run, number of the source, where the line starts, its length."""


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """One cell with two values."""

    suite: str
    cell: str
    sides: tuple[tuple[Path, dict[str, Any]], tuple[Path, dict[str, Any]]]
    """Each with the folder that it is from and all fields of the record."""


class Joined:
    """The records of one suite from several folders. Use as a context manager: it holds the files open.

    Of one cell the best record counts: a good one before a failed one, then that of the latest run. Two good records that
    differ in what they measured are a conflict, decided by `keep`.

    Args:
        suite: Name of the suite.
        folders: Its folders.
        keep: Which record of a conflict counts: that of the latest run, or that of the folder named first.
    """

    def __init__(self, suite: str, folders: Sequence[Path], keep: Keep | None) -> None:
        self.suite, self.folders, self.keep = suite, folders, keep
        self.conflicts: list[Conflict] = []
        self.shared = 0
        """Cells that more than one folder has."""
        self._index: dict[str, Place] = {}

    def __len__(self) -> int:
        return len(self._index)

    def __enter__(self) -> Joined:
        """Read all folders.

        Raises:
            StoreError: A line is no record.
        """
        with ExitStack() as stack:
            paths = [folder / RECORDS for folder in self.folders]
            files = [stack.enter_context(path.open("rb")) if path.exists() else None for path in paths]
            self._files = [-1 if file is None else file.fileno() for file in files]
            both: set[str] = set()
            for number, folder in enumerate(self.folders):
                own: dict[str, Place] = {}
                for start, line, fields in checked_lines(folder):
                    place = sys.intern(fields.get("run", "")), number, start, len(line)
                    known = own.setdefault(fields["cell"], place)
                    if known != place and age(self._read(known)) < age(line):
                        own[fields["cell"]] = place
                both |= own.keys() & self._index.keys()
                for cell, place in own.items():
                    other = self._index.get(cell)
                    self._index[cell] = place if other is None else self._better(cell, other, place)
            self.shared = len(both)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._stack.close()

    def lines(self) -> Iterator[bytes]:
        """One line for each cell, in the order of their runs."""
        for cell in sorted(self._index, key=lambda cell: (self._index[cell][0], cell)):
            yield self._read(self._index[cell])

    def _read(self, place: Place) -> bytes:
        _, number, start, length = place
        return os.pread(self._files[number], length, start)

    def _better(self, cell: str, one: Place, other: Place) -> Place:
        lines = [self._read(one), self._read(other)]
        if lines[0] == lines[1]:
            return one
        records = [read_line(line) for line in lines]
        if all(r["status"] == "ok" for r in records) and any(records[0].get(k) != records[1].get(k) for k in _MEASURED):
            left, right = ((self.folders[p[1]], r) for p, r in zip((one, other), records, strict=True))
            self.conflicts.append(Conflict(suite=self.suite, cell=cell, sides=(left, right)))
            if self.keep == "first":
                return one
        ranks = [(r["status"] == "ok", p[0], line) for p, r, line in zip((one, other), records, lines, strict=True)]
        return one if ranks[0] >= ranks[1] else other
