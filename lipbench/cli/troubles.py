# SPDX-License-Identifier: Apache-2.0
"""The usual troubles that `lipbench doctor` looks for, each one line that says what to do."""

from __future__ import annotations

import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lipbench.results import machine
from lipbench.results.store import HOLDER, LOCK, holder_words

SLOW_S = 0.05
"""A record that takes longer to reach the disk is worth a word: the parent waits for each."""


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong here."""

    words: str
    broken: bool
    """False where runs work but are slow, or where something else is only worth a word."""


def troubles(results: Path, threads: Mapping[str, int]) -> Iterator[Trouble]:
    """All that is found on this machine and in a folder of results; for `threads` see `thread_troubles`."""
    yield from gpu_troubles()
    yield from thread_troubles(threads)
    yield from disk_troubles(results)
    yield from lock_troubles(results)


def gpu_troubles() -> Iterator[Trouble]:
    """A driver is there, but torch cannot use it."""
    gpus, torch = machine.gpus(), machine.installed_torch()
    if not gpus.there or torch is None:
        return
    driver = f"NVIDIA driver {gpus.driver or ''}".strip()
    if not os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip(" -1"):
        yield Trouble("CUDA_VISIBLE_DEVICES hides all GPUs: unset it to use them", False)
    elif torch.cuda is None:
        yield Trouble(
            f"there is an {driver}, but torch {torch.version} is built without CUDA: install a build with CUDA "
            "(https://pytorch.org/get-started/locally), or write --device cpu",
            True,
        )
    elif gpus.cuda is not None and torch.cuda[0] > gpus.cuda[0]:
        # Within one major version an older driver runs newer builds.
        yield Trouble(
            f"torch {torch.version} is built with CUDA {_dotted(torch.cuda)}, but the {driver} runs CUDA {_dotted(gpus.cuda)} "
            f"at most: update the driver, or install a torch built with CUDA {gpus.cuda[0]}",
            True,
        )
    elif (reason := ask_torch()) is not None:
        yield Trouble(
            f"there is an {driver}, but torch {torch.version} sees no GPU ({reason}): see what nvidia-smi says, restart after an "
            "update of the driver, or write --device cpu",
            True,
        )


def _dotted(cuda: tuple[int, int]) -> str:
    return f"{cuda[0]}.{cuda[1]}"


def ask_torch() -> str | None:
    """Why torch sees no GPU, asked in a process of its own so that this one stays without CUDA; None where it sees one."""
    words = [sys.executable, "-c", "import torch; torch.cuda.init(); assert torch.cuda.device_count(), 'it counts none'"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return " ".join(str(error).split())
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]


def thread_troubles(threads: Mapping[str, int]) -> Iterator[Trouble]:
    """More threads than cores. What other variables say of threads does not count: workers set their own number.

    Args:
        threads: Task to the threads that a job of it uses.
    """
    cores = max(1, math.ceil(machine.cores()))
    for task, count in threads.items():
        if count > cores:
            yield Trouble(
                f"a job of task {task!r} uses {count} threads, but here are {cores} cores: its jobs run one at a time, and slowly",
                False,
            )
    for name in ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"):
        said = machine.environment().get(name, "")
        if said and said.lower() != "false":
            yield Trouble(f"{name}={said} binds the threads of all workers to the same cores: write unset {name}", False)


def disk_troubles(results: Path) -> Iterator[Trouble]:
    """A folder of results that cannot be written, or slowly."""
    try:
        seconds = sync_seconds(results)
    except OSError as error:
        yield Trouble(f"{results} cannot be written: {error.strerror}; choose another folder by --results", True)
        return
    if seconds > SLOW_S:
        yield Trouble(
            f"a record takes {seconds * 1000:.0f} ms to reach the disk of {results}: choose a folder on a local disk by --results",
            False,
        )


def sync_seconds(results: Path) -> float:
    """How long it takes that a record is on the disk, as the median of five.

    Raises:
        OSError: The folder, or the one that it would be made in, cannot be written.
    """
    there = next(folder for folder in (results.absolute(), *results.absolute().parents) if folder.exists())
    taken = []
    with tempfile.NamedTemporaryFile(dir=there, prefix=".doctor.") as file:
        for _ in range(5):
            start = time.perf_counter()
            file.write(b"x" * 1024)
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def lock_troubles(results: Path) -> Iterator[Trouble]:
    """Folders that a run holds, or has left without saying so."""
    from filelock import FileLock

    for file in sorted(results.glob(f"*/{HOLDER}")):
        folder, who = file.parent, holder_words(file)
        if _runs(file):
            yield Trouble(f"{folder} is held by {who}, which still runs: wait for it, or choose --results", False)
            continue
        try:
            with FileLock(folder / LOCK, timeout=0):
                yield Trouble(
                    f"{folder} was left by {who}, which was killed: run again, nothing that was finished is lost", False
                )
        except OSError:  # of which Timeout is one; another is a folder of somebody else
            yield Trouble(
                f"{folder} is locked for {who}, which does not run here: if it runs nowhere, end what it has left running, "
                f"or delete {folder / LOCK}",
                False,
            )


def _runs(file: Path) -> bool:
    """Whether the process that wrote a holder file runs here, and is not another of the same number."""
    import psutil

    with suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
        who = json.loads(file.read_text())
        mine = who["host"] == socket.gethostname()
        return mine and psutil.Process(int(who["pid"])).create_time() <= file.stat().st_mtime + 1
    return False
