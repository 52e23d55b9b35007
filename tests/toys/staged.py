# SPDX-License-Identifier: Apache-2.0
"""A task with stages: pairs of models share what is computed for one model, and every computation leaves a line in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lipbench.api import Component, Context, Dataset, DataSpec, Metric, Model, Split, Stage, Task, Value, hookimpl

Tensors = Mapping[str, torch.Tensor]


def tell(path: str, line: str) -> None:
    if path:
        with Path(path).open("a") as file:
            file.write(f"{line}\n")


class Rows(Dataset):
    """Eight random rows."""

    def spec(self) -> DataSpec:
        return DataSpec(shape=(2,), low=0.0, high=1.0)

    def load(self, split: str, ctx: Context) -> Split:
        return Split(inputs=ctx.rng().random((8, 2), dtype=np.float32))


class Factor(Model):
    """A learned factor.

    Args:
        scale: What it learns to multiply the mean with.
        broken: Fail in the fit.
        tally: File that gets a line for each fit.
    """

    fitted = True

    def __init__(self, *, scale: float = 1.0, broken: bool = False, tally: str = "") -> None:
        self.scale, self.broken, self.tally = scale, broken, tally

    def build(self, spec: DataSpec, ctx: Context) -> None:
        self.value = torch.zeros(())

    def fit(self, data: Dataset, ctx: Context) -> None:
        tell(self.tally, f"fit {self.scale:g}")
        if self.broken:
            raise RuntimeError("this model cannot be fitted")
        self.value = torch.tensor(self.scale * float(data.split("train", ctx).inputs.mean()))

    def state(self) -> Tensors:
        return {"value": self.value}

    def load_state(self, state: Tensors) -> None:
        self.value = state["value"]


@dataclass(frozen=True)
class Inner:
    values: torch.Tensor


@dataclass(frozen=True)
class Product:
    left: torch.Tensor
    right: torch.Tensor
    stage: torch.Tensor
    inner: Inner
    memo: dict[str, torch.Tensor] = field(default_factory=dict)


def _view(model: str, **only: tuple[object, ...]) -> Stage:
    return Stage(method="view", inputs={"model": model, "data": "data"}, params=("offset",), only=only)


class Pairs(Task):
    """The product of two models' views.

    Args:
        offset: Added to every view; a stage reads it.
        weight: Of the product; no stage reads it.
        mirrored: Let the right view be that of the left model.
        tally: File that gets a line for each stage that is computed.
    """

    fits = {"left": "data", "right": "data"}
    shared = True
    stages = {
        "left_view": _view("left"),
        "right_view": (_view("right", mirrored=(False,)), _view("left", mirrored=(True,))),
        "norm": Stage(method="normed", inputs={"view": "left_view"}),
    }

    def __init__(self, *, offset: float = 0.0, weight: float = 1.0, mirrored: bool = False) -> None:
        self.offset, self.weight, self.mirrored = offset, weight, mirrored

    def view(self, model: Factor, data: Dataset, ctx: Context) -> Tensors:
        tell(model.tally, f"view {model.scale:g} {self.offset:g} {self.weight:g} {ctx.seed}")
        noise = torch.rand(3, generator=ctx.generator("view"))
        return {"x": torch.from_numpy(data.split("test", ctx).inputs).sum() * model.value + self.offset + noise}

    def normed(self, view: Tensors, ctx: Context) -> Tensors:
        return {"norm": view["x"].norm()}

    def evidence(
        self, left: Factor, right: Factor, data: Dataset, left_view: Tensors, right_view: Tensors, norm: Tensors, ctx: Context
    ) -> Product:
        return Product(
            self.weight * left_view["x"] / norm["norm"], right_view["x"], left_view["x"], Inner(right_view["x"].clone())
        )


class Dot(Metric):
    """Scalar product."""

    def compute(self, evidence: Product, ctx: Context) -> Value:
        return Value(value=float(evidence.left @ evidence.right), direction="higher", unit="1")


class Spoil(Metric):
    """Writes into a stage that others read."""

    def compute(self, evidence: Product, ctx: Context) -> Value:
        evidence.stage.zero_()
        return Value(value=0.0, direction="higher", unit="1")


class SpoilInner(Metric):
    """Writes into what a field of the evidence holds."""

    def compute(self, evidence: Product, ctx: Context) -> Value:
        evidence.inner.values.zero_()
        return Value(value=0.0, direction="higher", unit="1")


class Remember(Metric):
    """Keeps something for other metrics to share."""

    def compute(self, evidence: Product, ctx: Context) -> Value:
        evidence.memo["dot"] = evidence.left @ evidence.right
        return Value(value=1.0, direction="higher", unit="1")


@hookimpl
def lipbench_components() -> Iterable[Component]:
    yield Component(kind="dataset", name="rows", factory="staged:Rows", summary="eight random rows")
    yield Component(kind="model", name="factor", factory="staged:Factor", summary="a learned factor")
    yield Component(kind="task", name="pairs", factory="staged:Pairs", summary="the product of two views")
    yield Component(kind="metric", name="dot", factory="staged:Dot", summary="scalar product")
    yield Component(kind="metric", name="spoil_inner", factory="staged:SpoilInner", summary="writes into a field of a field")
    yield Component(kind="metric", name="remember", factory="staged:Remember", summary="keeps something")
    yield Component(kind="metric", name="spoil", factory="staged:Spoil", summary="writes into a stage")
