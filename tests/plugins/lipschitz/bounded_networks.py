# SPDX-License-Identifier: Apache-2.0
"""What the tests of upper bounds share: evidence for a network, small networks, and their exact constants by brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from lipbench_lipschitz.pairsource import GivenPairs
from lipbench_lipschitz.probe import Probe
from lipbench_lipschitz.result import Estimator
from lipbench_lipschitz.task import NetworkOnRegion, Norm
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, Value


def evidence_for(module: nn.Module, shape: tuple[int, ...], norm: Norm = "l2") -> NetworkOnRegion:
    points = torch.zeros((1, *shape))
    probe = Probe(module.eval(), shape, torch.float32)
    spec = DataSpec(shape=shape, low=-1.0, high=1.0)
    pairs = GivenPairs(x=points, y=points)
    return NetworkOnRegion(probe=probe, spec=spec, norm=norm, radius=None, points=points, pairs=pairs)


def measure(estimator: Estimator, module: nn.Module, shape: tuple[int, ...], norm: Norm = "l2") -> Value:
    return estimator.compute(evidence_for(module, shape, norm), Context(scope="test"))


def mlp(weights: Sequence[Tensor | np.ndarray], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers with these weights, activations between them; float64, so that the weights are kept exactly."""
    layers: list[nn.Module] = []
    for w in weights:
        w = torch.as_tensor(w, dtype=torch.float64)
        layer = nn.Linear(w.shape[1], w.shape[0], dtype=torch.float64)
        layer.weight.data.copy_(w)
        layers += [layer, activation()]
    return nn.Sequential(*layers[:-1]).eval().requires_grad_(False)


def he_weights(sizes: Sequence[int], seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(b, a)) * math.sqrt(2 / a) for a, b in itertools.pairwise(sizes)]


def norm2(matrix: Tensor | np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(matrix), 2))


def largest_over_vertices(weights: Sequence[np.ndarray], low: float = 0.0, high: float = 1.0) -> float:
    """max ||W_2 D W_1|| over slopes at both ends: the exact constant of a ReLU net whose first layer has full row rank."""
    first, second = weights
    return max(norm2(second * np.array(s) @ first) for s in itertools.product((low, high), repeat=len(first)))
