# SPDX-License-Identifier: Apache-2.0
"""Networks whose cells are known or can be counted by brute force."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from lipbench.api import Context, DataSpec, InvalidInput

from ..engine.network import ReluNet, net_of
from .base import ReluNets

Kind = Literal["normal", "torch", "duplicate", "no_biases", "tent", "hexagon"]


class ReluOracle(ReluNets):
    """A network that is drawn by a stated recipe or set by hand; nothing is learned.

    Args:
        kind: `normal`: weights normal with variance 2 / fan-in, biases normal with deviation 0.5, by numpy. `torch`: torch's
            default initial weights. `duplicate`: the same as `normal` with its last unit of the first layer twice the one
            before. `no_biases`: two layers whose six cells meet in the origin. `tent`: the tent map applied `depth` times, one
            input, 2^depth pieces on [0, 1]. `hexagon`: three units around a point, seven cells, one of them bounded.
        sizes: Inputs, widths and outputs; of `normal`, `torch` and `duplicate` only.
        draw: Seed of the draw, beside which the seed of the suite has no part.
        depth: Of the tent map.
    """

    def __init__(
        self,
        *,
        kind: Kind = "normal",
        sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=3)] = (2, 8, 1),
        draw: Annotated[int, Field(ge=0)] = 0,
        depth: Annotated[int, Field(ge=1, le=12)] = 3,
    ) -> None:
        self.kind, self.sizes, self.draw, self.depth = kind, tuple(sizes), draw, depth

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Set the weights.

        Raises:
            InvalidInput: The data has another number of inputs.
        """
        makers = {"no_biases": _no_biases, "tent": lambda: _tent(self.depth), "hexagon": _hexagon}
        net = makers[self.kind]() if self.kind in makers else self._drawn()
        if (net.inputs,) != tuple(spec.shape):
            raise InvalidInput(f"relu_oracle has {net.inputs} inputs, the data has shape {spec.shape}")
        self.nets = (net,)

    def _drawn(self) -> ReluNet:
        if self.kind == "torch":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.draw)
                layers = [nn.Linear(a, b) for a, b in pairwise(self.sizes)]
            return net_of([(layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()) for layer in layers])
        rng = np.random.default_rng(self.draw)
        pairs = [(rng.standard_normal((b, a)) * np.sqrt(2 / a), 0.5 * rng.standard_normal(b)) for a, b in pairwise(self.sizes)]
        if self.kind == "duplicate":
            if self.sizes[1] < 2:
                raise InvalidInput("relu_oracle with kind: duplicate needs two units in the first layer")
            w, b = pairs[0]
            w[-1], b[-1] = 2 * w[-2], 2 * b[-2]
        return net_of(pairs)


def _no_biases() -> ReluNet:
    second = np.array([[1.0, 2.0], [2.0, -1.0], [-1.0, 1.5]])
    return net_of([(np.eye(2), np.zeros(2)), (second, np.zeros(3)), (np.ones((1, 3)), np.zeros(1))])


def _tent(depth: int) -> ReluNet:
    first = (np.array([[2.0], [4.0]]), np.array([0.0, -2.0]))
    more = (np.array([[2.0, -2.0], [4.0, -4.0]]), np.array([0.0, -2.0]))
    return net_of([first, *[more] * (depth - 1), (np.array([[1.0, -1.0]]), np.zeros(1))])


def _hexagon() -> ReluNet:
    angle = np.deg2rad([90.0, 210.0, 330.0])
    ways = np.column_stack([np.cos(angle), np.sin(angle)])
    return net_of([(ways, np.full(3, 0.02)), (-np.ones((1, 3)), np.array([0.59]))])
