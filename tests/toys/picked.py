# SPDX-License-Identifier: Apache-2.0
"""A model of many parts that are fitted at once, of which each use picks one; a task and a metric that show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lipbench.api import Component, Context, Dataset, DataSpec, InvalidInput, Metric, Model, Split, Task, Value, hookimpl


class Noise(Dataset):
    """Rows that hang on the seed."""

    def spec(self) -> DataSpec:
        return DataSpec(shape=(2,), low=-9, high=9)

    def load(self, split: str, ctx: Context) -> Split:
        return Split(inputs=ctx.rng(split).uniform(-1, 1, (4, 2)).astype(np.float32))


class Parts(Model):
    """Mean of the training rows times each of three scales, for seeds 0 and 1; `tally` gets a line for each fit."""

    fitted = True
    picks = ("part", "seed")

    def __init__(self, *, tally: str, part: int = 0) -> None:
        self.tally, self.part = tally, part

    def build(self, spec: DataSpec, ctx: Context) -> None:
        if ctx.seed > 1:
            raise InvalidInput("there are two seeds")
        self.seed = ctx.seed

    def fit(self, data: Dataset, ctx: Context) -> None:
        with Path(self.tally).open("a") as file:
            file.write(f"part {self.part} seed {ctx.seed}\n")
        means = [float(data.split("train", replace(ctx, seed=seed)).inputs.mean()) for seed in (0, 1)]
        self.all = torch.tensor(means, dtype=torch.float64)[:, None] * torch.tensor([1, 10, 100], dtype=torch.float64)

    def state(self) -> Mapping[str, Tensor]:
        return {"all": self.all}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.value = float(state["all"][self.seed, self.part])


@dataclass(frozen=True)
class Shown:
    """Evidence."""

    value: float
    mean: float


class Show(Task):
    """What was picked, and the mean of the training rows of the job's seed."""

    fits = {"model": "data"}

    def evidence(self, model: Parts, data: Dataset, ctx: Context) -> Shown:
        return Shown(model.value, float(data.split("train", ctx).inputs.mean()))


class Ratio(Metric):
    """What was picked over the mean: the scale."""

    def compute(self, evidence: Shown, ctx: Context) -> Value:
        return Value(value=evidence.value / evidence.mean, direction="none", unit="1")


@hookimpl
def lipbench_components() -> Iterable[Component]:
    for kind, name, cls in (
        ("dataset", "noise", "Noise"),
        ("model", "parts", "Parts"),
        ("task", "show", "Show"),
        ("metric", "ratio", "Ratio"),
    ):
        yield Component(kind=kind, name=name, factory=f"picked:{cls}", summary="a toy")  # type: ignore[arg-type]
