# SPDX-License-Identifier: Apache-2.0
"""Which devices there are, asked without importing torch, and which of them a work gets."""

from __future__ import annotations

import math
import platform
import sys
from dataclasses import dataclass

from lipbench.contract.errors import LipbenchError
from lipbench.contract.execution import Resources
from lipbench.results import machine

CLASSES = ("cpu", "cuda", "mps")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What there is to run on."""

    gpus: tuple[str, ...] = ()
    """What CUDA_VISIBLE_DEVICES calls each NVIDIA GPU that this process may see; `cuda:K` is the one at place K."""
    mps: bool = False
    """Whether there is a GPU of Apple."""
    cores: int = 1
    memory: int = 0
    """Bytes of main memory; 0 where it is not known."""


def detect() -> Machine:
    """Look at this machine; what the process may not use, by affinity, control group or visibility, does not count."""
    return Machine(
        gpus=machine.visible_gpus(),
        mps=sys.platform == "darwin" and platform.machine() == "arm64",
        cores=math.ceil(machine.cores()),
        memory=machine.memory_bytes(),
    )


def device_class(wanted: str, machine: Machine) -> str:
    """`cpu`, `cuda` or `mps` for what `--device` says; `auto` is a GPU where there is one.

    Raises:
        LipbenchError: No such device.
    """
    if wanted == "auto":
        return "cuda" if machine.gpus else "mps" if machine.mps else "cpu"
    head, colon, index = wanted.partition(":")
    if head not in CLASSES or (colon and not (head == "cuda" and index.isdecimal())):
        raise LipbenchError(f"--device {wanted}: write auto, cpu, cuda, cuda:0 or mps")
    if head == "cuda" and not machine.gpus:
        raise LipbenchError(f"--device {wanted}: no NVIDIA GPU is visible here; write --device cpu")
    if colon and int(index) >= len(machine.gpus):
        last = len(machine.gpus) - 1
        raise LipbenchError(f"--device {wanted}: the GPUs here are cuda:0 to cuda:{last}" if last else
                            f"--device {wanted}: the one GPU here is cuda:0")  # fmt: skip
    if head == "mps" and not machine.mps:
        raise LipbenchError(f"--device {wanted}: there is no GPU of Apple here; write --device cpu")
    return head


@dataclass(kw_only=True)
class Place:
    """A device of the pool, and what runs there now."""

    device: str
    """As records name it: `cpu`, `mps`, or `cuda:K` in the numbering of the parent."""
    visible: str = ""
    """What CUDA_VISIBLE_DEVICES is in its workers; empty hides all."""
    running: int = 0
    gpus: float = 0.0

    @property
    def local(self) -> str:
        """The device as its workers see it, who see no other GPU."""
        return "cuda:0" if self.device.startswith("cuda") else self.device


@dataclass(kw_only=True)
class Pool:
    """The devices of a run and what is free of them.

    A device on which nothing runs takes any work. Others join while they fit: shares of a GPU up to 1, threads up to the
    cores, memory up to what there is. `most`, which a user has set, counts instead of all that.
    """

    places: list[Place]
    cores: int
    memory: int
    most: int | None = None
    cpus: int = 0
    """Threads of what runs."""
    bytes: int = 0
    """Memory that what runs has asked for."""

    @classmethod
    def of(cls, machine: Machine, wanted: str, workers: int | None) -> Pool:
        """The pool for what `--device` and `--workers` say.

        Raises:
            LipbenchError: No such device.
        """
        kind = device_class(wanted, machine)
        names = [wanted] if ":" in wanted else [kind] if kind != "cuda" else [f"cuda:{k}" for k in range(len(machine.gpus))]
        shown = {f"cuda:{k}": gpu for k, gpu in enumerate(machine.gpus)}
        places = [Place(device=name, visible=shown.get(name, "")) for name in names]
        return cls(places=places, cores=machine.cores, memory=machine.memory, most=workers)

    @property
    def running(self) -> int:
        """How many works run."""
        return sum(place.running for place in self.places)

    def find(self, asked: Resources) -> Place | None:
        """The emptiest device that has room for a work; None where none has."""
        fitting = [place for place in self.places if self._fits(place, asked)]
        return min(fitting, key=lambda place: (place.gpus, place.running)) if fitting else None

    def _fits(self, place: Place, asked: Resources) -> bool:
        if self.most is not None:
            return self.running < self.most
        if self.running and asked.memory and self.memory and self.bytes + asked.memory > self.memory:
            return False
        if place.running == 0:
            return True
        shares = place.device == "cpu" or place.gpus + asked.gpus <= 1 + 1e-9
        return shares and self.cpus + asked.cpus <= self.cores

    def occupy(self, place: Place, asked: Resources) -> None:
        """Something begins to run there."""
        place.running += 1
        place.gpus += asked.gpus
        self.cpus += asked.cpus
        self.bytes += asked.memory

    def leave(self, place: Place, asked: Resources) -> None:
        """It has ended."""
        place.running -= 1
        place.gpus = place.gpus - asked.gpus if place.running else 0.0
        self.cpus -= asked.cpus
        self.bytes -= asked.memory

    def slots(self, asked: Resources) -> int:
        """How many works of this kind run at once in an empty pool."""
        if self.most is not None:
            return self.most
        empty = Pool(places=[Place(device=p.device) for p in self.places], cores=self.cores, memory=self.memory)
        while (place := empty.find(asked)) is not None:
            empty.occupy(place, asked)
        return empty.running


def environment(place: Place, cpus: int) -> dict[str, str]:
    """Variables of a worker there: the one GPU that it may see, and threads for libraries that it loads from now on."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), str(cpus))
    return threads if place.device == "mps" else {"CUDA_VISIBLE_DEVICES": place.visible, **threads}
