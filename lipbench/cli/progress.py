# SPDX-License-Identifier: Apache-2.0
"""What a run shows while it runs: bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from lipbench.contract.execution import Event

QUIET_S = 1.0
"""Plain lines come at most this often, so that a log of 10,000 trivial cells stays readable."""


class Progress:
    """Watches a run; use as a context manager."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.start = time.monotonic()
        self._last = 0.0
        self._bar: Any = None
        self._running: dict[str, str] = {}

    def __enter__(self) -> Progress:
        """Nothing is drawn before the first event: a run that has nothing to do stays silent."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()

    def watch(self, event: Event, done: int, total: int) -> None:
        """Take note of an event."""
        if event.kind == "started":
            self._running[event.work.id] = event.work.title
        elif event.kind == "note":
            self._running[event.work.id] = f"{event.work.title}: {event.data['text']}"
        elif event.kind in ("finished", "failed"):
            self._running.pop(event.work.id, None)
        if sys.stderr.isatty():
            self._draw(done, total)
        elif event.kind in ("finished", "failed"):
            self._line(event, done, total)

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self._bar = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[now]}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task(self.suite, total=total, now="")
            self._bar.start()
        self._bar.update(0, completed=done, now=" | ".join(list(self._running.values())[:2])[:100])

    def _line(self, event: Event, done: int, total: int) -> None:
        now = time.monotonic()
        if event.kind == "finished" and now - self._last < QUIET_S and done < total:
            return
        self._last = now
        word = "" if event.kind == "finished" else " FAILED"
        print(f"[{self.suite} {done}/{total} {now - self.start:.0f}s]{word} {event.work.title}", file=sys.stderr, flush=True)  # noqa: T201
