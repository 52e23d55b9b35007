# SPDX-License-Identifier: Apache-2.0
"""A worker process of the local executor, seen from inside: a session of its own, output in a log file, JSON on two pipes."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import psutil

from lipbench.contract.errors import InvalidInput
from lipbench.execution.worker import Worker
from lipbench.plugins import import_place

LONGEST = 32 * 2**20
"""Bytes that a worker says in one message at most."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def adopt() -> None:
    """Become the parent of orphans below this process, so that they can be found; on Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def kill_below(process: psutil.Process) -> None:
    """Kill all that a process started, and what that started in turn, whatever sessions they have made for themselves."""
    try:
        below = process.children(recursive=True) if _has_children(process.pid) else []
    except psutil.Error:
        return
    for child in below:
        try:
            child.kill()
        except psutil.Error:
            continue


def _has_children(pid: int) -> bool:
    """Whether looking for them is worth reading the whole table of processes."""
    try:
        listed = list(Path(f"/proc/{pid}/task").glob("*/children"))
        return not listed or any(path.read_text() for path in listed)
    except OSError:
        return True


def main(inbox: Connection, outbox: Connection, setup: Mapping[str, Any]) -> None:
    """Do works until told to stop.

    Args:
        inbox: Takes messages with `device`, `cpus` and `environment`, the same in all, and `work`, or `prepare`: factories that
            the works to come will use; an empty message ends the worker.
        outbox: Gives what the worker says, one JSON object a line: `ready`, then what `Worker.do` sends.
        setup: `places` (plugins that are not installed), `artifacts` (folder or URL), `log` (file).
    """
    _stand_alone(Path(setup["log"]))
    _let_server_go()
    for place in setup["places"]:
        import_place(place)
    worker: Worker | None = None
    limit = 0.0
    writing = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        if message["say"] == "begin":
            # Where it hangs, the log says where: shortly before the parent ends us, also from inside of C code.
            faulthandler.dump_traceback_later(max(limit - 0.5, 0.9 * limit), file=2)
        elif message["say"] == "done":
            faulthandler.cancel_dump_traceback_later()
            sys.stdout.flush()
            sys.stderr.flush()
        line = json.dumps(message, allow_nan=False).encode() + b"\n"
        if len(line) > LONGEST:
            raise InvalidInput(f"{len(line):,} bytes for one cell, at most {LONGEST:,} are taken; put less into its extras")
        with writing:  # a component may report from several threads
            _write(outbox.fileno(), line)

    send({"say": "ready", "server": os.getppid()})
    try:
        while raw := _read(inbox):
            message = json.loads(raw)
            if worker is None:
                os.environ.update(message["environment"])
                worker = Worker(artifacts=setup["artifacts"], device=message["device"], cpus=message["cpus"])
            if "prepare" in message:
                worker.prepare(message["prepare"])
                continue
            limit = message["work"]["timeout"]
            worker.do(message["work"], send)
    except BaseException as error:
        _abort(error)
    kill_below(psutil.Process())


def _abort(error: BaseException) -> NoReturn:
    """Leave now: the usual way out waits for children and threads that a component has left running."""
    code = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    elif code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)  # noqa: T201  (as Python does)
        code = 1
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    kill_below(psutil.Process())
    os._exit(int(code or 0) & 0xFF)


def _read(inbox: Connection) -> bytes:
    try:
        return inbox.recv_bytes()
    except EOFError:
        return b""


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _let_server_go() -> None:
    """Close the pipe that keeps our server alive, which multiprocessing gives to each fork.

    Were it open, a worker that hangs would keep the server, and with it itself, alive after the parent was killed.
    """
    server: Any = forkserver._forkserver
    handle = getattr(server, "_forkserver_alive_fd", None)
    if handle is not None:
        os.close(handle)
        server._forkserver_alive_fd = None


def _stand_alone(log: Path) -> None:
    """Leave the terminal's session, so that Ctrl-C reaches the parent alone and our whole tree can be killed."""
    os.setsid()
    adopt()
    if sys.platform == "linux":
        # If the server that forked us dies with the parent, nobody is left to hear our answer.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    faulthandler.enable(file=2)
