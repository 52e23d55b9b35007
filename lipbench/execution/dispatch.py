# SPDX-License-Identifier: Apache-2.0
"""What becomes of works: which is next, what a message of a worker means, what is tried again and what has failed.

All executors share it; where and how a work runs is theirs. Like the schedule it knows no process, and time only as a number.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lipbench.contract.execution import Emit, Event, Work
from lipbench.execution.schedule import Schedule, Shape

Hint = Literal["later", "smaller"]
"""What a fault says of another try: `later` where it may pass, `smaller` where half the batch may fit into memory."""

BACKOFF_S = 2.0
"""Seconds before the first new try; each further one waits four times as long."""

LONGEST_BACKOFF_S = 300.0
"""But no longer than this."""

SMALLEST_BATCH = 1 / 64
"""A batch is not halved below this share."""


@dataclass(kw_only=True)
class _Attempt:
    """A work that runs."""

    work: Work
    device: str
    left: set[str]
    """Cells that it has not answered."""
    begun: bool = False
    """Its worker has said so."""
    cell: str | None = None
    """The cell that it is at; None before the first and between two."""
    fault: dict[str, Any] | None = None
    again: dict[float, list[str]] = field(default_factory=dict)
    """Cells to try again, by the share of their batch."""
    delay: float = 0.0


class Dispatch:
    """The books of one `Executor.execute`.

    Args:
        works: What the executor was given.
        emit: Takes the events.
        slots: How many works run at once.
        retries: How often something is tried again after a fault that may pass.
        clock: Seconds, for the time between tries.
    """

    def __init__(
        self, works: Sequence[Work], emit: Emit, *, slots: int, retries: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._schedule, self._emit, self._retries, self._clock = Schedule(works, slots), emit, retries, clock
        self._running: dict[str, _Attempt] = {}
        self._later: list[tuple[float, int, Work]] = []
        self._tries: dict[tuple[str, str], int] = {}
        self._split = 0

    @property
    def open(self) -> bool:
        """True while anything waits or runs."""
        return bool(self._running or self._later or self._schedule.waiting)

    @property
    def waiting(self) -> int:
        """Number of works that have not begun, those that are tried again later included."""
        return len(self._schedule.waiting) + len(self._later)

    def wait(self) -> float | None:
        """Seconds until something that is tried again is due; None where nothing is."""
        return max(0.0, self._later[0][0] - self._clock()) if self._later else None

    def take(self, accept: Callable[[Shape], bool], warm: Collection[str] = ()) -> Work | None:
        """The next work that waits for nothing and has a place; see `Schedule.take`. Then call `begin`."""
        while self._later and self._later[0][0] <= self._clock():
            self._schedule.put_back(heapq.heappop(self._later)[2])
        return self._schedule.take(accept, warm)

    def give_back(self, work: Work) -> None:
        """A work was taken but has not begun; it waits again."""
        self._schedule.put_back(work)

    def begin(self, work: Work, device: str) -> None:
        """A work has been given to a worker on this device, as records name it."""
        self._running[work.id] = _Attempt(work=work, device=device, left=set(work.cells))
        self._emit(Event(kind="started", work=work, data={"device": device}))

    def message(self, message: Mapping[str, Any]) -> bool:
        """Take what `Worker.do` sent; True where the work has ended. What belongs to no running work is ignored."""
        attempt = self._running.get(message["work"])
        if attempt is None:
            return False
        data = {k: v for k, v in message.items() if k not in ("say", "work")}
        match message["say"]:
            case "begin":
                attempt.cell, attempt.begun = data["cell"], True
            case "note":
                self._emit(Event(kind="note", work=attempt.work, data=data))
            case "cell":
                self._answer(attempt, data)
            case "failed":
                attempt.fault = data
            case "done":
                self._done(attempt, spent=bool(data.get("spent")))
                return True
        return False

    def lost(self, work: str, status: str, error: Mapping[str, str], again: Hint | None = None) -> None:
        """The worker of this work is gone: the cell that it was at pays, or is tried again; the rest runs again elsewhere."""
        attempt = self._running.pop(work)
        if attempt.cell is None:
            self._whole(attempt, status, error, again)
            return
        cell = attempt.cell
        self._answer(attempt, {"cell": cell, "status": status, "error": error, "cost": {}, "again": again})
        self._rest(attempt, attempt.left)

    def _answer(self, attempt: _Attempt, data: dict[str, Any]) -> None:
        """A cell is done, or will be tried again."""
        cell, again = data["cell"], data.pop("again", None)
        attempt.cell = None
        attempt.left.discard(cell)
        scale = self._verdict(attempt, cell, again, data.get("error") or {})
        if scale is not None:
            attempt.again.setdefault(scale, []).append(cell)
            return
        tries = self._tries.get((_job(attempt.work), cell), 0)
        cost = {**data["cost"], **({"retries": tries} if tries else {})}
        self._emit(Event(kind="cell", work=attempt.work, data={**data, "cost": cost, "device": attempt.device}))

    def _verdict(self, attempt: _Attempt, cell: str, again: Hint | None, error: Mapping[str, str]) -> float | None:
        """The share of the batch with which it is tried again; None where it is not."""
        scale, delay = attempt.work.batch_scale, 0.0
        key = (_job(attempt.work), cell)
        tries = self._tries.get(key, 0)
        if again == "smaller" and scale > SMALLEST_BATCH:
            scale /= 2
        elif again == "later" and tries < self._retries:
            delay = min(BACKOFF_S * 4.0**tries, LONGEST_BACKOFF_S)
        else:
            return None
        self._tries[key] = tries + 1
        attempt.delay = max(attempt.delay, delay)
        data = {"cell": cell, "error": dict(error), "seconds": delay, "batch_scale": scale}
        self._emit(Event(kind="again", work=attempt.work, data=data))
        return scale

    def _done(self, attempt: _Attempt, *, spent: bool) -> None:
        del self._running[attempt.work.id]
        if attempt.fault is not None:
            self._whole(attempt, "failed", attempt.fault["error"], attempt.fault.get("again"))
        elif attempt.left and spent and len(attempt.left) < len(attempt.work.cells):
            self._rest(attempt, attempt.left)
        elif attempt.left:
            self._whole(attempt, "failed", {"class": "crash", "message": "the worker ended the job before all its cells"}, None)
        else:
            self._rest(attempt, set())

    def _whole(self, attempt: _Attempt, status: str, error: Mapping[str, str], again: Hint | None) -> None:
        """A fault before or between cells: all that is left pays, or is tried again."""
        work = attempt.work
        # Workers that were killed before they began say nothing of the work: their number is counted apart.
        scale = self._verdict(attempt, "" if attempt.begun else "start", again, error)
        if scale is not None:
            left = work if not work.cells else work.only(attempt.left)
            self._queue(replace(left, batch_scale=scale), attempt.delay)
            self._rest(attempt, set(), more=True)
            return
        data = {"status": status, "error": error, "device": attempt.device}
        self._emit(Event(kind="failed", work=work.only(attempt.left) if work.cells else work, data=data))
        if not work.cells:
            reason = {"class": error["class"], "message": f"{work.title} failed: {error['message']}"}
            for lost in self._schedule.unmade(work.id):
                self._emit(Event(kind="failed", work=lost, data={**data, "status": "failed", "error": reason}))
        self._rest(attempt, set(), more=True)

    def _rest(self, attempt: _Attempt, left: set[str], *, more: bool = False) -> None:
        """Queue what is left of a work, and what of it is tried again as works of their own."""
        work = attempt.work
        if left:
            self._queue(work.only(left), 0.0)
            self._emit(Event(kind="waits", work=work.only(left)))
        for scale, cells in attempt.again.items():
            self._split += 1
            # A name of its own, because another part of the job may run meanwhile.
            part = replace(work.only(cells), id=f"{_job(work)}.{self._split}", batch_scale=scale)
            self._queue(part, attempt.delay)
        if not (left or more):
            self._schedule.made(work.id)
            self._emit(Event(kind="finished", work=work))

    def _queue(self, work: Work, delay: float) -> None:
        if delay:
            self._split += 1
            heapq.heappush(self._later, (self._clock() + delay, self._split, work))
        else:
            self._schedule.put_back(work)


def _job(work: Work) -> str:
    """Id of the fit, step or job, whichever part of it this is."""
    return work.id.partition(".")[0]
