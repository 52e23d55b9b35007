# SPDX-License-Identifier: Apache-2.0
"""A plugin in one file, as a researcher would write it: a task without torch, and metrics that behave badly on request."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from lipbench.api import (
    Column,
    Component,
    Context,
    Dataset,
    DataSpec,
    Entry,
    Method,
    Metric,
    Model,
    NotApplicable,
    Record,
    Report,
    Split,
    Table,
    Task,
    Value,
    hookimpl,
)


class Numbers(Dataset):
    """Random numbers.

    Args:
        count: How many rows.
        bad: Put NaN into row 3.
        file: A text file with one number a line, instead of random ones.
    """

    licence = "CC0-1.0"

    def __init__(self, *, count: Annotated[int, Field(ge=1)] = 8, bad: bool = False, file: str | None = None) -> None:
        self.count, self.bad, self.file = count, bad, file

    def spec(self) -> DataSpec:
        return DataSpec(shape=(2,), low=0.0, high=1.0)

    def files(self) -> Sequence[Path]:
        return () if self.file is None else (Path(self.file),)

    def load(self, split: str, ctx: Context) -> Split:
        if self.file is not None:
            column = np.loadtxt(self.file, dtype=np.float32)
            return Split(inputs=np.stack([column, column], 1))
        rows = ctx.rng().random((self.count, 2), dtype=np.float32)
        if self.bad:
            rows[3, 0] = np.nan
        return Split(inputs=rows)


class Fixed(Model):
    """A factor that is given."""

    def __init__(self, *, factor: float = 1.0) -> None:
        self.factor = factor

    def build(self, spec: DataSpec, ctx: Context) -> None:
        pass


class Learned(Model):
    """The mean of the training rows, with a trace of every fit in a folder."""

    fitted = True

    def __init__(self, *, trace: str, fail: bool = False) -> None:
        self.trace, self.fail = trace, fail

    def build(self, spec: DataSpec, ctx: Context) -> None:
        self.factor = 0.0

    def fit(self, data: Dataset, ctx: Context) -> None:
        if self.fail:
            raise ValueError("the fit exploded")
        (Path(self.trace) / f"{time.time_ns()}-{os.getpid()}").touch()
        self.factor = float(data.split("train", ctx).inputs.mean())

    def state(self) -> Mapping[str, Any]:
        import torch

        return {"factor": torch.tensor([self.factor], dtype=torch.float64)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.factor = float(state["factor"][0])


class Square(Method):
    """Square it."""


@dataclass(frozen=True)
class Numbered:
    """Evidence: rows times a factor."""

    rows: np.ndarray
    power: int


class Multiply(Task):
    """Multiply rows by a factor.

    Args:
        power: Exponent.
    """

    fits = {"model": "data"}

    def __init__(self, *, power: Annotated[int, Field(ge=1, le=9)] = 1) -> None:
        self.power = power

    def evidence(self, model: Model, data: Dataset, ctx: Context) -> Numbered:
        return Numbered(data.split("test", ctx).inputs * model.factor, self.power)  # type: ignore[attr-defined]


class SharedMultiply(Multiply):
    """The same in a worker that serves many jobs."""

    shared = True


class Mean(Metric):
    """Mean of the rows, after an optional shift that is drawn.

    Args:
        noise: Size of the random shift.
    """

    def __init__(self, *, noise: float = 0.0) -> None:
        self.noise = noise

    def compute(self, evidence: Numbered, ctx: Context) -> Value:
        value = float((evidence.rows**evidence.power).mean()) + self.noise * float(ctx.rng().standard_normal())
        return Value(
            value=value,
            direction="higher",
            unit="1",
            group="mean",
            extras={"rows": len(evidence.rows)},
            forwards=len(evidence.rows),
        )


class Wrong(Metric):
    """Misbehaves.

    Args:
        how: In which way.
    """

    def __init__(
        self,
        *,
        how: Literal[
            "raise",
            "nan",
            "segfault",
            "kill",
            "exit",
            "hang",
            "spin",
            "garbage",
            "type",
            "inapplicable",
            "children",
            "memory",
            "mutate",
            "surrogate",
            "direction",
            "extras",
            "fork",
        ],
    ) -> None:
        self.how = how

    def compute(self, evidence: Numbered, ctx: Context) -> Value:
        value = Value(value=1.0, direction="none", unit="1")
        if self.how == "raise":
            raise RuntimeError("deliberate\nfault")
        if self.how == "nan":
            return Value(value=float("nan"), direction="none", unit="1")
        if self.how == "segfault":
            ctypes.string_at(0)
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "exit":
            sys.exit(7)
        if self.how == "hang":
            time.sleep(600)
        if self.how == "spin":
            sum(range(10**12))
        if self.how == "garbage":
            print("garbage\x00" * 1000)
            os.write(1, b"\xff\xfe not text")
        if self.how == "type":
            return 3.0  # type: ignore[return-value]
        if self.how == "inapplicable":
            raise NotApplicable("this metric reads nothing")
        if self.how == "children":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        if self.how == "memory":
            raise MemoryError
        if self.how == "mutate":
            evidence.rows[:] = 7.0
        if self.how == "surrogate":
            raise ValueError("a name such as \udce9")
        if self.how == "direction":
            return Value(value=1.0, direction="up", unit="1")  # type: ignore[arg-type]
        if self.how == "extras":
            return Value(value=1.0, direction="none", unit="1", extras={"a": float("nan")})
        if self.how == "fork":
            os.fork()
        return value


@dataclass(frozen=True)
class Other:
    """Evidence of another task."""


class ReadsOther(Metric):
    """Reads what no task here gives."""

    def compute(self, evidence: Other, ctx: Context) -> Value:
        return Value(value=0.0, direction="none", unit="1")


def no_big_means(records: Sequence[Record]) -> Iterable[str]:
    """An audit: means above 100 contradict the data."""
    return [
        f"{r.metric} of {r.roles['model']} is {r.value:g}, above 100"
        for r in records
        if r.status == "ok" and (r.value or 0) > 100
    ]


def counts(records: Sequence[Record]) -> Table:
    """A table: records by model."""
    names = sorted({r.roles["model"] for r in records})
    rows = [[Entry(text=n), Entry(text=str(sum(r.roles["model"] == n for r in records)))] for n in names]
    return Table(title="Counts", columns=[Column(name="model"), Column(name="records")], rows=rows)


@hookimpl
def lipbench_components() -> Iterable[Component]:
    kinds = {
        "task": {"multiply": "Multiply", "shared_multiply": "SharedMultiply"},
        "model": {"fixed": "Fixed", "learned": "Learned"},
        "dataset": {"numbers": "Numbers"},
        "metric": {"mean": "Mean", "wrong": "Wrong", "reads_other": "ReadsOther"},
        "method": {"square": "Square"},
    }
    for kind, names in kinds.items():
        for name, cls in names.items():
            yield Component(kind=kind, name=name, factory=f"{__name__}:{cls}", summary=f"toy {name}")  # type: ignore[arg-type]


@hookimpl
def lipbench_reports() -> Iterable[Report]:
    for task in ("multiply", "shared_multiply"):
        yield Report(
            kind="audit", name="no_big_means", task=task, factory=f"{__name__}:no_big_means", summary="means stay small"
        )
        yield Report(kind="table", name="counts", task=task, factory=f"{__name__}:counts", summary="how many")
