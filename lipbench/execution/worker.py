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

from lipbench.execution.artifacts import Artifacts
from lipbench.plugins import import_place


def main(pipe: Connection, setup: Mapping[str, Any]) -> None:
    """Do works until told to stop.

    Args:
        pipe: Takes works and gives messages, each a JSON object; an empty message ends the worker.
        setup: `places` (plugins that are not installed), `artifacts` (folder), `log` (file), `device`, `cpus`.
    """
    from lipbench.execution.job import Bench, do  # here, because the parent imports this module and needs no torch

    _stand_alone(Path(setup["log"]))
    _threads(setup["cpus"])
    for place in setup["places"]:
        import_place(place)
    me = os.getpid()
    current = ""

    def send(message: dict[str, Any]) -> None:
        if os.getpid() != me:
            # A process that a component forked: were it to speak or to read on, two would share one pipe.
            os._exit(0)
        pipe.send_bytes(json.dumps({**message, "work": current}, allow_nan=False).encode())

    bench = Bench(
        artifacts=Artifacts(Path(setup["artifacts"])),
        device=setup["device"],
        send=send,
    )
    while True:
        try:
            raw = pipe.recv_bytes()
        except EOFError:
            return
        if not raw:
            return
        work = json.loads(raw)
        # With every message, so that what a process forked by a component says late is not taken for another work's.
        current = work["id"]
        do(bench, work["payload"], work["timeout"])
        bench.send({"say": "done"})


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


def _threads(cpus: int) -> None:
    """Fix the number of threads, which can change the last bits of a sum, and ask torch for deterministic algorithms."""
    import torch

    torch.set_num_threads(cpus)
    # Not use_deterministic_algorithms(warn_only=True), which means the same but imports the compiler, 1.8 s a worker.
    torch.set_deterministic_debug_mode("warn")
    # TF32 would search the network in 10-bit mantissas without saying so.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
