# SPDX-License-Identifier: Apache-2.0
"""Components of each kind that keep the contract; the planted faults are small changes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn

from lipbench.api import (
    Component,
    Context,
    Dataset,
    DataSpec,
    InvalidInput,
    Method,
    Metric,
    Model,
    Network,
    Split,
    Task,
    Value,
    hookimpl,
)


class Points(Dataset):
    """Uniform points in the unit square, labelled by the half in which they lie.

    Args:
        count: Points in each split.
    """

    licence = "drawn, no licence needed"

    def __init__(self, *, count: Annotated[int, Field(ge=1)] = 24) -> None:
        self.count = count

    def spec(self) -> DataSpec:
        return DataSpec(shape=(2,), low=0.0, high=1.0, classes=2)

    def load(self, split: str, ctx: Context) -> Split:
        rows = ctx.rng("rows").random((self.count, 2), dtype=np.float32)
        return Split(inputs=rows, targets=(rows[:, 0] > 0.5).astype(np.int64))


class Layer(Network):
    """One dense layer and a ReLU.

    Args:
        width: Outputs.
    """

    def __init__(self, *, width: Annotated[int, Field(ge=1)] = 3) -> None:
        self.width = width

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        dense = nn.Linear(spec.shape[0], self.width)
        generator = ctx.generator("weights")
        with torch.no_grad():
            for parameter in dense.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        return nn.Sequential(dense, nn.ReLU())


class Trained(Layer):
    """The same after some steps of gradient descent.

    Args:
        width: Outputs.
    """

    fitted = True

    def fit(self, data: Dataset, ctx: Context) -> None:
        inputs = torch.from_numpy(data.split("train", ctx).inputs)
        optimiser = torch.optim.SGD(self.module.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            self.module(inputs).square().mean().backward()
            optimiser.step()
        self.module.requires_grad_(False)


class Centre(Model):
    """The mean of the training rows."""

    fitted = True

    def build(self, spec: DataSpec, ctx: Context) -> None:
        self.centre = torch.zeros(spec.shape)

    def fit(self, data: Dataset, ctx: Context) -> None:
        self.centre = torch.from_numpy(data.split("train", ctx).inputs).mean(0)

    def state(self) -> Mapping[str, torch.Tensor]:
        return {"centre": self.centre}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        self.centre = state["centre"]


class Power(Method):
    """Distances to some power.

    Args:
        power: The power.
    """

    def __init__(self, *, power: Annotated[float, Field(gt=0)] = 1.0) -> None:
        self.power = power

    def between(self, rows: np.ndarray, centre: np.ndarray, ctx: Context) -> np.ndarray:
        size = ctx.batch(16)
        parts = [rows[i : i + size] - centre for i in range(0, len(rows), size)]
        return np.concatenate([np.linalg.norm(part, axis=1) for part in parts]) ** self.power


@dataclass(frozen=True)
class Distances:
    """Evidence: how far test points are from the centre."""

    values: np.ndarray
    """(N,) float32 distances, in the unit of the data."""


class Spread(Task):
    """How far are points from a learned centre?"""

    fits = {"model": "data"}

    def evidence(self, model: Centre, data: Dataset, distance: Power, ctx: Context) -> Distances:
        return Distances(distance.between(data.split("test", ctx).inputs, model.centre.numpy(), ctx))


class MeanDistance(Metric):
    """Mean distance."""

    def compute(self, evidence: Distances, ctx: Context) -> Value:
        if len(evidence.values) == 0:
            raise InvalidInput("mean_distance: there are no distances")
        return Value(value=float(evidence.values.astype(np.float64).mean()), direction="lower", unit="length", group="mean")


@hookimpl
def lipbench_components() -> Iterable[Component]:
    for kind, name, cls in (
        ("dataset", "points", "Points"),
        ("model", "layer", "Layer"),
        ("model", "trained_layer", "Trained"),
        ("model", "mean_row", "Centre"),
        ("method", "power", "Power"),
        ("task", "spread_of_points", "Spread"),
        ("metric", "mean_distance", "MeanDistance"),
    ):
        yield Component(kind=kind, name=name, factory=f"{__name__}:{cls}", summary=f"sound {name}")  # type: ignore[arg-type]
