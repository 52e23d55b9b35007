# SPDX-License-Identifier: Apache-2.0
"""A plugin whose jobs are hard on an executor: they ask for devices, run out of memory, fail for a while, or leave things behind."""

from __future__ import annotations

import contextlib
import errno
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from lipbench.api import Component, Context, Dataset, DataSpec, Metric, Model, Split, Task, Value, hookimpl

SLEEPER = "import time; time.sleep(600)"


class Row(Dataset):
    """One row.

    Args:
        which: Makes another dataset.
    """

    def __init__(self, *, which: int = 0) -> None:
        self.which = which

    def spec(self) -> DataSpec:
        return DataSpec(shape=(2,), low=0.0, high=1.0)

    def load(self, split: str, ctx: Context) -> Split:
        return Split(inputs=np.full((1, 2), float(self.which), dtype=np.float32))


class Slow(Model):
    """Counts its fits in a folder, learns a number, and saves it on the way.

    Args:
        trace: Folder that gets a file for each step of a fit; empty for none.
        steps: How many.
        pause: Seconds that each takes.
    """

    fitted = True

    def __init__(self, *, trace: str = "", steps: int = 3, pause: float = 0.0) -> None:
        self.trace, self.steps, self.pause = trace, steps, pause

    def build(self, spec: DataSpec, ctx: Context) -> None:
        self.learned = torch.zeros(2)

    def fit(self, data: Dataset, ctx: Context) -> None:
        assert ctx.checkpoint is not None
        kept = ctx.checkpoint.load()
        done = 0 if kept is None else int(kept["done"])
        self.learned = torch.zeros(2) if kept is None else kept["learned"]
        for step in range(done, self.steps):
            self.learned = self.learned + torch.rand(2, generator=ctx.generator(f"step {step}"))
            ctx.checkpoint.save({"learned": self.learned, "done": torch.tensor(step + 1)})
            if self.trace:
                (Path(self.trace) / f"{step}-{time.time_ns()}").touch()
            time.sleep(self.pause)

    def state(self) -> Mapping[str, torch.Tensor]:
        return {"learned": self.learned}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        self.learned = state["learned"]


@dataclass(frozen=True)
class Facts:
    """Evidence: what the worker sees of the world."""

    device: str
    visible: str
    threads: tuple[int, str]
    learned: float


class Awkward(Task):
    """Looks around.

    Args:
        pause: Seconds that the evidence takes.
        which: Makes another job.
    """

    fits = {"model": "data"}

    def __init__(self, *, pause: float = 0.0, which: int = 0) -> None:
        self.pause, self.which = pause, which

    def evidence(self, model: Slow, data: Dataset, ctx: Context) -> Facts:
        time.sleep(self.pause)
        threads = (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"])
        return Facts(ctx.device, os.environ.get("CUDA_VISIBLE_DEVICES", "-"), threads, float(model.learned.sum()))


class Shared(Awkward):
    """The same in workers that jobs share."""

    shared = True


class Half(Awkward):
    """Two jobs on a GPU, two threads each."""

    gpus = 0.5
    cpus = 2
    memory = "1 MiB"


class Brief(Awkward):
    """Not for long."""

    timeout = 1.5


class World(Metric):
    """A number that depends on job and seed alone, and what the worker sees as extras."""

    def __init__(self, *, which: int = 0, pause: float = 0.0) -> None:
        self.which, self.pause = which, pause

    def compute(self, evidence: Facts, ctx: Context) -> Value:
        time.sleep(self.pause)
        value = evidence.learned + self.which + float(ctx.rng().random())
        extras = {"device": evidence.device, "visible": evidence.visible, "threads": list(evidence.threads), "pid": os.getpid()}
        return Value(value=value, direction="none", unit="1", extras=extras)


class Hungry(Metric):
    """Has memory for so many rows only, and says how many it used.

    Args:
        fits: How many rows there is room for.
        rows: How many it would like to use.
        ask: Whether it asks the harness before.
        device: Fail like a GPU.
    """

    def __init__(self, *, fits: int = 3, rows: int = 16, ask: bool = True, device: bool = False) -> None:
        self.fits, self.rows, self.ask, self.device = fits, rows, ask, device

    def compute(self, evidence: Facts, ctx: Context) -> Value:
        rows = ctx.batch(self.rows) if self.ask else self.rows
        if rows > self.fits:
            raise torch.OutOfMemoryError("tried to allocate 1 TiB") if self.device else MemoryError
        return Value(value=7.0, direction="none", unit="1", extras={"rows": rows})


class Flaky(Metric):
    """Fails some times before it works.

    Args:
        how: In which way.
        times: How often.
        trace: Folder in which it counts.
    """

    def __init__(
        self,
        *,
        how: Literal["stale", "refused", "killed", "full", "value", "device"],
        trace: str,
        times: Annotated[int, Field(ge=0)] = 1,
    ) -> None:
        self.how, self.trace, self.times = how, trace, times

    def compute(self, evidence: Facts, ctx: Context) -> Value:
        before = len(list(Path(self.trace).glob(f"{self.how}-*")))
        (Path(self.trace) / f"{self.how}-{time.time_ns()}").touch()
        if before < self.times:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise {
                "stale": OSError(errno.ESTALE, "stale file handle"),
                "refused": ConnectionRefusedError("nobody listens"),
                "full": OSError(errno.ENOSPC, "no space left on device"),
                "value": ValueError("always the same"),
                "device": torch.AcceleratorError("device-side assert triggered"),
            }[self.how]
        return Value(value=float(before), direction="none", unit="1", extras={"pid": os.getpid()})


class Leaves(Metric):
    """Leaves processes behind, in a session of their own or not, and ends in some way.

    Args:
        how: What it does after that.
        trace: Folder that gets the ids of the processes.
        size: Characters that it prints.
    """

    def __init__(
        self,
        *,
        how: Literal["returns", "segfault", "exit", "exit0", "spin", "closes", "hang", "scribbles", "lingers"],
        trace: str,
        size: int = 0,
    ) -> None:
        self.how, self.trace, self.size = how, trace, size

    def compute(self, evidence: Facts, ctx: Context) -> Value:
        children = [subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=new) for new in (False, True)]
        # A grandchild in a session of its own whose parent has gone.
        code = (
            f"import subprocess, sys\nwords, quiet = [sys.executable, '-c', {SLEEPER!r}], subprocess.DEVNULL\n"
            "print(subprocess.Popen(words, start_new_session=True, stdout=quiet, stderr=quiet).pid)\n"
        )
        orphan = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        for pid in (*(child.pid for child in children), orphan):
            (Path(self.trace) / str(pid)).touch()
        print("g\xe4rbage\x00" * self.size, "last words", flush=True)
        if self.how == "segfault":
            import ctypes

            ctypes.string_at(0)
        if self.how == "exit":
            sys.exit("no more")
        if self.how == "exit0":
            os._exit(0)
        if self.how == "spin":
            # In C, and deaf to signals that Python handles.
            sum(itertools.repeat(1))
        if self.how == "closes":
            os.closerange(3, 100)
            time.sleep(600)
        if self.how == "hang":
            time.sleep(600)
        if self.how == "scribbles":
            for handle in range(3, 64):
                with contextlib.suppress(OSError):
                    os.write(handle, b'1\n{"a": 1}\n{"say": "cell"}\n')
            time.sleep(600)
        if self.how == "lingers":
            # Left alive, multiprocessing would wait for it, and Python for the thread.
            multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,)).start()
            threading.Thread(target=time.sleep, args=(600,)).start()
            sys.exit(3)
        return Value(value=1.0, direction="none", unit="1")


class Floods(Metric):
    """Says more than anyone wants to hear.

    Args:
        how: Where to: standard output, `ctx.report`, or the pipe that the harness listens to, with messages or without an end.
        seconds: For how long.
    """

    def __init__(self, *, how: Literal["output", "report", "notes", "endless"], seconds: float = 600.0) -> None:
        self.how, self.seconds = how, seconds

    def compute(self, evidence: Facts, ctx: Context) -> Value:
        end = time.monotonic() + self.seconds
        note = b'{"say": "note", "work": "nobody", "text": "nothing"}\n' * 60
        count = 0
        while time.monotonic() < end:
            count += 1
            if self.how == "output":
                os.write(1, b"much ado\n" * 7000)
            elif self.how == "report":
                ctx.report(f"step {count}")
            else:
                for handle in range(3, 16):
                    with contextlib.suppress(OSError):
                        os.write(handle, note if self.how == "notes" else b"x" * 4000)
        print("the end", flush=True)
        return Value(value=1.0, direction="none", unit="1")


LEFT = "LIPBENCH_TEST_LEFT"


class Untidy(Metric):
    """Says what it finds changed in its process, and changes all that it can.

    Args:
        tidy: Change nothing.
    """

    def __init__(self, *, tidy: bool = False) -> None:
        self.tidy = tidy

    def compute(self, evidence: Facts, ctx: Context) -> Value:
        changed = {
            "variable": LEFT in os.environ,
            "lost variable": "OMP_NUM_THREADS" not in os.environ,
            "folder": Path.cwd() == Path("/"),
            "path": LEFT in sys.path,
            "warnings": any(f[0] == "error" and f[2] is BytesWarning for f in warnings.filters),
            "numpy": np.geterr()["divide"] == "raise",
            "signal": signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN,
            "dtype": torch.get_default_dtype() != torch.float32,
            "gradients": not torch.is_grad_enabled(),
            "threads": torch.get_num_threads() != 1,
            "determinism": torch.get_deterministic_debug_mode() != 1,
            "device": torch.get_default_device().type != "cpu",
        }
        print("still heard", flush=True)
        if not self.tidy:
            os.environ[LEFT] = "1"
            del os.environ["OMP_NUM_THREADS"]
            os.chdir("/")
            sys.path.append(LEFT)
            warnings.simplefilter("error", BytesWarning)
            np.seterr(divide="raise")
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
            torch.set_num_threads(3)
            torch.set_deterministic_debug_mode("default")
            torch.set_default_device("meta")
            sys.stdout.close()
            sys.stderr = None
        return Value(
            value=float(sum(changed.values())),
            direction="none",
            unit="1",
            extras={"changed": [k for k, v in changed.items() if v], "pid": os.getpid()},
        )


@hookimpl
def lipbench_components() -> Iterable[Component]:
    kinds: dict[str, tuple[type, ...]] = {
        "dataset": (Row,),
        "model": (Slow,),
        "task": (Awkward, Shared, Half, Brief),
        "metric": (World, Hungry, Flaky, Leaves, Floods, Untidy),
    }
    for kind, classes in kinds.items():
        for cls in classes:
            name = cls.__name__.lower()
            yield Component(kind=kind, name=name, factory=f"{__name__}:{cls.__name__}", summary=f"awkward {name}")  # type: ignore[arg-type]
