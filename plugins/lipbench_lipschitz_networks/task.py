# SPDX-License-Identifier: Apache-2.0
"""The task `lipschitz_network`: a network that is meant to be 1-Lipschitz, on data of two or more classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec, Network, NotApplicable, Stage, Task

from .layers import product_bound
from .models.base import TrainedNetwork
from .transport import wasserstein1

SplitName = Literal["train", "test"]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One split."""

    x: Tensor
    """(N, *shape) float32 in the raw unit of the data."""
    y: Tensor | None
    """(N,) int64 classes."""
    f: Tensor
    """(N, m) outputs of the exported network."""

    def labelled(self) -> tuple[Tensor, Tensor]:
        """Outputs and classes.

        Raises:
            NotApplicable: There are no classes.
        """
        if self.y is None:
            raise NotApplicable("the data has no classes; leave this metric out")
        return self.f, self.y


@dataclass(frozen=True, kw_only=True)
class NetworkOnClasses:
    """What every metric of this task reads."""

    network: Network
    module: nn.Sequential
    """The exported network, float32 in eval mode, on the CPU."""
    data: Dataset
    spec: DataSpec
    train: Rows
    test: Rows
    transport: Mapping[str, Tensor]
    """Of the stage: see `LipschitzNetwork.transported`."""

    def split(self, name: SplitName) -> Rows:
        """One of both."""
        return self.train if name == "train" else self.test

    def trained(self) -> TrainedNetwork:
        """The network with its constrained form.

        Raises:
            NotApplicable: It has none.
        """
        if not isinstance(self.network, TrainedNetwork):
            raise NotApplicable(f"{type(self.network).__name__} has no constrained form; use lip_mlp or lip_conv")
        return self.network

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Rows of class 0 and class 1 of the training split, as many of each: those between which W1 was computed.

        Raises:
            NotApplicable: The data has not two classes, or the network not one output.
        """
        rows = self.transport["rows"]
        if rows.shape[1] == 0 or self.train.f.shape[1] != 1:
            raise NotApplicable("KR and W1 are between two classes of a network with one output")
        return rows[0], rows[1]

    def bound(self) -> float:
        """The product bound of the exported network, an upper bound on its l2 constant."""
        return product_bound(self.module, self.spec.shape)[0]


class LipschitzNetwork(Task):
    """What is a network that was built to be 1-Lipschitz: its distance between two classes, its certificates, its constant.

    Class 0 has the sign +1, class 1 the sign -1. Everything is measured on the exported network, in l2 and in the raw unit of
    the data.

    Args:
        rows: Most training rows of each class between which W1 is computed and KR is compared with it.
    """

    fits: ClassVar[Mapping[str, str]] = {"network": "data"}
    stages: ClassVar[Mapping[str, Stage | tuple[Stage, ...]]] = {
        "transport": Stage(method="transported", inputs={"data": "data"}, params=("rows",))
    }
    shared = True

    def __init__(self, *, rows: Annotated[int, Field(ge=1)] = 2500) -> None:
        self.rows = rows

    def transported(self, data: Dataset, ctx: Context) -> Mapping[str, Tensor]:
        """Distances between the classes of the training split, exact.

        Returns:
            `rows` (2, n) the rows of both classes, `facts` (4,) float64: W1 by l2 distances, W1 by l1 distances, the distance of
            the means, and the smallest distance of two rows. n is 0 where there are not two classes.
        """
        part = data.split("train", ctx)
        classes = (
            [] if part.targets is None else [np.flatnonzero(part.targets == c) for c in range(int(part.targets.max()) + 1)]
        )
        if len(classes) != 2 or data.spec().classes != 2:
            return {"rows": torch.zeros((2, 0), dtype=torch.int64), "facts": torch.zeros(4, dtype=torch.float64)}
        count = min(self.rows, *map(len, classes))
        rows = [ctx.rng(f"class {c}").permutation(r)[:count] for c, r in enumerate(classes)]
        a, b = (part.inputs[r].reshape(count, -1).astype(np.float64) for r in rows)
        facts = [
            wasserstein1(a, b),
            wasserstein1(a, b, "cityblock"),
            float(np.linalg.norm(a.mean(0) - b.mean(0))),
            _closest(a, b),
        ]
        return {"rows": torch.from_numpy(np.stack(rows)), "facts": torch.tensor(facts, dtype=torch.float64)}

    def evidence(self, network: Network, data: Dataset, transport: Mapping[str, Tensor], ctx: Context) -> NetworkOnClasses:
        """Both splits through the exported network."""
        module = network.module
        if not isinstance(module, nn.Sequential):
            raise NotApplicable(f"{type(network).__name__} is no plain sequence of layers")
        module = module.eval().requires_grad_(False)
        splits = []
        for name in ("train", "test"):
            part = data.split(name, ctx)
            x = torch.from_numpy(part.inputs)
            y = None if part.targets is None else torch.from_numpy(part.targets)
            splits.append(Rows(x=x, y=y, f=outputs(module, x, ctx)))
        return NetworkOnClasses(
            network=network, module=module, data=data, spec=data.spec(), train=splits[0], test=splits[1], transport=transport
        )


@torch.no_grad()
def outputs(module: nn.Module, x: Tensor, ctx: Context) -> Tensor:
    """(N, m) outputs of many rows."""
    return torch.cat([module(part) for part in x.split(ctx.batch(2048))])


def _closest(a: np.ndarray, b: np.ndarray) -> float:
    from sklearn.neighbors import NearestNeighbors

    return float(NearestNeighbors(n_neighbors=1).fit(a).kneighbors(b)[0].min())
