# SPDX-License-Identifier: Apache-2.0
"""The records of one suite: append-only JSON lines, one writer, safe against a crash at any byte."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

from lipbench.contract.errors import StoreError, UsageError
from lipbench.contract.values import Record, Status
from lipbench.files import sync_folder, write_atomic
from lipbench.results.lines import check_line, read_line, write_line

T = TypeVar("T")
RECORDS = "records.jsonl"
PLAN = "plan.json"
LOCK, HOLDER = ".lock", ".holder.json"


@dataclass(frozen=True, kw_only=True)
class History:
    """What a resuming run needs to know of what is recorded."""

    statuses: Mapping[str, Status]
    """Cell to the status of its latest record."""
    seconds: Mapping[str, float]
    """Label of a metric to the mean seconds of its good cells."""


def read_history(folder: Path) -> History:
    """Statuses and costs of a suite's folder.

    Raises:
        StoreError: As `read_records`.
    """
    statuses: dict[str, Status] = {}
    runs: dict[str, str] = {}
    spent: dict[str, list[float]] = {}
    for _, _, fields in checked_lines(folder):
        cell, run, status = fields["cell"], sys.intern(fields.get("run", "")), fields["status"]
        if cell not in statuses or (runs[cell], statuses[cell] == "ok") <= (run, status == "ok"):
            statuses[cell], runs[cell] = status, run
        seconds = (fields.get("cost") or {}).get("seconds")
        if seconds is not None and fields["status"] == "ok":
            sums = spent.setdefault(fields["metric"], [0.0, 0])
            sums[0], sums[1] = sums[0] + seconds, sums[1] + 1
    return History(statuses=statuses, seconds={metric: total / count for metric, (total, count) in spent.items()})


def read_records(folder: Path, cells: Container[str] | None = None) -> Iterator[Record]:
    """Records of a suite's folder, of each cell that of the latest run, in the order in which cells first appear.

    Args:
        folder: Folder of one suite.
        cells: Ids of those that are wanted; None for all. All lines are checked, but only these are kept in memory.

    Raises:
        StoreError: A line before the last is no record, which no crash of ours can cause.
    """
    latest: dict[str, bytes] = {}
    for _, line, fields in checked_lines(folder):
        cell = fields["cell"]
        if (cells is None or cell in cells) and (cell not in latest or age(latest[cell]) < age(line)):
            latest[cell] = line
    return (Record.from_json(read_line(line)) for line in latest.values())


def age(line: bytes) -> tuple[str, bool, bytes]:
    """What a later record of a cell has more of: ids of runs start with the time, and no order of lines changes which it is."""
    fields = check_line(line)
    return fields.get("run", ""), fields["status"] == "ok", line


def checked_lines(folder: Path) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """Lines of a suite's folder: where each starts in the file, the line itself, and what `check_line` says of it.

    Raises:
        StoreError: As `read_records`.
    """
    return each_line(folder, lambda start, line: (start, line, check_line(line)))


def each_line(folder: Path, read: Callable[[int, bytes], T]) -> Iterator[T]:
    """What a function makes of each record of a suite's folder.

    Args:
        folder: Folder of one suite.
        read: Reads a line, given where it starts in the file; raises ValueError or RecursionError where it is no record.

    Raises:
        StoreError: A line before the last is no record.
    """
    path = folder / RECORDS
    if not path.exists():
        return
    start = 0
    with path.open("rb", buffering=1 << 20) as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # a crash cut it off: its cell runs again
            start += len(line)
            if line.isspace():
                continue
            try:
                made = read(start - len(line), line)
            except (ValueError, RecursionError):
                raise StoreError(f"{path}:{number}: this line is no record; delete it and its cell runs again") from None
            yield made


def holder_words(file: Path) -> str:
    """Who wrote a holder file."""
    try:
        who = json.loads(file.read_text())
        return f"process {who['pid']} on {who['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that did not say who it is"


def read_plan(folder: Path) -> dict[str, Any]:
    """The resolved suite and the cells of its last run; empty where there was none.

    Raises:
        StoreError: The file is damaged.
    """
    path = folder / PLAN
    if not path.exists():
        return {}
    try:
        raw = read_line(path.read_bytes())
    except ValueError as error:
        raise StoreError(f"{path}: this is no JSON; run the suite again to write it anew") from error
    return raw if isinstance(raw, dict) else {}


def _end_of_lines(file: BinaryIO, end: int) -> int:
    """Where the last whole line ends, looked for from the back: the file may be large."""
    while end > 0:
        start = max(0, end - (1 << 16))
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


class Store:
    """The folder of one suite, held by one run at a time. Use as a context manager.

    Args:
        folder: `RESULTS/<suite>`; made where it is missing.
        on_held: Waits for another run that holds it: called with who that is, twice a second; what it raises ends the wait.

    Raises:
        UsageError: It cannot be written.
        StoreError: Another run holds it and nobody waits (the message says who).
    """

    def __init__(self, folder: Path, on_held: Callable[[str], None] | None = None) -> None:
        self.folder, self._on_held = folder, on_held
        self.path = folder / RECORDS

    def __enter__(self) -> Store:
        """Take the lock and drop a torn last line."""
        from filelock import FileLock

        holder = self.folder / HOLDER
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / LOCK)
            self._take_lock(holder)
            write_atomic(holder, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            self._repair()
            # Without a buffer, so that what could not be written is not tried once more on closing.
            self._out = self.path.open("ab", buffering=0)
            sync_folder(self.folder)
        except OSError as error:
            raise UsageError(
                f"{self.folder} cannot be written: {error.strerror}; choose another folder by --results"
            ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close and release."""
        self._out.close()
        (self.folder / HOLDER).unlink(missing_ok=True)
        self._lock.release()

    def _take_lock(self, holder: Path) -> None:
        from filelock import Timeout

        while True:
            try:
                self._lock.acquire(timeout=0 if self._on_held is None else 0.5)
            except Timeout:
                if self._on_held is None:
                    raise StoreError(
                        f"{self.folder} is held by another run ({holder_words(holder)}); wait for it by --wait, or choose --results"
                    ) from None
                self._on_held(holder_words(holder))
            else:
                return

    def _repair(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            whole = _end_of_lines(file, end)
            if whole < end:
                file.truncate(whole)

    def append(self, records: Iterable[Record]) -> None:
        """Write records and see them onto the disk.

        Raises:
            StoreError: The disk is full or gone; what was written before stays.
        """
        raw = b"".join(map(write_line, records))
        if not raw:
            return
        before = os.fstat(self._out.fileno()).st_size
        try:
            left = memoryview(raw)
            while left:
                left = left[self._out.write(left) :]
            os.fsync(self._out.fileno())
        except OSError as error:
            # A line that is torn here would swallow the next one.
            with suppress(OSError):
                os.ftruncate(self._out.fileno(), before)
            raise StoreError(f"{self.path} cannot be written: {error.strerror}; free some space and run again") from error
