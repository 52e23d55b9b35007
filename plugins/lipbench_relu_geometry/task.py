# SPDX-License-Identifier: Apache-2.0
"""The task `relu_geometry`: networks and the points around which their cells are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from lipbench_basics.attacks import Attack, Victim
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Model, Network, NotApplicable, Task

from .engine.network import ReluNet
from .models.base import nets_of
from .models.replicas import ReluReplicas


class Unchanged(Attack):
    """Gives the inputs back as they are: the clean points beside attacked ones."""

    own: ClassVar[bool] = False

    def craft(self, victim: Victim, x: Tensor, y: Tensor, ctx: Context, ids: np.ndarray | None = None) -> Tensor:
        """The inputs."""
        return x


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What every metric of this task reads. Points are float64 rows of m numbers in units of the data: pixels in [0, 1]."""

    nets: tuple[ReluNet, ...]
    """One network, or the replicas of one architecture."""
    spec: DataSpec
    x: np.ndarray
    """(N, m) the points, attacked where there is an attack."""
    clean: np.ndarray
    """(N, m) the same points before the attack."""
    y: np.ndarray | None
    """(N,) classes, None where there are none."""
    other: Callable[[], tuple[np.ndarray, np.ndarray | None]]
    """The training split, all of it: (M, m) and (M,)."""
    split: str
    attacked: bool
    errors: np.ndarray | None
    """(R,) mean square errors of replicas on their validation rows."""
    past: tuple[tuple[int, tuple[ReluNet, ...]], ...]
    """Epochs and the replicas after them, where these were kept."""
    rng: Callable[[str], np.random.Generator]
    """Draws that metrics of one job share, by the name of the stream."""
    kept: dict[Any, Any] = field(default_factory=dict)
    """What metrics of one job share; it never depends on who asked first."""

    def net(self, who: str) -> ReluNet:
        """The one network.

        Raises:
            NotApplicable: There are several.
        """
        if len(self.nets) > 1:
            raise NotApplicable(f"{who} looks at one network, here there are {len(self.nets)} replicas; leave it out here")
        return self.nets[0]

    def labels(self, who: str) -> np.ndarray:
        """The classes.

        Raises:
            NotApplicable: There are none.
        """
        if self.y is None:
            raise NotApplicable(f"{who} needs classes, and this data has none; leave it out here")
        return self.y

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Something that several metrics need, made by the first."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]


class ReluGeometry(Task):
    """How does a ReLU network cut its input space, and what is special about where data lie?

    Args:
        split: Which split the points are from.
        points: Most points; the first rows of a shuffle that depends on the seed alone.

    Source: Y. Liu, T. Caglar, C. Peterson, M. Kirby, Integrating geometries of ReLU feedforward neural networks, Front. Big
    Data 6:1274831, 2023.
    """

    fits: ClassVar[Mapping[str, str]] = {"network": "data"}
    shared: ClassVar[bool] = True

    def __init__(self, *, split: Literal["train", "test"] = "test", points: Annotated[int, Field(ge=2)] = 500) -> None:
        self.split, self.points = split, points

    def evidence(self, network: Model, data: Dataset, attack: Attack, ctx: Context) -> Geometry:
        """Read the network, choose points and attack them."""
        spec, part = data.spec(), data.split(self.split, ctx)
        unit = spec.unit
        rows = ctx.rng("points").permutation(len(part.inputs))[: self.points]
        inputs = torch.from_numpy(part.inputs[rows])
        targets = None if part.targets is None else torch.from_numpy(part.targets[rows])
        attacked = not isinstance(attack, Unchanged)
        moved = _attacked(network, attack, spec, inputs, targets, ctx) if attacked else inputs

        def other() -> tuple[np.ndarray, np.ndarray | None]:
            train = data.split("train", ctx)
            return _flat(torch.from_numpy(train.inputs)) / unit, train.targets

        return Geometry(
            nets=tuple(n.in_units(unit) for n in nets_of(network, int(np.prod(spec.shape)))),
            spec=replace(spec, low=spec.low / unit, high=spec.high / unit, unit=1.0),
            x=_flat(moved) / unit,
            clean=_flat(inputs) / unit,
            y=None if targets is None else targets.numpy(),
            other=other,
            split=self.split,
            attacked=attacked,
            errors=network.errors.numpy() if isinstance(network, ReluReplicas) and network.epochs else None,
            past=_past(network, unit),
            rng=ctx.rng,
        )


def _past(network: Model, unit: float) -> tuple[tuple[int, tuple[ReluNet, ...]], ...]:
    past = network.past() if isinstance(network, ReluReplicas) else ()
    return tuple((epoch, tuple(n.in_units(unit) for n in nets)) for epoch, nets in past)


def _flat(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.flatten(1).double().numpy()
    return found


def _attacked(network: Model, attack: Attack, spec: DataSpec, x: Tensor, y: Tensor | None, ctx: Context) -> Tensor:
    if not isinstance(network, Network) or y is None:
        raise InvalidInput("an attack needs a classifier such as mlp and data with classes; write attack: unchanged")
    victim = Victim(embed=network.at("embedding").to(ctx.device), head=network.head().to(ctx.device), spec=spec)
    moved = attack.craft(victim, x, y, ctx)
    network.module.cpu()
    return moved
