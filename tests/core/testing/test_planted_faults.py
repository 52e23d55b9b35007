# SPDX-License-Identifier: Apache-2.0
"""The kit finds faults that authors make: each is planted in a sound component, and the check that must find it is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from pydantic import Field
from sound import Distances, Layer, MeanDistance, Points, Power, Trained
from torch import nn

from lipbench.api import Context, Dataset, DataSpec, Interval, InvalidInput, Metric, Network, Split, Value
from lipbench.testing import ConformanceError, check_dataset, check_method, check_metric, check_model


def found_by(call: Callable[[], Any]) -> set[str]:
    """Names of the checks that find a fault."""
    with pytest.raises(ConformanceError) as caught:
        call()
    return set(re.findall(r"^  (\w+):", str(caught.value), flags=re.MULTILINE))


# Datasets


class GlobalDraws(Points):
    """Draws from numpy's global generator.

    Args:
        count: Points.
    """

    def load(self, split: str, ctx: Context) -> Split:
        return replace(super().load(split, ctx), inputs=np.random.rand(self.count, 2).astype(np.float32))  # noqa: NPY002


class Leaky(Points):
    """Its test split is its train split.

    Args:
        count: Points.
    """

    def load(self, split: str, ctx: Context) -> Split:
        return super().load("train", replace(ctx, scope="always the same"))


class Doubles(Points):
    """Rows are float64.

    Args:
        count: Points.
    """

    def load(self, split: str, ctx: Context) -> Split:
        part = super().load(split, ctx)
        return replace(part, inputs=part.inputs.astype(np.float64))


class OutOfRange(Points):
    """Rows in 0 to 255, although the spec says 0 to 1.

    Args:
        count: Points.
    """

    def load(self, split: str, ctx: Context) -> Split:
        part = super().load(split, ctx)
        return replace(part, inputs=part.inputs * 255)


class OneBased(Points):
    """Classes from 1.

    Args:
        count: Points.
    """

    def load(self, split: str, ctx: Context) -> Split:
        part = super().load(split, ctx)
        return replace(part, targets=part.targets + 1)


class Unlicensed(Points):
    """No licence.

    Args:
        count: Points.
    """

    licence = ""


class Undocumented(Points):
    """Says nothing of its parameter."""

    def __init__(self, *, count: int = 8) -> None:
        super().__init__(count=count)


class BadDefault(Points):
    """Its default is outside of its own range.

    Args:
        count: Points.
    """

    def __init__(self, *, count: Annotated[int, Field(ge=1)] = 0) -> None:
        super().__init__(count=count or 8)


class SharedList(Points):
    """Its instances share a list.

    Args:
        count: Points.
    """

    seen: list[int] = []

    def __init__(self, *, count: int = 8) -> None:
        super().__init__(count=count)
        self.seen = SharedList.seen


class SharedRows(Points):
    """All readers get one array.

    Args:
        count: Points.
    """

    def split(self, name: str, ctx: Context) -> Split:
        kept = vars(self).setdefault("kept", {})
        return kept.setdefault(name, self.load(name, replace(ctx, scope=name)))


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (GlobalDraws, "determinism"),
        (Leaky, "splits"),
        (Doubles, "rows"),
        (OutOfRange, "rows"),
        (OneBased, "rows"),
        (Unlicensed, "licence"),
        (Undocumented, "documentation"),
        (BadDefault, "schema"),
        (SharedList, "construction"),
        (SharedRows, "independence"),
    ],
)
def test_datasets(cls: type[Dataset], check: str) -> None:
    assert check in found_by(lambda: check_dataset(cls))


# Models


def layered(make: Callable[[Layer, DataSpec, Context], nn.Module], base: type[Layer] = Layer) -> type[Layer]:
    """A sound layer with another network inside."""
    return type("Planted", (base,), {"make": make, "__doc__": Layer.__doc__, "__init__": Layer.__init__})


class Wrapped(nn.Module):
    """Applies a function after a network."""

    def __init__(self, inner: nn.Module, after: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.after = inner, after

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.after(self.inner(rows))


def followed_by(after: Callable[[torch.Tensor], torch.Tensor]) -> type[Layer]:
    return layered(lambda self, spec, ctx: Wrapped(Layer.make(self, spec, ctx), after))


class Forgetful(Trained):
    """Keeps a scale outside of its state.

    Args:
        width: Outputs.
    """

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        return Wrapped(super().make(spec, ctx), lambda rows: rows * getattr(self, "scale", 1.0))

    def fit(self, data: Dataset, ctx: Context) -> None:
        super().fit(data, ctx)
        self.scale = 3.0


class NeverFitted(Trained):
    """Defines fit but is not marked.

    Args:
        width: Outputs.
    """

    fitted = False


class UnseededFit(Trained):
    """Shuffles by a generator of its own.

    Args:
        width: Outputs.
    """

    def fit(self, data: Dataset, ctx: Context) -> None:
        super().fit(data, ctx)
        with torch.no_grad():
            self.module[0].bias += torch.randn(self.width, generator=torch.Generator().manual_seed(id(self)))


class Training(Layer):
    """Leaves the network in training mode.

    Args:
        width: Outputs.
    """

    def build(self, spec: DataSpec, ctx: Context) -> None:
        self.module = self.make(spec, ctx).train()


DEFAULT_INIT = layered(lambda self, spec, ctx: nn.Sequential(nn.Linear(2, self.width)))


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (DEFAULT_INIT, "building"),
        (NeverFitted, "fitting"),
        (UnseededFit, "fitting"),
        (Forgetful, "state"),
        (Training, "evaluation_mode"),
        (followed_by(lambda rows: rows - rows.mean(0)), "batch_independence"),
        (followed_by(lambda rows: rows + torch.rand_like(rows)), "output"),
        (followed_by(lambda rows: rows.squeeze()), "batch_independence"),
        (followed_by(torch.nan_to_num), "nan_inputs"),
        (followed_by(lambda rows: rows.reshape(len(rows), -1) if len(rows) else torch.zeros(1, 3)), "empty_batch"),
        (followed_by(lambda rows: rows.float()), "dtype_moves"),
        (followed_by(lambda rows: rows * torch.ones(3, dtype=rows.dtype)), "device_moves"),
        (followed_by(lambda rows: rows.double()), "output"),
    ],
)
def test_models(cls: type[Network], check: str) -> None:
    assert check in found_by(lambda: check_model(cls, data=Points()))


# Metrics


def measured(compute: Callable[[Any, Distances, Context], Value]) -> type[Metric]:
    """The sound metric with another way to compute."""
    return type("Planted", (MeanDistance,), {"compute": compute, "__doc__": "Mean distance."})


def mean(values: np.ndarray, **changed: Any) -> Value:
    if len(values) == 0:
        raise InvalidInput("no distances")
    facts = {"value": float(np.mean(values, dtype=np.float64)), "direction": "lower", "unit": "length"}
    return Value(**{**facts, **changed})


def in_batches(self: Any, evidence: Distances, ctx: Context) -> Value:
    size = ctx.batch(8)
    means = [evidence.values[i : i + size].mean() for i in range(0, len(evidence.values), size)]
    return mean(np.asarray(means))


def in_place(self: Any, evidence: Distances, ctx: Context) -> Value:
    evidence.values.sort()
    return mean(evidence.values)


def counting(self: Any, evidence: Distances, ctx: Context) -> Value:
    self.calls = getattr(self, "calls", 0) + 1
    return mean(evidence.values * self.calls)


def unseeded(self: Any, evidence: Distances, ctx: Context) -> Value:
    return mean(evidence.values + np.random.default_rng().random())


def from_global(self: Any, evidence: Distances, ctx: Context) -> Value:
    return mean(evidence.values + np.random.rand())  # noqa: NPY002


def spread(self: Any, evidence: Distances, ctx: Context) -> Value:
    if len(evidence.values) == 0:
        raise InvalidInput("no distances")
    with np.errstate(all="ignore"):
        return mean(
            evidence.values,
            value=float(
                np.sqrt(np.sum((evidence.values - evidence.values.mean()) ** 2) / np.float64(len(evidence.values) - 1))
            ),
        )


OFF = Interval(low=5.0, high=6.0, level=0.95, method="bootstrap")


@pytest.mark.parametrize(
    ("compute", "check"),
    [
        (lambda self, evidence, ctx: mean(evidence.values).value, "value"),
        (lambda self, evidence, ctx: mean(evidence.values, unit=" "), "value"),
        (lambda self, evidence, ctx: mean(evidence.values, interval=OFF), "value"),
        (lambda self, evidence, ctx: mean(evidence.values * 100), "value"),
        (lambda self, evidence, ctx: mean(evidence.values, unit="1"), "unit"),
        (lambda self, evidence, ctx: mean(evidence.values, direction="higher"), "direction"),
        (unseeded, "determinism"),
        (from_global, "determinism"),
        (counting, "determinism"),
        (in_place, "evidence_unchanged"),
        (in_batches, "batch_independence"),
        (lambda self, evidence, ctx: mean(np.nan_to_num(evidence.values)), "nan_evidence"),
        (lambda self, evidence, ctx: mean(evidence.values[:1]), "invariances"),
        (lambda self, evidence, ctx: mean(evidence.values + 0.1), "invariances"),
        (spread, "single_row"),
    ],
)  # fmt: skip
def test_metrics(compute: Callable[[Any, Distances, Context], Value], check: str) -> None:
    def evidence() -> Distances:
        return Distances(np.array([0.9, 0.1, 0.4, 0.3, 0.8, 0.7, 0.2, 0.5, 0.6, 0.05, 0.15], np.float32))

    assert check in found_by(
        lambda: check_metric(
            measured(compute),
            evidence=evidence,
            better=lambda: Distances(evidence().values / 2),
            unit="length",
            bounds=(0.0, 1.0),
            invariances={"permutation": None, "scaling": 1},
        )
    )


def test_a_number_without_rows() -> None:
    sums = measured(lambda self, evidence, ctx: Value(value=float(evidence.values.sum()), direction="lower", unit="length"))
    assert "empty_evidence" in found_by(lambda: check_metric(sums, evidence=lambda: Distances(np.ones(5, np.float32))))


def largest(self: Any, evidence: Distances, ctx: Context) -> Value:
    return Value(value=float(evidence.values.max()), direction="lower", unit="length")


def test_no_rows_that_raise_something_obscure() -> None:
    assert found_by(lambda: check_metric(measured(largest), evidence=lambda: Distances(np.ones(5, np.float32)))) == {
        "empty_evidence"
    }


# Methods


def powered(between: Callable[..., np.ndarray]) -> type[Power]:
    return type("Planted", (Power,), {"between": between, "__doc__": Power.__doc__, "__init__": Power.__init__})


def noisy(self: Power, rows: np.ndarray, centre: np.ndarray, ctx: Context) -> np.ndarray:
    return Power.between(self, rows, centre, ctx) + np.random.default_rng().random()


def writing(self: Power, rows: np.ndarray, centre: np.ndarray, ctx: Context) -> np.ndarray:
    rows -= centre
    return Power.between(self, rows, 0 * centre, ctx)


def batched(self: Power, rows: np.ndarray, centre: np.ndarray, ctx: Context) -> np.ndarray:
    size = ctx.batch(16)
    return np.concatenate([np.linalg.norm(rows[i : i + size] - rows[i : i + size].mean(0), axis=1) for i in range(0, len(rows), size)])  # fmt: skip


def hiding(self: Power, rows: np.ndarray, centre: np.ndarray, ctx: Context) -> np.ndarray:
    return np.nan_to_num(Power.between(self, rows, centre, ctx))


def infinite(self: Power, rows: np.ndarray, centre: np.ndarray, ctx: Context) -> np.ndarray:
    return Power.between(self, rows, centre, ctx) + np.inf


@pytest.mark.parametrize(
    ("between", "check"),
    [
        (noisy, "determinism"),
        (writing, "inputs_unchanged"),
        (batched, "batch_independence"),
        (hiding, "nan_inputs"),
        (infinite, "result"),
    ],
)
def test_methods(between: Callable[..., np.ndarray], check: str) -> None:
    rows = np.random.default_rng(0).random((20, 3)).astype(np.float32)

    def inputs() -> Mapping[str, np.ndarray]:
        return {"rows": rows.copy(), "centre": rows.mean(0)}

    assert check in found_by(
        lambda: check_method(powered(between), inputs=inputs, call=lambda m, given, ctx: m.between(**given, ctx=ctx))
    )
