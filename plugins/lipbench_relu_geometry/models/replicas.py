# SPDX-License-Identifier: Apache-2.0
"""Hundreds of small networks of one architecture, trained at once as stacked tensors on a known function."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, NotFinite

from ..data import Quadratic
from ..engine.network import ReluNet, net_of
from .base import ReluNets

Weights = list[tuple[Tensor, Tensor]]


class ReluReplicas(ReluNets):
    """R networks that differ in their initial weights alone, with one output.

    Adam on the mean square error, all replicas on the same batches, the rate falling to 0 along half a cosine. Of each the
    weights of the epoch with the smallest error on the validation rows are kept.

    Args:
        hidden: Widths of the hidden layers.
        replicas: R.
        epochs: Passes over the training rows; 0 keeps the initial weights.
        lr: Learning rate of Adam at the start.
        batch_size: Rows in one step.
        validation: Share of the training split that the error is measured on.
        snapshots: Times at which all weights are kept as well, beside the initial ones: epochs in equal ratios up to the last.
    """

    fitted = True

    def __init__(
        self,
        *,
        hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (10, 10),
        replicas: Annotated[int, Field(ge=1)] = 30,
        epochs: Annotated[int, Field(ge=0)] = 150,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-2,
        batch_size: Annotated[int, Field(ge=1)] = 256,
        validation: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        snapshots: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.hidden, self.replicas, self.epochs = tuple(hidden), replicas, epochs
        self.lr, self.batch_size, self.validation = lr, batch_size, validation
        self.snapshots = snapshots

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Initial weights: uniform in plus and minus 1 / sqrt(fan-in), which is torch's default."""
        widths = (math.prod(spec.shape), *self.hidden, 1)
        generator = ctx.generator("init")
        self.weights: Weights = []
        for a, b in pairwise(widths):
            w, c = (torch.rand(shape, generator=generator) for shape in ((self.replicas, b, a), (self.replicas, b, 1)))
            self.weights.append(((2 * w - 1) / math.sqrt(a), (2 * c - 1) / math.sqrt(a)))
        self.history: dict[int, Weights] = {}
        self.errors = torch.full((self.replicas,), torch.nan, dtype=torch.float64)
        self._read()

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Train all of them.

        Raises:
            InvalidInput: The data is no function with real values.
            NotFinite: A loss is NaN or infinite.
        """
        if not isinstance(data, Quadratic):
            raise InvalidInput(f"relu_replicas learns a function, and {type(data).__name__} has none; use data: quadratic")
        x = torch.from_numpy(data.split("train", ctx).inputs)
        y = torch.from_numpy(data.value(x.double().numpy())).float()
        order = torch.randperm(len(x), generator=ctx.generator("validation"))
        held = max(1, int(self.validation * len(x)))
        if len(x) <= held:
            raise InvalidInput("relu_replicas: there are no training rows left; lower validation: or use more rows")
        val, train = order[:held], order[held:]
        parameters = [t.requires_grad_() for pair in self.weights for t in pair]
        optimiser = torch.optim.Adam(parameters, lr=self.lr)
        steps = max(1, self.epochs * -(-len(train) // self.batch_size))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: 0.5 * (1 + math.cos(math.pi * k / steps)))
        best, kept = torch.full((self.replicas,), torch.inf), [t.detach().clone() for t in parameters]
        shuffle, moments = ctx.generator("batches"), self._moments()
        self.history = {0: _copied(self.weights)} if moments else {}
        for epoch in range(1, self.epochs + 1):
            for rows in torch.randperm(len(train), generator=shuffle).split(self.batch_size):
                optimiser.zero_grad(set_to_none=True)
                errors = self._errors(x[train[rows]], y[train[rows]])
                errors.sum().backward()
                optimiser.step()
                schedule.step()
            best, kept = self._keep(x[val], y[val], best, kept, parameters)
            if epoch in moments:
                self.history[epoch] = _copied(self.weights)
            if epoch % 10 == 0:
                ctx.report(f"epoch {epoch}/{self.epochs}, median error {float(best.median()):.3g}")
        if self.epochs and not bool(torch.isfinite(best).all()):
            raise NotFinite(f"a replica has no finite error; write a smaller lr: than {self.lr:g}")
        self.weights = [(w, b) for w, b in zip(kept[::2], kept[1::2], strict=True)]
        self._read()
        xv = x[val].double().numpy()
        truth = data.value(xv)
        self.errors = torch.tensor([float(((net(xv)[:, 0] - truth) ** 2).mean()) for net in self.nets], dtype=torch.float64)

    def _moments(self) -> set[int]:
        """The epochs after which weights are kept."""
        if not self.snapshots or not self.epochs:
            return set()
        return {round(self.epochs ** (k / max(1, self.snapshots - 1))) for k in range(self.snapshots)} | {self.epochs}

    def past(self) -> tuple[tuple[int, tuple[ReluNet, ...]], ...]:
        """Epochs and the networks after them."""
        return tuple((epoch, _nets(weights)) for epoch, weights in sorted(self.history.items()))

    def _errors(self, x: Tensor, y: Tensor) -> Tensor:
        """(R,) mean square errors."""
        z = x.T.expand(self.replicas, -1, -1)
        for w, b in self.weights[:-1]:
            z = torch.baddbmm(b, w, z).relu()
        w, b = self.weights[-1]
        return (torch.baddbmm(b, w, z)[:, 0] - y).square().mean(1)

    @torch.no_grad()
    def _keep(
        self, x: Tensor, y: Tensor, best: Tensor, kept: list[Tensor], parameters: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        errors = self._errors(x, y)
        better = errors < best
        keep = [torch.where(better[:, None, None], now, old) for now, old in zip(parameters, kept, strict=True)]
        return torch.where(better, errors, best), keep

    def state(self) -> Mapping[str, Tensor]:
        """Stacked weights, and the errors on the validation rows."""
        found = _named(self.weights, "")
        for epoch, weights in self.history.items():
            found |= _named(weights, f"epoch{epoch}.")
        return found | {"errors": self.errors}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over stacked weights."""
        layers = range(len(self.hidden) + 1)
        self.weights = [(state[f"w{i}"], state[f"b{i}"]) for i in layers]
        epochs = {int(key[5:].split(".")[0]) for key in state if key.startswith("epoch")}
        self.history = {e: [(state[f"epoch{e}.w{i}"], state[f"epoch{e}.b{i}"]) for i in layers] for e in epochs}
        self.errors = state["errors"]
        self._read()

    def _read(self) -> None:
        self.nets = _nets(self.weights)


def _nets(weights: Weights) -> tuple[ReluNet, ...]:
    arrays = [(w.detach().double().numpy(), b.detach().double().numpy()[:, :, 0]) for w, b in weights]
    return tuple(net_of([(w[r], b[r]) for w, b in arrays]) for r in range(len(arrays[0][0])))


def _copied(weights: Weights) -> Weights:
    return [(w.detach().clone(), b.detach().clone()) for w, b in weights]


def _named(weights: Weights, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{n}{i}": t.detach() for i, pair in enumerate(weights) for n, t in zip("wb", pair, strict=True)}
