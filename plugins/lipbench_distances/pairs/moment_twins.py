# SPDX-License-Identifier: Apache-2.0
"""Different distributions that agree in mean and covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from torch import Tensor

from ..base import Distribution, Pair
from .gaussians import gaussian

if TYPE_CHECKING:
    import numpy as np


class SameMoments(Pair):
    """Independent random signs, and a Gaussian, both of mean 0 and covariance 1: no distance of two moments tells them apart.

    Args:
        d: Features.
    """

    def __init__(self, *, d: Annotated[int, Field(ge=1)] = 3) -> None:
        self.d = d

    def pick(self, rng: np.random.Generator) -> tuple[Distribution, Distribution]:
        """Always the same two."""
        nothing, one = torch.zeros(self.d, dtype=torch.float64), torch.eye(self.d, dtype=torch.float64)
        return Distribution(mean=nothing, cov=one, gaussian=False, draw=self._signs), gaussian(nothing, one)

    def _signs(self, n: int, rng: np.random.Generator) -> Tensor:
        return torch.from_numpy(2.0 * rng.integers(0, 2, (n, self.d)) - 1.0)
