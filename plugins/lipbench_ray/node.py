# SPDX-License-Identifier: Apache-2.0
"""On a machine of the cluster: works are done by the local executor, and told of as messages that `Dispatch` takes."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lipbench.api import Event, ExecutorSetup, LipbenchError, LocalExecutor, Work
from lipbench_ray.baggage import Baggage, unpack

Message = dict[str, Any]

LOG_BYTES = 2**20
"""Of a log no more than this comes back, from its end."""


@dataclass(frozen=True, kw_only=True)
class Trip:
    """Works that go to a machine together, to be done one after another."""

    name: str
    """Unique in all runs; log files are named after it."""
    works: tuple[Work, ...]
    artifacts: str
    """Folder or URL."""
    token: str | None
    """A file in the folder by which a machine knows that it sees the same one; None for a URL."""
    device: str
    retries: int


def travel(trip: Trip, baggage: Baggage) -> Iterator[list[Message]]:
    """Do the works; what happens is given as it happens.

    Args:
        trip: What to do.
        baggage: What it needs here.

    Yields:
        Messages for `Dispatch.message`, and some more: `started` with `device` before the first one of a work, `again` with
        what an event of that kind holds, and `log` with `name` and `tail` (bytes).

    Raises:
        LipbenchError: This machine cannot do them as it is set up.
    """
    machine = socket.gethostname()
    places = unpack(baggage, machine)
    if trip.token is not None and not Path(trip.artifacts, trip.token).is_file():
        raise LipbenchError(
            f"machine {machine} does not see the folder of artifacts {trip.artifacts} of the run; put it on a disk that "
            "all machines share, under the same path, or give --artifacts a URL"
        )
    logs = Path(tempfile.mkdtemp(prefix="lipbench-logs-"))
    said: queue.SimpleQueue[Message | BaseException | None] = queue.SimpleQueue()
    stopped = threading.Event()
    setup = ExecutorSetup(
        run=trip.name, artifacts=trip.artifacts, logs=logs, places=places, device=trip.device, workers=1,
        retries=trip.retries, stop=lambda: 2 * stopped.is_set(),
    )  # fmt: skip
    doing = threading.Thread(target=_do, args=(setup, trip.works, machine, said.put))
    doing.start()
    try:
        yield from _batches(said)
        yield [{"say": "log", "name": log.name, "tail": _tail(log)} for log in sorted(logs.iterdir())]
    finally:
        # Also where the run has cancelled us or is gone: what we have started ends with us.
        stopped.set()
        doing.join()
        shutil.rmtree(logs, ignore_errors=True)


def _do(
    setup: ExecutorSetup, works: Sequence[Work], machine: str, say: Callable[[Message | BaseException | None], None]
) -> None:
    try:
        interpreter = _Interpreter(works=works, machine=machine, say=say)
        LocalExecutor(setup).execute(works, interpreter.take)
        interpreter.end()
        say(None)
    except BaseException as error:
        say(error)


def _batches(said: queue.SimpleQueue[Message | BaseException | None]) -> Iterator[list[Message]]:
    """All that has been said since, as soon as there is something."""
    while True:
        batch: list[Message] = []
        item = _next(said)
        while isinstance(item, dict):
            batch.append(item)
            if said.empty():
                break
            item = _next(said)
        if batch:
            yield batch
        if isinstance(item, BaseException):
            raise item
        if item is None:
            return


def _next(said: queue.SimpleQueue[Message | BaseException | None]) -> Message | BaseException | None:
    while True:
        # Ray cancels by an exception that comes between two instructions of Python: a wait without end would never see it.
        with contextlib.suppress(queue.Empty):
            return said.get(timeout=0.2)


def _tail(log: Path) -> bytes:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_BYTES))
        return file.read()


@dataclass(kw_only=True)
class _Interpreter:
    """Turns the events of the local executor into messages about the works as the run knows them."""

    works: Sequence[Work]
    machine: str
    say: Callable[[Message], None]
    open: set[str] = field(default_factory=set)
    """Ids of what is not done."""
    begun: set[str] = field(default_factory=set)
    split: set[str] = field(default_factory=set)
    """Works of which something is tried again here, so that the end of one part is not the end."""

    def __post_init__(self) -> None:
        self.open = {name_there(work.id) for work in self.works}

    def take(self, event: Event) -> None:
        """Say what an event means."""
        work = name_there(event.work.id)
        match event.kind:
            case "started":
                if work not in self.begun:
                    self.begun.add(work)
                    self.say({"say": "started", "work": work, "device": f"{_device(event.data['device'])}@{self.machine}"})
            case "cell":
                self.say({"say": "cell", "work": work, **{k: v for k, v in event.data.items() if k != "device"}})
            case "note":
                self.say({"say": "note", "work": work, **event.data})
            case "again":
                self.split.add(work)
                self.say({"say": "again", "work": work, "data": dict(event.data)})
            case "failed":
                self._failed(work, event)
            case "finished":
                if work not in self.split:
                    self._done(work)

    def _failed(self, work: str, event: Event) -> None:
        if not event.work.cells:
            self.say({"say": "failed", "work": work, "error": dict(event.data["error"])})
        for cell in event.work.cells:
            told = {"status": event.data["status"], "error": dict(event.data["error"]), "cost": {}}
            self.say({"say": "cell", "work": work, "cell": cell, **told})

    def _done(self, work: str) -> None:
        self.open.discard(work)
        self.say({"say": "done", "work": work})

    def end(self) -> None:
        """The local executor has come to its end: what it has begun is done, one way or another."""
        for work in sorted(self.open):
            self._done(work)


def name_here(work: str) -> str:
    """Id of a work on its machine, where it may be divided in turn: the run has numbered the parts of a job after a dot."""
    return work.replace(".", "-")


def name_there(work: str) -> str:
    """Id in the run of a work, or of a part of one, on its machine."""
    return work.partition(".")[0].replace("-", ".")


def _device(device: str) -> str:
    """A GPU by its number on the machine, and not among those that Ray lets us see."""
    return f"cuda:{os.environ.get('CUDA_VISIBLE_DEVICES', '0')}" if device.startswith("cuda") else device
