# SPDX-License-Identifier: Apache-2.0
"""Small planar classifiers of one architecture, trained at once as stacked tensors, as the source trains one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, NotFinite

from ..engine.network import ReluNet, net_of
from ..models.base import ReluNets
from .descent import Descent

Weights = list[tuple[Tensor, Tensor]]


class ReluClassifiers(ReluNets):
    """R networks that differ in their initial weights alone, one output a class.

    SGD on the mean square error to the one-hot class, all replicas on the same batches; after every `every` batches the
    accuracy on the test split is kept, and at some of them the weights. None is drawn anew because it failed.

    Args:
        hidden: Widths of the hidden layers.
        replicas: R.
        batches: Steps of SGD; 0 keeps the initial weights.
        lr: Learning rate.
        momentum: Of SGD.
        weight_decay: Of SGD.
        batch_size: Rows in one step.
        every: Batches between two looks at the test split.
        snapshots: Times at which all weights are kept, beside the initial ones: batches in equal ratios up to the last.

    Source: Sattelberg et al. 2023, figures 8 to 11, where networks are drawn until one reaches 0.98.
    """

    fitted = True

    def __init__(
        self,
        *,
        hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (8, 8, 8),
        replicas: Annotated[int, Field(ge=1)] = 40,
        batches: Annotated[int, Field(ge=0)] = 1000,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        weight_decay: Annotated[float, Field(ge=0)] = 1e-4,
        batch_size: Annotated[int, Field(ge=1)] = 100,
        every: Annotated[int, Field(ge=1)] = 1,
        snapshots: Annotated[int, Field(ge=1)] = 7,
    ) -> None:
        self.hidden, self.replicas, self.batches = tuple(hidden), replicas, batches
        self.recipe = Descent(lr=lr, momentum=momentum, weight_decay=weight_decay, batch_size=batch_size)
        self.every, self.snapshots = every, snapshots

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Initial weights: uniform in plus and minus 1 / sqrt(fan-in), which is torch's default.

        Raises:
            InvalidInput: The data has no classes.
        """
        if spec.classes is None:
            raise InvalidInput("relu_classifiers learns classes, and this data has none")
        widths = (math.prod(spec.shape), *self.hidden, spec.classes)
        generator = ctx.generator("init")
        self.weights: Weights = []
        for a, b in pairwise(widths):
            w, c = (torch.rand(shape, generator=generator) for shape in ((self.replicas, b, a), (self.replicas, b, 1)))
            self.weights.append(((2 * w - 1) / math.sqrt(a), (2 * c - 1) / math.sqrt(a)))
        self.history: dict[int, Weights] = {0: self.weights}
        self.curve = torch.zeros(0, self.replicas)
        self.looks = torch.zeros(0, dtype=torch.int64)
        self.nets = _nets(self.weights)

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Train all of them.

        Raises:
            NotFinite: A weight is NaN or infinite.
        """
        if not self.batches:
            return
        train, test = data.split("train", ctx), data.split("test", ctx)
        if train.targets is None or test.targets is None:
            raise InvalidInput("relu_classifiers learns classes, and this data has none")
        x, y = torch.from_numpy(train.inputs), torch.from_numpy(train.targets)
        xt, yt = torch.from_numpy(test.inputs), torch.from_numpy(test.targets)
        self.weights = _copied(self.weights)
        moments = self._moments()
        one_hot = torch.nn.functional.one_hot(y, self.weights[-1][0].shape[1]).float()
        curve: list[Tensor] = []
        looks: list[int] = []
        for batch, _ in self.recipe.steps(
            [t.requires_grad_() for pair in self.weights for t in pair],
            lambda rows: (self._outputs(x[rows]) - one_hot[rows].T).square().mean((1, 2)).sum(),
            count=len(x),
            steps=self.batches,
            shuffle=ctx.generator("batches"),
        ):
            if batch % self.every == 0 or batch == self.batches:
                with torch.no_grad():
                    curve.append((self._outputs(xt).argmax(1) == yt).float().mean(1))
                looks.append(batch)
            if batch in moments:
                self.history[batch] = _copied(self.weights)
            if batch % 100 == 0:
                ctx.report(f"batch {batch}/{self.batches}, median accuracy {float(curve[-1].median()) if curve else 0:.3f}")
        self.weights = _copied(self.weights)
        if not all(bool(torch.isfinite(t).all()) for pair in self.weights for t in pair):
            raise NotFinite(f"a replica has weights that are not finite; write a smaller lr: than {self.recipe.lr:g}")
        self.curve, self.looks = torch.stack(curve), torch.tensor(looks)
        self.nets = _nets(self.weights)

    def _moments(self) -> set[int]:
        """The batches after which weights are kept."""
        return {round(self.batches ** (k / max(1, self.snapshots - 1))) for k in range(self.snapshots)} | {self.batches}

    def past(self) -> tuple[tuple[int, tuple[ReluNet, ...]], ...]:
        """Batches and the networks after them."""
        return tuple((batch, _nets(weights)) for batch, weights in sorted(self.history.items()))

    def _outputs(self, x: Tensor) -> Tensor:
        """(N, m) -> (R, classes, N)."""
        z = x.T.expand(self.replicas, -1, -1)
        for w, b in self.weights[:-1]:
            z = torch.baddbmm(b, w, z).relu()
        w, b = self.weights[-1]
        return torch.baddbmm(b, w, z)

    def state(self) -> Mapping[str, Tensor]:
        """Stacked weights at all moments, and the accuracies."""
        found = {"curve": self.curve, "looks": self.looks}
        for batch, weights in {**self.history, -1: self.weights}.items():
            found |= {f"{n}{i}.{batch}": t.detach() for i, pair in enumerate(weights) for n, t in zip("wb", pair, strict=True)}
        return found

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over stacked weights."""
        moments = sorted({int(key.split(".")[1]) for key in state if "." in key})
        layers = range(len(self.hidden) + 1)
        read = {m: [(state[f"w{i}.{m}"], state[f"b{i}.{m}"]) for i in layers] for m in moments}
        self.weights = read.pop(-1)
        self.history, self.curve, self.looks = read, state["curve"], state["looks"]
        self.nets = _nets(self.weights)


def _nets(weights: Weights) -> tuple[ReluNet, ...]:
    arrays: list[tuple[np.ndarray, np.ndarray]] = [
        (w.detach().double().numpy(), b.detach().double().numpy()[:, :, 0]) for w, b in weights
    ]
    return tuple(net_of([(w[r], b[r]) for w, b in arrays]) for r in range(len(arrays[0][0])))


def _copied(weights: Weights) -> Weights:
    return [(w.detach().clone(), b.detach().clone()) for w, b in weights]
