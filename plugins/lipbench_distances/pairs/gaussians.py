# SPDX-License-Identifier: Apache-2.0
"""Gaussian pairs: the four distributions of the source, pairs of equal Gram matrix, random pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..base import Distribution, Pair
from ..moments import root

if TYPE_CHECKING:
    import numpy as np

Name = Literal["X", "Y", "W", "Z"]

_MARRON: dict[str, tuple[list[float], list[list[float]]]] = {
    "X": ([0, -0.5, 0.5], [[1, -0.5, 0], [-0.5, 1, 0], [0, 0, 1]]),
    "Y": ([1, -0.5, 0], [[0, 0, 0], [0, 1, -0.25], [0, -0.25, 1.25]]),
    "W": ([1, 1, 1], [[0, 0, 0]] * 3),
    "Z": ([0, 0, 0], [[1, 1, 1]] * 3),
}


def gaussian(mean: Tensor, cov: Tensor) -> Distribution:
    """A normal distribution, degenerate ones included.

    Args:
        mean: (d,) float64.
        cov: (d, d) float64, positive semidefinite.
    """
    half = root(cov)

    def draw(n: int, rng: np.random.Generator) -> Tensor:
        return mean + torch.from_numpy(rng.standard_normal((n, len(mean)))) @ half

    return Distribution(mean=mean, cov=cov, gaussian=True, draw=draw)


class Marron(Pair):
    """Two of the four Gaussians of the source: X and Y, like W and Z, have the same Gram matrix.

    Y has a constant feature, W is a single point, and the features of Z are one and the same number.

    Args:
        first: One of X, Y, W, Z.
        second: Another one.

    Source: V. Marron, Theory (Style Transfer as Optimal Transport), 2017, cells 1 to 5.
    """

    def __init__(self, *, first: Name = "X", second: Name = "Y") -> None:
        self.first, self.second = first, second

    def pick(self, rng: np.random.Generator) -> tuple[Distribution, Distribution]:
        """Always the same two."""
        one, other = (
            gaussian(torch.tensor(m, dtype=torch.float64), torch.tensor(c, dtype=torch.float64))
            for m, c in (_MARRON[self.first], _MARRON[self.second])
        )
        return one, other


class EqualGram(Pair):
    """Two Gaussians of one random second-moment matrix M: N(0, M) and N(m, M - m m^T) with m = t M^(1/2) u, u a unit vector.

    Args:
        d: Features.
        t: From 0, where the two are one, to 1, where the second one has no variance along one direction.
    """

    family = True

    def __init__(self, *, d: Annotated[int, Field(ge=1)] = 5, t: Annotated[float, Field(ge=0, le=1)] = 1.0) -> None:
        self.d, self.t = d, t

    def pick(self, rng: np.random.Generator) -> tuple[Distribution, Distribution]:
        """M is Wishart with 2 d degrees of freedom over 2 d, u uniform on the sphere."""
        second = _wishart(self.d, rng)
        u = torch.from_numpy(rng.standard_normal(self.d))
        mean = self.t * (root(second) @ (u / torch.linalg.vector_norm(u)))
        return gaussian(torch.zeros_like(mean), second), gaussian(mean, second - torch.outer(mean, mean))


class RandomGaussians(Pair):
    """Two independent random Gaussians: standard normal means, Wishart covariances of mean 1.

    Args:
        d: Features.
        rank: Rank of the covariances; null for full.
    """

    family = True

    def __init__(self, *, d: Annotated[int, Field(ge=1)] = 4, rank: Annotated[int, Field(ge=1)] | None = None) -> None:
        self.d, self.rank = d, rank

    def pick(self, rng: np.random.Generator) -> tuple[Distribution, Distribution]:
        """Two draws of the family."""
        one, other = (
            gaussian(torch.from_numpy(rng.standard_normal(self.d)), _wishart(self.d, rng, self.rank)) for _ in range(2)
        )
        return one, other


class PointMasses(Pair):
    """Two single points at standard normal places: every Wasserstein distance of them is their distance.

    Args:
        d: Features.
    """

    family = True

    def __init__(self, *, d: Annotated[int, Field(ge=1)] = 1) -> None:
        self.d = d

    def pick(self, rng: np.random.Generator) -> tuple[Distribution, Distribution]:
        """Gaussians without variance."""
        nothing = torch.zeros((self.d, self.d), dtype=torch.float64)
        one, other = (gaussian(torch.from_numpy(rng.standard_normal(self.d)), nothing) for _ in range(2))
        return one, other


def _wishart(d: int, rng: np.random.Generator, rank: int | None = None) -> Tensor:
    freedom = rank or 2 * d
    rows = torch.from_numpy(rng.standard_normal((freedom, d)))
    return rows.mT @ rows / freedom
