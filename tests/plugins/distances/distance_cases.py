# SPDX-License-Identifier: Apache-2.0
"""What the tests of distances share."""

from __future__ import annotations

import numpy as np
import torch
from lipbench_distances.base import Distance, Distribution, Pair
from lipbench_distances.pairs.gaussians import Marron, gaussian
from lipbench_distances.task import Compared
from torch import Tensor

from lipbench.api import Context

CTX = Context(scope="test")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def source(name: str) -> Distribution:
    """One of the source's distributions X, Y, W, Z."""
    return Marron(first=name, second=name).pick(rng())[0]  # type: ignore[arg-type]


def normal(mean: list[float], cov: list[list[float]]) -> Distribution:
    return gaussian(torch.tensor(mean, dtype=torch.float64), torch.tensor(cov, dtype=torch.float64))


def random_rows(n: int, d: int, seed: int = 0, shift: float = 0.0) -> Tensor:
    """Rows of no Gaussian: a mixture of two scales, correlated."""
    g = rng(seed)
    scale = np.where(g.uniform(size=(n, 1)) < 0.5, 0.5, 2.0)
    return torch.from_numpy(scale * (g.standard_normal((n, d)) @ g.standard_normal((d, d))) + shift)


def compared(pair: Pair, distance: Distance, seed: int = 0) -> Compared:
    return Compared(pair=pair, distance=distance, ctx=Context(scope="test", seed=seed))
