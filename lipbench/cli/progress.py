# SPDX-License-Identifier: Apache-2.0
"""What a run shows while it runs: a live view on a terminal, plain lines otherwise."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lipbench.cli.estimate import Estimate, span
from lipbench.contract.execution import Event, Work
from lipbench.contract.runs import Run, RunEnd
from lipbench.contract.values import Record
from lipbench.execution.watch import Watcher, say

QUIET_S, QUIETEST_S = 1.0, 60.0
"""Plain lines come at most once in a thirtieth of the time that the run has taken, within these bounds."""
SILENCE_S = 300.0
"""After so long without a line one says what still runs; services for tests end what is silent."""


@dataclass
class _Running:
    title: str
    device: str
    start: float = field(default_factory=time.monotonic)
    note: str = ""

    def words(self) -> str:
        return self.title + (f": {self.note}" if self.note else "")


class Progress(Watcher):
    """Shows a run on stderr. Nothing is shown before a run starts: one that has nothing to do stays silent."""

    def __init__(self) -> None:
        self._live: Any = None

    def run_started(self, run: Run, works: Sequence[Work], past: Mapping[str, float]) -> None:
        """Begin to show it."""
        self.run, self.works = run, len(works)
        self.start = self._last = time.monotonic()
        self.estimate = Estimate(works, past)
        self.cells = self.failed = self.ended = 0
        self.running: dict[str, _Running] = {}
        self._over = threading.Event()
        if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
            from lipbench.cli.live import show

            self._live = show(self)
        else:
            threading.Thread(target=self._break_silence, name="plain progress", daemon=True).start()

    def happened(self, event: Event) -> None:
        """Take note of an event."""
        work = event.work
        if event.kind == "started":
            self.running[work.id] = _Running(work.title, str(event.data.get("device", "")))
        elif event.kind == "note" and work.id in self.running:
            self.running[work.id].note = event.data["text"]
        elif event.kind in ("finished", "failed"):
            before = self.running.pop(work.id, None)
            self.ended += 1
            self.estimate.work(work, time.monotonic() - before.start if before else None)
            if self._live is None:
                self._line(event)

    def record_written(self, run: Run, record: Record) -> None:
        """Count a cell."""
        self.cells += 1
        self.failed += record.status != "ok"
        self.estimate.cell(record)

    def run_finished(self, run: Run, end: RunEnd) -> None:
        """Leave the terminal as it was."""
        self._over.set()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def state(self) -> str:
        """How far it is, how long it took and how long it may take."""
        elapsed = time.monotonic() - self.start
        failed = f", {self.failed} failed" if self.failed else ""
        left = self.estimate.words(elapsed, len(self.running))
        return f"{self.cells}/{self.run.cells} cells{failed}, {span(elapsed)}" + (f", {left}" if left else "")

    def waiting(self) -> int:
        """How many works have not begun."""
        return self.works - self.ended - len(self.running)

    def _line(self, event: Event) -> None:
        now = time.monotonic()
        pause = min(QUIETEST_S, max(QUIET_S, (now - self.start) / 30))
        if event.kind == "failed":
            self._say(f"FAILED {event.work.title}")
        elif now - self._last >= pause or self.cells == self.run.cells:
            self._say(event.work.title)

    def _break_silence(self) -> None:
        while not self._over.wait(min(SILENCE_S, 10.0)):
            if time.monotonic() - self._last >= SILENCE_S and self.running:
                longest = min(list(self.running.values()), key=lambda r: r.start)
                for_ = span(time.monotonic() - longest.start)
                self._say(f"{len(self.running)} running, for {for_} {longest.words()}")

    def _say(self, words: str) -> None:
        self._last = time.monotonic()
        say(f"[{self.run.suite}: {self.state()}] {words}")
