# SPDX-License-Identifier: Apache-2.0
"""A quadratic function on a box: what the small networks of the source learn."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from lipbench_basics.datasets.files import check_split
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, Split


class Quadratic(Dataset):
    """Uniform points of [-half, half]^dim with the function x_1^2 + ... + x_dim^2 - level; class 1 where it is above 0.

    Args:
        dim: Inputs.
        level: What is subtracted.
        count: Points in each split.
        half: Half width of the box.

    Source: Liu et al. 2023, section 3: 0.4 in the plane, 3 in space.
    """

    licence = "drawn, no licence needed"

    def __init__(
        self,
        *,
        dim: Annotated[int, Field(ge=1)] = 2,
        level: float = 0.4,
        count: Annotated[int, Field(ge=2)] = 2000,
        half: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
    ) -> None:
        self.dim, self.level, self.count, self.half = dim, level, count, half

    def spec(self) -> DataSpec:
        """Two classes in a cube."""
        return DataSpec(shape=(self.dim,), low=-self.half, high=self.half, classes=2)

    def value(self, x: np.ndarray) -> np.ndarray:
        """(N, dim) -> (N,) the function."""
        found: np.ndarray = (x * x).sum(axis=1) - self.level
        return found

    def load(self, split: str, ctx: Context) -> Split:
        """Draw one split by the seed."""
        check_split(split)
        drawn = ctx.rng(f"quadratic {split}").uniform(-self.half, self.half, (self.count, self.dim)).astype(np.float32)
        drawn = np.clip(drawn, np.float32(-self.half), np.float32(self.half))
        return Split(inputs=drawn, targets=(self.value(drawn.astype(np.float64)) > 0).astype(np.int64))
