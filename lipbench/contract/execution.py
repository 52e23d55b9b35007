# SPDX-License-Identifier: Apache-2.0
"""What an executor is given, what it says back, and how a plugin declares one; nothing here knows processes or torch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

MEMORY = r"^[0-9]+(\.[0-9]+)? (MiB|GiB)$"
"""How an amount of memory is written, such as `4 GiB`."""

MOST_MEMORY = 2**50
"""Bytes; what is more is a slip of the pen."""


def in_bytes(memory: str) -> int:
    """Bytes of an amount of memory.

    >>> in_bytes("1.5 GiB")
    1610612736

    Raises:
        ValueError: It is not written as `MEMORY` says, or is less than 1 MiB or more than `MOST_MEMORY`.
    """
    if not re.match(MEMORY, memory):
        raise ValueError("an amount of memory is written 512 MiB or 4 GiB")
    number, unit = memory.split()
    amount = float(number) * (2**20 if unit == "MiB" else 2**30)
    if not 2**20 <= amount <= MOST_MEMORY:
        raise ValueError("an amount of memory must be from 1 MiB to 1048576 GiB")
    return int(amount)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a work asks for while it runs."""

    cpus: int = 1
    """Threads; fixed whatever the number of workers, because it can change the last bits of a sum."""
    gpus: float = 1.0
    """Share of one GPU, above 0 and at most 1, where the run is on GPUs; without a meaning elsewhere."""
    memory: int = 0
    """Bytes of main memory to keep free for it; 0 where it does not say."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A fit, a step, or the missing cells of a job: what one worker does in one go."""

    id: str
    title: str
    payload: Mapping[str, Any]
    """All that the worker needs, as JSON."""
    cells: tuple[str, ...] = ()
    """Ids of the cells that it gives; empty for a fit or a step, which give an artifact."""
    needs: frozenset[str] = frozenset()
    """Ids of fits and steps that must be done before."""
    uses: frozenset[str] = frozenset()
    """Ids of all fits and steps that it reads, stored ones included: a worker may have them in memory."""
    shared: bool = False
    """True where it may run in a worker that does other works before and after it."""
    resources: Resources = Resources()
    timeout: float = 3600.0
    """Seconds that one fit, one step, one evidence or one metric of it may take."""
    seconds: float = 1.0
    """How long it will take, by what is known of the past."""
    batch_scale: float = 1.0
    """1, or 1/2, 1/4, ... after memory ran out."""

    def message(self) -> dict[str, Any]:
        """What `Worker.do` takes, as JSON."""
        return {"id": self.id, "payload": self.payload, "timeout": self.timeout, "batch_scale": self.batch_scale}

    def only(self, cells: Collection[str]) -> Work:
        """The same job with some of its cells."""
        job = dict(self.payload["job"])
        job["cells"] = [c for c in job["cells"] if c["id"] in cells]
        kept = tuple(c for c in self.cells if c in cells)
        return replace(
            self, payload={**self.payload, "job": job}, cells=kept, seconds=self.seconds * len(kept) / len(self.cells)
        )


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a work."""

    kind: Literal["started", "cell", "note", "again", "waits", "finished", "failed"]
    """`cell` carries a finished cell; `again` says that something is tried again and why; `waits` that the rest of a work waits
    for another worker, because its own was lost or spent; `failed` a fault of the whole work, before or between its cells."""
    work: Work
    data: Mapping[str, Any] = field(default_factory=dict)


Emit = Callable[[Event], None]


def _never() -> int:
    """Default of `ExecutorSetup.stop`: nobody interrupts."""
    return 0


@dataclass(frozen=True, kw_only=True)
class ExecutorSetup:
    """What an executor is told of its run."""

    run: str
    """Id of the run, for names of log files."""
    artifacts: str
    """Folder of fits and steps, or a URL of fsspec; workers read and write it."""
    logs: Path
    """Folder for what workers print."""
    places: tuple[str, ...] = ()
    """Plugins that are not installed, files or modules: workers import them."""
    device: str = "auto"
    """What `--device` says."""
    workers: int | None = None
    """What `--workers` says; None to choose."""
    address: str | None = None
    """What `--address` says: where the machines are, for executors that need to know."""
    retries: int = 2
    """How often a work is tried again after a fault that may pass."""
    stop: Callable[[], int] = _never
    """Number of interrupts so far: at 1 nothing new begins and what runs is finished, at 2 it is killed."""


class Executor(ABC):
    """Runs works somewhere. It emits every outcome in the thread that called `execute`; the records are written there."""

    def __init__(self, setup: ExecutorSetup) -> None:
        self.setup = setup

    @classmethod
    @abstractmethod
    def device_class(cls, device: str, address: str | None) -> str:
        """`cpu`, `cuda` or `mps` for what `--device` says (`auto` included) and `--address`; it is part of every id.

        Raises:
            LipbenchError: There is no such device, or no such address.
        """

    @abstractmethod
    def execute(self, works: Sequence[Work], emit: Emit) -> None:
        """Run all works, each after those that it needs, and emit what comes of them.

        Every cell ends in a `cell` event or in the `failed` event of its work, unless `setup.stop` says otherwise.
        """


@dataclass(frozen=True, kw_only=True)
class ExecutorDeclaration:
    """A declaration: a plugin has this executor. Cheap to make; the factory is imported when a run names it."""

    name: str
    """What stands after `--executor`."""
    factory: str
    """`package.module:Class`, a subclass of `Executor`."""
    summary: str
    """One line for `lipbench list executors`."""
