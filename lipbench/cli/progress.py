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
        self.run, self._waiting = run, {work.id for work in works}
        self._parts: set[tuple[str, float]] = set()
        self.start = self._last = time.monotonic()
        self.estimate = Estimate(works, past)
        self.cells = self.failed = self.again = 0
        self.trouble = ""
        self.running: dict[str, _Running] = {}
        self._said_again = float("-inf")
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
            self._waiting.discard(work.id)
            self._parts.discard((work.id.partition(".")[0], work.batch_scale))
            self.running[work.id] = _Running(work.title, str(event.data.get("device", "")))
        elif event.kind == "note" and work.id in self.running:
            self.running[work.id].note = event.data["text"]
        elif event.kind == "waits":
            self._put_back(work)
        elif event.kind == "again":
            self._again(event)
        elif event.kind in ("finished", "failed"):
            before = self.running.pop(work.id, None)
            self._waiting.discard(work.id)
            if event.kind == "failed":
                self.trouble = f"failed: {work.title}: {_fault(event)}"
            self.estimate.work(work, time.monotonic() - before.start if before else None)
            if self._live is None:
                self._line(event)

    def record_written(self, run: Run, record: Record) -> None:
        """Count a cell."""
        self.cells += 1
        if record.status != "ok":
            self.failed += 1
            where = " · ".join([*record.roles.values(), f"seed {record.seed}", record.metric])
            error = record.error or {}
            self.trouble = f"{record.status}: {where}: {error.get('class')}: {error.get('message')}"
        self.estimate.cell(record)

    def run_finished(self, run: Run, end: RunEnd) -> None:
        """Leave the terminal as it was."""
        self._over.set()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def state(self) -> str:
        """How far it is, how long it took and how long it may take."""
        return f"{self.counts()}, {self.times()}"

    def counts(self) -> str:
        """How far it is."""
        failed = f", {self.failed} failed" if self.failed else ""
        again = f", {self.again} tried again" if self.again else ""
        return f"{self.cells}/{self.run.cells} cells{failed}{again}"

    def times(self) -> str:
        """How long it took and how long it may take."""
        elapsed = time.monotonic() - self.start
        left = self.estimate.words(elapsed, len(self.running))
        return span(elapsed) + (f", {left}" if left else "")

    def waiting(self) -> int:
        """How many works have not begun, and parts of works that are tried again."""
        return len(self._waiting) + len(self._parts)

    def _again(self, event: Event) -> None:
        """A cell is tried again in a work of its own, the others of its job go on; or a work as a whole."""
        work = event.work
        self.again += 1
        self.trouble = f"again {again_words(event)}: {work.title}: {_fault(event)}"
        if event.data["cell"] in work.cells:
            self._parts.add((work.id.partition(".")[0], event.data["batch_scale"]))
        else:
            self._put_back(work)
        if self._live is None and time.monotonic() - self._said_again >= self._pause():
            self._said_again = time.monotonic()
            self._say(f"AGAIN {again_words(event)}: {work.title}: {_fault(event)}")

    def _put_back(self, work: Work) -> None:
        self.running.pop(work.id, None)
        self._waiting.add(work.id)

    def _line(self, event: Event) -> None:
        if event.kind == "failed":
            self._say(f"FAILED {event.work.title}: {_fault(event)}")
        elif time.monotonic() - self._last >= self._pause() or self.cells == self.run.cells:
            self._say(event.work.title)

    def _pause(self) -> float:
        return min(QUIETEST_S, max(QUIET_S, (time.monotonic() - self.start) / 30))

    def _break_silence(self) -> None:
        while not self._over.wait(min(SILENCE_S, 10.0)):
            if time.monotonic() - self._last >= SILENCE_S and self.running:
                longest = min(list(self.running.values()), key=lambda r: r.start)
                for_ = span(time.monotonic() - longest.start)
                self._say(f"{len(self.running)} running, for {for_} {longest.words()}")

    def _say(self, words: str) -> None:
        self._last = time.monotonic()
        say(f"[{self.run.suite}: {self.state()}] {words}")


def again_words(event: Event) -> str:
    """How something is tried again: later, or with a smaller batch."""
    seconds, scale = event.data["seconds"], event.data["batch_scale"]
    return f"in {span(seconds)}" if seconds else f"with 1/{round(1 / scale)} of the batch"


def _fault(event: Event) -> str:
    error = event.data.get("error") or {}
    return f"{error.get('class', '?')}: {error.get('message', '?')}"
