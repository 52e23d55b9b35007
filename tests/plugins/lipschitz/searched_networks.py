# SPDX-License-Identifier: Apache-2.0
"""Evidence and networks that the tests of the lower bounds share."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import torch
from lipbench_lipschitz.pairsource import GivenPairs
from lipbench_lipschitz.probe import Probe
from lipbench_lipschitz.task import NetworkOnRegion, Norm
from torch import Tensor, nn

from lipbench.api import Context, DataSpec

CTX = Context(scope="test")


class Formula(nn.Module):
    """A function without weights."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x)


def staircase() -> nn.Module:
    """The identity in real arithmetic, steps of 2^-10 in float32."""
    return Formula(lambda x: (x + 1e4) - 1e4)


def evidence_for(
    module: nn.Module,
    shape: tuple[int, ...],
    *,
    low: float = 0.0,
    high: float = 1.0,
    dtype: torch.dtype = torch.float32,
    count: int = 8,
    norm: Norm = "l2",
    radius: float | None = None,
    unit: float = 1.0,
    pair: tuple[Tensor, Tensor] | None = None,
) -> NetworkOnRegion:
    g = torch.Generator().manual_seed(0)
    points, x, y = low + (high - low) * torch.rand((3, count, *shape), generator=g)
    x, y = (x, y) if pair is None else pair
    return NetworkOnRegion(
        probe=Probe(module, shape, dtype),
        spec=DataSpec(shape=shape, low=low, high=high, unit=unit),
        norm=norm,
        radius=radius,
        points=points,
        pairs=GivenPairs(x=x.to(dtype), y=y.to(dtype)),
    )


def all_pairs(evidence: NetworkOnRegion) -> tuple[Tensor, Tensor]:
    """Both ends of all pairs of the task."""
    return evidence.pairs.first(len(evidence.pairs))


def unit_interval(module: nn.Module, dtype: torch.dtype = torch.float32) -> NetworkOnRegion:
    """A function of one variable with the pair (0, 1)."""
    return evidence_for(module, (1,), dtype=dtype, pair=(torch.tensor([[0.0]]), torch.tensor([[1.0]])))


def gelu_mlp(*sizes: int, scale: float = 1.0) -> nn.Sequential:
    """Dense layers with GELU between them, torch's own initial weights."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [Formula(lambda x: x * scale - 0.5)]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.GELU()]
    return nn.Sequential(*layers[:-1])


def exact_outputs(module: nn.Sequential, x: Tensor) -> list[Fraction]:
    """A ReLU network in rational arithmetic: stored numbers are dyadic rationals."""
    v = [Fraction(t) for t in x.double().flatten().tolist()]
    for layer in module:
        if isinstance(layer, nn.Linear):
            rows = zip(layer.weight.double().tolist(), layer.bias.double().tolist(), strict=True)
            v = [sum((Fraction(w) * t for w, t in zip(row, v, strict=True)), Fraction(b)) for row, b in rows]
        elif isinstance(layer, nn.ReLU):
            v = [max(t, Fraction(0)) for t in v]
    return v


def exact_square_ratio(module: nn.Sequential, x: Tensor, y: Tensor) -> Fraction:
    """k(x, y)^2 of a ReLU network, exactly."""
    top = sum((a - b) ** 2 for a, b in zip(exact_outputs(module, x), exact_outputs(module, y), strict=True))
    ends = zip(x.double().flatten().tolist(), y.double().flatten().tolist(), strict=True)
    return Fraction(top) / sum((Fraction(a) - Fraction(b)) ** 2 for a, b in ends)
