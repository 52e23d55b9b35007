# SPDX-License-Identifier: Apache-2.0
"""Two interleaved half circles in the plane."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, Split

from .files import check_split

LOW, HIGH = -2.0, 3.0


class TwoMoons(Dataset):
    """Two half circles of radius 1 with Gaussian noise, coordinates as scikit-learn draws them.

    Without noise the points lie in [-1, 2] x [-0.5, 1]; the stated box is [-2, 3] in both coordinates, and the rare point
    that noise throws outside is moved to its edge.

    Args:
        count: Points in each split.
        noise: Standard deviation of the noise.
    """

    licence = "drawn, no licence needed"

    def __init__(
        self, *, count: Annotated[int, Field(ge=2)] = 1000, noise: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.05
    ) -> None:
        self.count, self.noise = count, noise

    def spec(self) -> DataSpec:
        """Two classes in the box [-2, 3]^2."""
        return DataSpec(shape=(2,), low=LOW, high=HIGH, classes=2)

    def load(self, split: str, ctx: Context) -> Split:
        """Draw one split by the seed."""
        from sklearn.datasets import make_moons

        check_split(split)
        seed = int(ctx.rng(f"two_moons {split}").integers(2**32))
        x, y = make_moons(n_samples=self.count, noise=self.noise, random_state=seed)
        return Split(inputs=np.clip(x, LOW, HIGH).astype(np.float32), targets=y.astype(np.int64))
