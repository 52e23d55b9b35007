# SPDX-License-Identifier: Apache-2.0
"""The task `locally_linear`: the local affine maps of a network, and of a second one at the same points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Model, Network, NotApplicable, Stage, Task

from ..engine.network import ReluNet
from ..models.base import ReluNets
from .replicas import ReluClassifiers
from .rows import local_rows, net_rows

Tensors = Mapping[str, Tensor]
_ROWS = 512


class NoTarget(Model):
    """There is no second network: what is measured needs one alone."""

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Nothing to make."""


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Local maps of one network, float64."""

    train: Tensor
    """(o, N, d + 1) rows [w; b] at the training points."""
    test: Tensor
    """(o, M, d + 1)."""
    train_outputs: Tensor
    """(N, o) what the network itself gives."""
    test_outputs: Tensor
    """(M, o)."""


@dataclass(frozen=True, kw_only=True)
class Local:
    """What every metric of this task reads. Points are standardised by one mean and deviation of all training numbers."""

    maps: Maps | None
    """None where the first network is a set of replicas."""
    target: Maps | None
    nets: tuple[ReluNet, ...]
    """The first network as matrices, where it is an oracle or replicas of one architecture."""
    replicas: ReluClassifiers | None
    module: nn.Module | None
    """The first network, float64 in eval mode, where it is one of torch."""
    spec: DataSpec
    train: Tensor
    """(N, d)."""
    test: Tensor
    """(M, d)."""
    raw_test: np.ndarray
    """(M, d) float64 test points in the raw unit of the data."""
    train_labels: Tensor
    test_labels: Tensor
    rng: Callable[[str], np.random.Generator]
    """Draws that metrics of one job share, by the name of the stream."""
    generator: Callable[[str], torch.Generator]
    """The same of torch."""
    kept: dict[Any, Any] = field(default_factory=dict)
    """What metrics of one job share; it never depends on who asked first."""

    def own(self, who: str) -> Maps:
        """The local maps of the first network.

        Raises:
            NotApplicable: There are several networks.
        """
        if self.maps is None:
            raise NotApplicable(f"{who} reads the local maps of one network on labelled data; leave it out here")
        return self.maps

    def pair(self, who: str) -> tuple[Maps, Maps]:
        """The local maps of both networks.

        Raises:
            NotApplicable: There is no second network.
        """
        if self.target is None:
            raise NotApplicable(f"{who} needs a second network; write target: with one, or leave it out here")
        return self.own(who), self.target

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Something that several metrics need, made by the first."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]


class LocallyLinear(Task):
    """What do the local affine maps of a ReLU network say, alone and beside those of another network?

    Source: B. Sattelberg, R. Cavalieri, M. Kirby, C. Peterson, R. Beveridge, Locally linear attributes of ReLU neural networks,
    Front. Artif. Intell. 6:1255192, 2023.
    """

    fits: ClassVar[Mapping[str, str]] = {"network": "data", "target": "data"}
    stages: ClassVar[Mapping[str, Stage | tuple[Stage, ...]]] = {
        "maps": Stage(method="local_maps", inputs={"network": "network", "data": "data"}),
        "target_maps": Stage(method="local_maps", inputs={"network": "target", "data": "data"}),
    }
    shared: ClassVar[bool] = True

    def local_maps(self, network: Model, data: Dataset, ctx: Context) -> Tensors:
        """Rows and outputs at all points of both splits; empty where the model is no single network."""
        single = isinstance(network, ReluNets) and len(network.nets) == 1
        if not (single or isinstance(network, Network)):
            return {"none": torch.zeros(1)}
        mean, scale = _standard(data, ctx)
        found: dict[str, Tensor] = {}
        for split in ("train", "test"):
            x = torch.from_numpy(data.split(split, ctx).inputs).double()
            if isinstance(network, Network):
                module = network.module.double().eval()
                rows, outputs = local_rows(module, x, mean=mean, scale=scale, batch=ctx.batch(_ROWS))
            else:
                rows, outputs = net_rows(cast(ReluNets, network).nets[0], x.flatten(1), mean=mean, scale=scale)
            found |= {split: rows, f"{split}_outputs": outputs}
        return found

    def evidence(
        self, network: Model, target: Model, data: Dataset, maps: Tensors, target_maps: Tensors, ctx: Context
    ) -> Local:
        """Put maps, points and labels together.

        Raises:
            InvalidInput: The data has no labels.
        """
        mean, scale = _standard(data, ctx)
        points: dict[str, Any] = {}
        for split in ("train", "test"):
            part = data.split(split, ctx)
            if part.targets is None:
                raise InvalidInput("locally_linear needs data with classes")
            points[split] = (torch.from_numpy(part.inputs).double().flatten(1) - mean) / scale
            points[f"{split}_labels"] = torch.from_numpy(part.targets)
        return Local(
            maps=Maps(**maps) if "train" in maps else None,
            target=Maps(**target_maps) if "train" in target_maps else None,
            nets=network.nets if isinstance(network, ReluNets) else (),
            replicas=network if isinstance(network, ReluClassifiers) else None,
            module=network.module.double().eval() if isinstance(network, Network) else None,
            spec=data.spec(),
            raw_test=data.split("test", ctx).inputs.astype(np.float64).reshape(len(points["test"]), -1),
            rng=ctx.rng,
            generator=ctx.generator,
            **points,
        )


def _standard(data: Dataset, ctx: Context) -> tuple[float, float]:
    x = data.split("train", ctx).inputs.astype(np.float64)
    return float(x.mean()), float(x.std()) or 1.0
