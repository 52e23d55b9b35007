# SPDX-License-Identifier: Apache-2.0
"""The local executor: a fresh process a job from a server that has torch loaded, watched, timed out and killed whole."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from lipbench.contract.errors import LipbenchError
from lipbench.contract.execution import Emit, Event, Executor, ExecutorSetup, Work
from lipbench.execution.devices import device_class, slots
from lipbench.execution.work import Schedule

GRACE_S = 0.5
"""How long a finished worker may take to leave before its process group is killed."""

STARTUP_S = 120.0
"""How long a worker may take to import its plugins, on a busy machine, before its time limit begins."""


@dataclass(kw_only=True)
class _Worker:
    process: ForkServerProcess
    pipe: connection.Connection
    log: Path
    device: str
    cpus: int
    work: Work | None = None
    cell: str | None = None
    """The cell that it is at; None before the first."""
    left: set[str] = field(default_factory=set)
    """Cells of its work that it has not answered."""
    deadline: float = float("inf")
    broken: bool = False
    fault: dict[str, str] | None = None


class LocalExecutor(Executor):
    """Runs works on this machine: a process a job, or one for many jobs that may share it."""

    @classmethod
    def device_class(cls, device: str, address: str | None) -> str:
        """See `Executor`; there is no address here."""
        if address is not None:
            raise LipbenchError(f"--address {address}: executor 'local' runs on this machine alone; leave it out")
        return device_class(device)

    def __init__(self, setup: ExecutorSetup) -> None:
        super().__init__(setup)
        self._free: list[str] = []
        self._busy: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._count = 0

    def execute(self, works: Sequence[Work], emit: Emit) -> None:
        """See `Executor`."""
        self._emit, self._schedule = emit, Schedule(works)
        devices = slots(self.setup.device, self.setup.workers, max(work.resources.cpus for work in works))
        self._free = list(reversed(devices))
        self._context = _forkserver()
        try:
            while self._fill() or self._busy:
                if self.setup.stop() >= 2:
                    return
                self._listen()
        finally:
            for worker in [*self._busy, *self._idle]:
                self._end(worker, at_once=worker.work is not None)
            for log in self.setup.logs.glob(f"{self.setup.run}-*.log"):
                if log.stat().st_size == 0:
                    log.unlink()

    def _fill(self) -> bool:
        """Start works while slots are free; True where anything runs."""
        while (self._free or self._idle) and not self.setup.stop():
            work = self._schedule.take()
            if work is None:
                break
            worker = self._hire(work)
            worker.work, worker.cell, worker.fault, worker.left = work, None, None, set(work.cells)
            worker.deadline = time.monotonic() + STARTUP_S + work.timeout
            self._busy.append(worker)
            self._emit(Event(kind="started", work=work, data={"device": worker.device}))
            try:
                worker.pipe.send_bytes(json.dumps(work.message()).encode())
            except OSError:
                worker.broken = True
        return bool(self._busy)

    def _hire(self, work: Work) -> _Worker:
        """An idle worker that may be shared, else a new one."""
        if self._idle and work.shared and self._idle[-1].cpus == work.resources.cpus:
            return self._idle.pop()
        if self._idle and not self._free:
            self._end(self._idle.pop())
        device = self._free.pop()
        self._count += 1
        log = self.setup.logs / f"{self.setup.run}-{self._count}.log"
        ours, theirs = self._context.Pipe()
        setup = {
            "places": self.setup.places, "artifacts": str(self.setup.artifacts), "log": str(log), "device": device, "cpus": work.resources.cpus,
        }  # fmt: skip
        from lipbench.execution.process import main

        process = self._context.Process(target=main, args=(theirs, setup), daemon=False)
        with _no_main():
            process.start()
        theirs.close()
        return _Worker(process=process, pipe=ours, log=log, device=device, cpus=work.resources.cpus)

    def _listen(self) -> None:
        """Wait for the next message, death or deadline, and deal with it."""
        now = time.monotonic()
        wait = max(0.0, min([w.deadline - now for w in self._busy] + [0.5]))
        ready = set(connection.wait([x for w in self._busy for x in (w.pipe, w.process.sentinel)], wait))
        for worker in list(self._busy):
            if worker.pipe in ready:
                self._hear(worker)
            if worker in self._busy and (worker.broken or (worker.process.sentinel in ready and not worker.pipe.poll())):
                self._lost(worker, "failed", _death(worker))
            if worker in self._busy and time.monotonic() > worker.deadline:
                limit = worker.work.timeout if worker.work else 0.0
                self._lost(worker, "timeout", {"class": "timeout", "message": f"took longer than {limit:g} s"})

    def _hear(self, worker: _Worker) -> None:
        """Take all messages that have arrived."""
        while worker in self._busy and not worker.broken and worker.pipe.poll():
            try:
                message = json.loads(worker.pipe.recv_bytes())
            except (EOFError, OSError):
                worker.broken = True
                return
            self._message(worker, message)

    def _message(self, worker: _Worker, message: dict[str, Any]) -> None:
        work = worker.work
        assert work is not None  # noqa: S101  (only busy workers are listened to)
        say, about = message.pop("say"), message.pop("work")
        if about != work.id:
            return
        if say == "begin":
            worker.cell = message["cell"]
            worker.deadline = time.monotonic() + work.timeout
        elif say == "note":
            self._emit(Event(kind="note", work=work, data=message))
        elif say == "cell":
            worker.cell = None
            worker.left -= {message["cell"]}
            worker.work = work.only(worker.left) if worker.left else work
            self._emit(Event(kind="cell", work=work, data={**message, "device": worker.device}))
        elif say == "failed":
            worker.fault = message["error"]
        elif say == "done" and worker.left and worker.fault is None:
            self._lost(worker, "failed", {"class": "crash", "message": "the worker ended the job before all its cells"})
        elif say == "done":
            self._done(worker)

    def _done(self, worker: _Worker) -> None:
        work, fault = worker.work, worker.fault
        assert work is not None  # noqa: S101
        self._busy.remove(worker)
        worker.work = None
        if work.shared:
            self._idle.append(worker)
        else:
            self._end(worker)
        if fault is not None:
            self._fail(work, "failed", fault, worker.device)
        else:
            self._schedule.made(work.id)
            self._emit(Event(kind="finished", work=work))

    def _lost(self, worker: _Worker, status: str, error: dict[str, str]) -> None:
        """A worker died or was late: its cell pays, the rest of the job runs again elsewhere."""
        work, cell = worker.work, worker.cell
        assert work is not None  # noqa: S101
        self._busy.remove(worker)
        self._end(worker, at_once=True)
        if cell is None:
            self._fail(work, status, error, worker.device)
            return
        data = {"cell": cell, "status": status, "error": error, "cost": {}, "device": worker.device}
        self._emit(Event(kind="cell", work=work, data=data))
        left = worker.left - {cell}
        if left:
            self._schedule.put_back(work.only(left))
        else:
            self._emit(Event(kind="finished", work=work))

    def _fail(self, work: Work, status: str, error: dict[str, str], device: str) -> None:
        self._emit(Event(kind="failed", work=work, data={"status": status, "error": error, "device": device}))
        if not work.cells:
            reason = {"class": error["class"], "message": f"{work.title} failed: {error['message']}"}
            for lost in self._schedule.unmade(work.id):
                self._emit(Event(kind="failed", work=lost, data={"status": "failed", "error": reason, "device": device}))

    def _end(self, worker: _Worker, *, at_once: bool = False) -> None:
        """End a worker and all that it left running, and free its slot."""
        if not at_once:
            with suppress(OSError):
                worker.pipe.send_bytes(b"")
            worker.process.join(GRACE_S)
        if worker.process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.process.pid, signal.SIGKILL)
        if worker.process.is_alive():
            worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self._free.append(worker.device)
        if worker in self._idle:
            self._idle.remove(worker)


@contextmanager
def _no_main() -> Iterator[None]:
    """Hide the parent's main module: a worker would run it again, and needs nothing of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _forkserver() -> Any:
    """A server process that has loaded torch but run nothing with it; workers are forked from it in milliseconds."""
    # Hashes of strings decide the order of sets, which must not differ between runs; read when the server starts.
    os.environ.setdefault("PYTHONHASHSEED", "0")
    context = get_context("forkserver")
    context.set_forkserver_preload(["lipbench.execution.preload"])
    return context


def _death(worker: _Worker) -> dict[str, str]:
    """Why a worker is gone, with the end of what it printed."""
    worker.process.join(GRACE_S)
    code = worker.process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        reason = f"the worker was ended by {name}"
        reason += " (out of memory, or killed by hand)" if code == -signal.SIGKILL else ""
    else:
        reason = f"the worker left by itself with exit code {code}"
    lines = worker.log.read_text(errors="replace").split("\n") if worker.log.exists() else []
    tail = " | ".join(line.strip() for line in lines if line.strip() and not line.startswith("Extension modules:"))
    return {"class": "crash", "message": f"{reason}; log: {worker.log.name}" + (f"; {tail[-300:]}" if tail else "")}
