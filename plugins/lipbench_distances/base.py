# SPDX-License-Identifier: Apache-2.0
"""The protocols of the task `distribution_distance`: a distribution, a pair of them, a distance."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from lipbench.api import Context, InvalidInput, Method

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A distribution on R^d that can be sampled and whose first two moments are known."""

    mean: Tensor
    """(d,) float64."""
    cov: Tensor
    """(d, d) float64, symmetric positive semidefinite."""
    gaussian: bool
    """Whether mean and covariance say everything."""
    draw: Callable[[int, np.random.Generator], Tensor]
    """(n, d) float64 independent rows."""

    @property
    def gram(self) -> Tensor:
        """(d, d) second moments about the origin, `cov + mean mean^T`: what a Gram matrix divided by its rows estimates."""
        return self.cov + torch.outer(self.mean, self.mean)

    @property
    def size(self) -> float:
        """Root of the mean squared norm of a row, in feature units; what tolerances are measured by."""
        return float(self.gram.trace()) ** 0.5


class Pair(Method):
    """Two distributions to be told apart, or a family that such pairs are drawn from."""

    family: ClassVar[bool] = False
    """True where `pick` draws another pair each time."""

    @abstractmethod
    def pick(self, rng: np.random.Generator) -> tuple[Distribution, Distribution]:
        """A pair of the family."""


class Distance(Method):
    """A distance between two samples, or between two distributions by their moments."""

    unit: str = "feature unit"
    """Of its values."""
    degree: float = 1.0
    """Scaling all features by s multiplies the distance by s to this power."""
    pairwise: ClassVar[bool] = False
    """True where all differences between rows of the two samples are looked at, n^2 numbers."""

    def between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """The distance of two samples.

        Args:
            x: (n, d), of any real dtype; all is computed in float64.
            y: (m, d).
            ctx: Where random draws come from; the same context draws the same.

        Returns:
            A scalar; NaN where a row is not finite or the formula breaks down.

        Raises:
            InvalidInput: A sample is no matrix, has no row, or they have different numbers of features.
        """
        if x.ndim != 2 or y.ndim != 2 or 0 in (*x.shape, *y.shape) or x.shape[1] != y.shape[1]:
            shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
            raise InvalidInput(
                f"a distance needs two samples of shape (rows, features) with the same features; these have {shapes}"
            )
        return self._between(x.double(), y.double(), ctx)

    @abstractmethod
    def _between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """The distance of two float64 samples of as many features."""

    def loss(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """What an optimiser descends to move the rows of x, both float64: differentiable in x, also where the distance is 0."""
        return self._between(x, y, ctx)

    def population(self, p: Distribution, q: Distribution) -> float | None:
        """The distance of two distributions; None where no formula is known for these two."""
        return None


def evenly(count: int, most: int) -> Tensor:
    """Indices of evenly chosen rows out of `count`, at most `most`."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()
