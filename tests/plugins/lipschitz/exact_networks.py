# SPDX-License-Identifier: Apache-2.0
"""Networks and regions that the tests of the exact and local estimators share."""

from __future__ import annotations

from itertools import pairwise

import torch
from lipbench_lipschitz.networks import RandomReLU
from lipbench_lipschitz.pairsource import GivenPairs
from lipbench_lipschitz.probe import Probe
from lipbench_lipschitz.task import NetworkOnRegion, Norm
from torch import nn

from lipbench.api import Context, DataSpec

CTX = Context(scope="test")
# Sizes -> exact constant in l2 on [-1, 1]^2, on the box of half width 1000, numbers of regions of both, interval bound.
PLANAR = {
    (2, 8, 2): (2.090107, 2.090107, 23, 37, 2.6813),
    (2, 16, 2): (1.540327, 1.548914, 76, 137, 2.6623),
    (2, 10, 10, 2): (0.958382, 1.788200, 101, 228, 6.2405),
    (2, 12, 12, 12, 3): (2.298018, 2.298018, 248, 840, 28.867),
}
# Seed -> max ||grad||_1 of the scalar 2-10-10-1 network on [-1, 1]^2.
SCALAR = {1: 2.273804, 2: 2.025761, 3: 5.015591}


def relu_network(sizes: tuple[int, ...], seed: int = 1) -> nn.Module:
    """The oracle network of these sizes."""
    model = RandomReLU(sizes=sizes, seed=seed)
    model.build(DataSpec(shape=sizes[:1], low=-1.0, high=1.0), CTX)
    return model.module


def matrix_network(weight: torch.Tensor) -> nn.Module:
    """x -> W x in float64."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float64)
    layer.weight.data = weight.double()
    return nn.Sequential(layer)


def seeded_mlp(sizes: tuple[int, ...], activation: nn.Module, seed: int = 0) -> nn.Module:
    """A multilayer perceptron in torch's default initialisation, weights doubled so that the activation bends."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after, dtype=torch.float64), activation]
    network = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 2
    return network


def on_region(
    module: nn.Module,
    shape: tuple[int, ...] | int,
    norm: Norm = "l2",
    *,
    radius: float | None = None,
    low: float = -1.0,
    high: float = 1.0,
    points: torch.Tensor | int = 16,
    dtype: torch.dtype = torch.float64,
) -> NetworkOnRegion:
    """Evidence with given points, or uniform ones."""
    shape = (shape,) if isinstance(shape, int) else shape
    if isinstance(points, int):
        generator = torch.Generator().manual_seed(0)
        points = low + (high - low) * torch.rand((points, *shape), generator=generator)
    return NetworkOnRegion(
        probe=Probe(module, shape, dtype),
        spec=DataSpec(shape=shape, low=low, high=high),
        norm=norm,
        radius=radius,
        points=points,
        pairs=GivenPairs(x=points.to(dtype), y=points.flip(0).to(dtype)),
    )
