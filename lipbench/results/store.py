# SPDX-License-Identifier: Apache-2.0
"""The records of one suite: append-only JSON lines, one writer, safe against a crash at any byte."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING
from pathlib import Path
from types import TracebackType
from typing import Any

from lipbench.contract.errors import StoreError
from lipbench.contract.values import Record, Status
from lipbench.files import sync_folder, write_atomic

RECORDS = "records.jsonl"
PLAN = "plan.json"


def read_records(folder: Path) -> Iterator[Record]:
    """Records of a suite's folder, the last one of each cell, in the order in which cells first appear.

    Raises:
        StoreError: A line before the last is no record, which no crash of ours can cause.
    """
    return (Record.from_json(raw) for raw in _latest(folder).values())


def read_statuses(folder: Path) -> dict[str, Status]:
    """Status of each recorded cell: all that a resuming run needs to know.

    Raises:
        StoreError: As `read_records`.
    """
    return {cell: raw["status"] for cell, raw in _latest(folder).items()}


def _latest(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / RECORDS
    latest: dict[str, dict[str, Any]] = {}
    if not path.exists():
        return latest
    content = path.read_bytes()
    # What follows the last newline is a line that a crash cut off: its cell runs again.
    whole = content[: content.rfind(b"\n") + 1]
    for number, line in enumerate(whole.splitlines(), 1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            known = raw.keys() >= _REQUIRED and _sound(raw)
        except (ValueError, AttributeError, TypeError, OverflowError):
            known = False
        if not known:
            raise StoreError(f"{path}:{number}: this line is no record; delete it and its cell runs again")
        latest[raw["cell"]] = raw
    return latest


def _sound(raw: Mapping[str, Any]) -> bool:
    """Whether the fields that readers compute with are of their types; an edited file may hold anything."""
    value, interval = raw.get("value"), raw.get("interval")
    texts = ("cell", "suite", "task", "metric", "status")
    return (
        all(isinstance(raw[name], str) for name in texts)
        and all(isinstance(raw[name], dict) for name in ("roles", "params", "uses", "code"))
        and raw["status"] in ("ok", "failed", "timeout")
        and isinstance(raw["seed"], int)
        and (value is None or math.isfinite(value))
        and (value is not None or raw["status"] != "ok")
        and (interval is None or math.isfinite(interval["low"] + interval["high"]))
        and all(isinstance(raw.get(name) or {}, dict) for name in ("extras", "cost", "error"))
    )


def _line(record: Record) -> bytes:
    """One line of JSON; a lone surrogate, as in a name that is no UTF-8, becomes its escape."""
    return json.dumps(record.to_json(), ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"


def _holder(file: Path) -> str:
    try:
        who = json.loads(file.read_text())
        return f"process {who['pid']} on {who['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it did not say who it is"


_REQUIRED = {f.name for f in dataclasses.fields(Record) if f.default is MISSING and f.default_factory is MISSING}


def read_plan(folder: Path) -> dict[str, Any]:
    """The resolved suite and the cells of its last run; empty where there was none.

    Raises:
        StoreError: The file is damaged.
    """
    path = folder / PLAN
    if not path.exists():
        return {}
    try:
        raw = json.loads(path.read_text())
    except ValueError as error:
        raise StoreError(f"{path}: this is no JSON; run the suite again to write it anew") from error
    return raw if isinstance(raw, dict) else {}


class Store:
    """The folder of one suite, held by one run at a time. Use as a context manager.

    Args:
        folder: `RESULTS/<suite>`; made where it is missing.
        on_held: Waits for another run that holds it: called with who that is, twice a second; what it raises ends the wait.

    Raises:
        StoreError: It cannot be written, or another run holds it and nobody waits (the message says who).
    """

    def __init__(self, folder: Path, on_held: Callable[[str], None] | None = None) -> None:
        self.folder, self._on_held = folder, on_held
        self.path = folder / RECORDS

    def __enter__(self) -> Store:
        """Take the lock and drop a torn last line."""
        from filelock import FileLock

        holder = self.folder / ".holder.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / ".lock")
            self._take_lock(holder)
            write_atomic(holder, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            self._repair()
            # Without a buffer, so that what could not be written is not tried once more on closing.
            self._out = self.path.open("ab", buffering=0)
            sync_folder(self.folder)
        except OSError as error:
            raise StoreError(
                f"{self.folder} cannot be written: {error.strerror}; choose another folder by --results"
            ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close and release."""
        self._out.close()
        (self.folder / ".holder.json").unlink(missing_ok=True)
        self._lock.release()

    def _take_lock(self, holder: Path) -> None:
        from filelock import Timeout

        while True:
            try:
                self._lock.acquire(timeout=0 if self._on_held is None else 0.5)
            except Timeout:
                if self._on_held is None:
                    raise StoreError(
                        f"{self.folder} is held by another run ({_holder(holder)}); wait for it by --wait, or choose --results"
                    ) from None
                self._on_held(_holder(holder))
            else:
                return

    def _repair(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb+") as file:
            content = file.read()
            if content and not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)

    def append(self, records: Iterable[Record]) -> None:
        """Write records and see them onto the disk.

        Raises:
            StoreError: The disk is full or gone; what was written before stays.
        """
        raw = b"".join(_line(r) for r in records)
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
