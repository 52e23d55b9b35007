# SPDX-License-Identifier: Apache-2.0
"""`--log-json`: what happens in a run as JSON, one event a line. The fields are documented in docs/watching.md."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from lipbench.contract.errors import UsageError
from lipbench.contract.execution import Event, Work
from lipbench.contract.runs import Run, RunEnd
from lipbench.contract.values import Record
from lipbench.execution.watch import Watcher

NOTES_S = 1.0
"""Of what a work says of itself a line is written at most this often; a fit may say something for each batch."""


class EventLog(Watcher):
    """Appends to a file, a line at a time; use as a context manager. A line that cannot be written ends the log, not the run.

    Args:
        path: The file; made where it is missing, continued where it is there.

    Raises:
        UsageError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._out: FileIO | None = path.open("ab", buffering=0)
        except OSError as error:
            raise UsageError(f"--log-json {path}: {error.strerror}; name a file that can be written") from error
        self._done = 0
        self._since: dict[str, float] = {}
        self._noted: dict[str, float] = {}

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._out is not None:
            self._out.close()

    def run_started(self, run: Run, works: Sequence[Work], past: Mapping[str, float]) -> None:
        """The first event."""
        self._run, self._done = run, 0
        self._write(
            "run_started", works=len(works), reused=run.reused, profile=run.profile, device=run.device, folder=str(run.folder)
        )

    def happened(self, event: Event) -> None:
        """Events of works; cells come with their records."""
        kind, work, data = event.kind, event.work, event.data
        now = time.monotonic()
        if kind == "started":
            self._since[work.id] = now
            self._write("work_started", work=work.id, title=work.title, cells=list(work.cells), device=data.get("device"))
        elif kind == "note" and now - self._noted.get(work.id, 0.0) >= NOTES_S:
            self._noted[work.id] = now
            self._write("note", work=work.id, text=data["text"])
        elif kind == "again":
            cell = data["cell"] if data["cell"] in work.cells else None
            told = {name: data[name] for name in ("error", "seconds", "batch_scale")}
            self._write("work_again", work=work.id, title=work.title, cell=cell, **told)
        elif kind in ("finished", "failed"):
            self._noted.pop(work.id, None)
            seconds = round(now - self._since.pop(work.id, now), 3)
            self._write(f"work_{kind}", work=work.id, title=work.title, seconds=seconds, error=data.get("error"))

    def record_written(self, run: Run, record: Record) -> None:
        """A cell."""
        self._done += 1
        names = ("cell", "task", "roles", "seed", "metric", "status", "value", "unit", "error", "cost", "device")
        self._write("record_written", **{name: getattr(record, name) for name in names})

    def run_finished(self, run: Run, end: RunEnd) -> None:
        """The last event."""
        self._write("run_finished", **vars(end))

    def _write(self, event: str, **fields: Any) -> None:
        if self._out is None:
            return
        head = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, "suite": self._run.suite,
            "run": self._run.id, "done": self._done, "total": self._run.cells,
        }  # fmt: skip
        try:
            self._out.write(json.dumps(head | fields).encode() + b"\n")
        except OSError as error:
            self._out.close()
            self._out = None
            print(f"--log-json {self.path}: {error.strerror}; the log ends here, the run goes on", file=sys.stderr)  # noqa: T201
