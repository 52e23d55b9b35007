# SPDX-License-Identifier: Apache-2.0
"""The main loop of a worker process: a process group of its own, its output in a log file, JSON on a pipe."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lipbench.execution.worker import Worker


def main(pipe: Connection, setup: Mapping[str, Any]) -> None:
    """Do works until told to stop.

    Args:
        pipe: Takes works and gives messages, each a JSON object; an empty message ends the worker.
        setup: `places` (plugins that are not installed), `artifacts` (folder), `log` (file), `device`, `cpus`.
    """
    _stand_alone(Path(setup["log"]))
    worker = Worker(artifacts=Path(setup["artifacts"]), device=setup["device"], cpus=setup["cpus"], places=setup["places"])

    def send(message: dict[str, Any]) -> None:
        pipe.send_bytes(json.dumps(message).encode())

    while True:
        try:
            raw = pipe.recv_bytes()
        except EOFError:
            return
        if not raw:
            return
        worker.do(json.loads(raw), send)


def _stand_alone(log: Path) -> None:
    """Leave the terminal's process group, so that Ctrl-C reaches the parent alone and our whole tree can be killed."""
    os.setsid()
    if sys.platform == "linux":
        # PR_SET_PDEATHSIG: if the server that forked us dies with the parent, nobody is left to hear our answer.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    faulthandler.enable(file=2)
