# SPDX-License-Identifier: Apache-2.0
"""A worker process of the local executor, seen from its parent: started in milliseconds, heard without waiting, killed whole."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from lipbench.contract.errors import LipbenchError
from lipbench.contract.execution import Work
from lipbench.execution.dispatch import Hint
from lipbench.execution.process import LONGEST, kill_below, main

_ALIVE: set[int] = set()
"""Worker processes of this parent; other children of their server are orphans of workers that died."""

LOG_BYTES = 16 * 2**20
"""A log that is longer is cut to half of this, its beginning and its end; so it is looked at twice a second."""

_TAIL = 300
"""Characters of a worker's log that the record of its death quotes."""

_CHUNK, _CHUNKS = 1 << 16, 4
"""Bytes that are read at once from a worker's pipe, which is as much as one holds, and how often in one round."""

_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""What ends a worker through no doing of the job itself: a scheduler, a person, or the kernel when memory runs out."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a worker has loaded before it has a work."""

    cpus: int
    factories: frozenset[str]

    def suits(self, work: Work) -> bool:
        """Whether that work would load all of it as well: no job may see what only others import."""
        return self.cpus == work.resources.cpus and self.factories <= factories_of(work.payload)


def factories_of(payload: Any) -> frozenset[str]:
    """The factories of all components that a payload names."""
    found: set[str] = set()
    waiting = [payload]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            factory = part.get("factory")
            if isinstance(factory, str) and "params" in part:
                found.add(factory)  # and no further: parameters are what the suite says, which may look like a component
            else:
                waiting += part.values()
        elif isinstance(part, (list, tuple)):
            waiting += part
    return frozenset(found)


@dataclass(kw_only=True, eq=False)
class Hand:
    """A worker process."""

    process: ForkServerProcess
    inbox: connection.Connection
    outbox: connection.Connection
    log: Path
    started: float
    ready: bool = False
    mute: bool = False
    """Its pipe has ended, or held what is no message."""
    deaf: bool = False
    """Nobody waits for its messages any more."""
    asked: bool = False
    """It has been asked to end."""
    server: int = 0
    """Process that forked it."""
    prepared: Prepared | None = None
    """What it was told to load before it has a work."""
    _heard: bytearray = field(default_factory=bytearray)
    """A message that has not ended."""

    @property
    def gone(self) -> bool:
        """Whether the process has ended."""
        return not self.process.is_alive()

    def send(self, message: dict[str, Any]) -> None:
        """Give it a work; it must be ready."""
        try:
            self.inbox.send_bytes(json.dumps(message).encode())
        except OSError:
            self.mute = True

    def hear(self) -> Iterator[dict[str, Any]]:
        """Some of what it has said since; never waits, not even for the rest of a message.

        It is no more than so much, so that one who talks without end keeps nobody from being heard; but it is all that the pipe
        of a worker that has died can hold.
        """
        for _ in range(_CHUNKS):
            if self.mute:
                return
            try:
                chunk = os.read(self.outbox.fileno(), _CHUNK)
            except BlockingIOError:
                return
            except OSError:
                chunk = b""
            self.mute = not chunk
            *lines, rest = chunk.split(b"\n")
            if lines:
                lines[0] = bytes(self._heard) + lines[0]
                self._heard.clear()
            self._heard += rest
            if len(self._heard) > LONGEST:
                self.mute = True
                self._heard.clear()
            for line in lines:
                message = _message(line)
                if message is None:  # somebody else writes into our pipe
                    self.mute = True
                    return
                yield message

    def leave(self) -> None:
        """Ask it to end."""
        self.asked = True
        with suppress(OSError):
            self.inbox.send_bytes(b"")

    def kill(self) -> None:
        """End it and all that it started."""
        pid = self.process.pid
        if pid is None or self.gone:
            return
        with suppress(psutil.Error):
            kill_below(psutil.Process(pid))
        self.process.kill()

    def close(self) -> None:
        """The process has ended: kill what is left of its session, and orphans that left the session before."""
        pid = self.process.pid
        if pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            _ALIVE.discard(pid)
        if self.server and not (self.asked and self.process.exitcode == 0):
            _sweep(self.server)
        self.inbox.close()
        self.outbox.close()
        self.trim()
        with suppress(OSError):
            if self.log.stat().st_size == 0:
                self.log.unlink()

    def trim(self) -> None:
        """Cut the middle out of a log that has grown too long; what is written meanwhile goes to its end, or is lost."""
        with suppress(OSError):
            size = self.log.stat().st_size
            if size <= LOG_BYTES:
                return
            with self.log.open("rb+") as file:
                file.seek(size - LOG_BYTES // 4)
                end = file.read(LOG_BYTES // 4)
                file.truncate(LOG_BYTES // 4)
            with self.log.open("ab") as file:  # as all do who write here, so that none leaves a gap or overwrites another
                file.write(b"\n... the middle was cut out here: a log keeps its beginning and its end ...\n" + end)

    def death(self) -> tuple[dict[str, str], Hint | None]:
        """Why it is gone, with the end of what it printed, and whether it is worth another try."""
        code = self.process.exitcode
        again: Hint | None = None
        if code is None:
            reason = "the worker closed its pipe"
        elif self.server and not _runs(self.server):
            # All workers go with their server, and nobody is left who knows how.
            reason, again = "the server of workers was ended (out of memory, or killed by hand)", "later"
        elif code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            reason = f"the worker was ended by {name}"
            reason += " (out of memory, or killed by hand)" if code == -signal.SIGKILL else ""
            again = "later" if -code in _FROM_OUTSIDE else None
        else:
            reason = f"the worker left by itself with exit code {code}"
        tail = self.tail()
        return {"class": "crash", "message": f"{reason}; log: {self.log.name}" + (f"; {tail}" if tail else "")}, again

    def tail(self) -> str:
        """The end of what it printed, in one line."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 4096))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        return " | ".join(x.strip() for x in lines if x.strip() and not x.startswith("Extension modules:"))[-_TAIL:]


@dataclass(kw_only=True)
class Hands:
    """Starts worker processes."""

    logs: Path
    run: str
    artifacts: str
    places: Sequence[str]
    _count: int = 0
    _context: Any = field(default_factory=lambda: _forkserver())

    def start(self) -> Hand:
        """Fork one; it says `ready` when its plugins are imported.

        Raises:
            LipbenchError: The machine has no room for another process.
        """
        try:
            return self._start()
        except (OSError, EOFError):
            pass
        try:
            return self._start()  # by another server, where the first has died
        except (OSError, EOFError) as error:
            raise LipbenchError(
                f"no worker can be started: {error or type(error).__name__}; free some memory or processes"
            ) from error

    def _start(self) -> Hand:
        self._count += 1
        log = self.logs / f"{self.run}-{self._count}.log"
        theirs_in, ours_in = self._context.Pipe(duplex=False)
        ours_out, theirs_out = self._context.Pipe(duplex=False)
        setup = {"places": list(self.places), "artifacts": self.artifacts, "log": str(log)}
        process = self._context.Process(target=main, args=(theirs_in, theirs_out, setup), daemon=False)
        with _no_main():
            process.start()
        theirs_in.close()
        theirs_out.close()
        os.set_blocking(ours_out.fileno(), False)
        _ALIVE.add(process.pid)
        return Hand(process=process, inbox=ours_in, outbox=ours_out, log=log, started=time.monotonic())


def _runs(pid: int) -> bool:
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _sweep(server: int) -> None:
    """Kill orphans of workers that died: their server has adopted them."""
    with suppress(psutil.Error):
        for child in psutil.Process(server).children():
            if child.pid not in _ALIVE:
                kill_below(child)
                with suppress(psutil.Error):
                    child.kill()


_SAID: Mapping[str, tuple[str, ...]] = {
    "ready": ("server",),
    "begin": ("work", "cell"),
    "note": ("work", "text"),
    "cell": ("work", "cell", "status", "cost"),
    "failed": ("work", "error"),
    "done": ("work",),
}
"""What a worker says, and what comes with it."""


def _message(line: bytes) -> dict[str, Any] | None:
    """A line of a worker; None where no worker of ours has written it."""
    try:
        found = json.loads(line)
        if not isinstance(found, dict):
            return None
        names = all(isinstance(found.get(name) or "", str) for name in ("work", "cell"))
        return found if names and all(name in found for name in _SAID[found["say"]]) else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


@contextmanager
def _no_main() -> Iterator[None]:
    """Hide the parent's main module: a worker would run it again, and needs nothing of it."""
    main_module = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main_module


def _forkserver() -> Any:
    """A server process that has loaded torch but run nothing with it; workers are forked from it in milliseconds."""
    # Hashes of strings decide the order of sets, which must not differ between runs; read when the server starts.
    os.environ.setdefault("PYTHONHASHSEED", "0")
    # glibc gives the memory of each larger tensor back to the system and asks for it again, page by page, at every step of a
    # network: a quarter of the time of a small one. Read when the server starts; other libraries of C know neither name.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(256 * 2**20))
    context = get_context("forkserver")
    context.set_forkserver_preload(["lipbench.execution.preload"])
    return context
