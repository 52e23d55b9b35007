# SPDX-License-Identifier: Apache-2.0
"""The source's planar data: a disc in an annulus, and four of them whose classes make an exclusive or."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from lipbench_basics.datasets.files import check_split
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, Split

SIDE = 101
"""Points of the test grid along each side."""


class CircleAnnulus(Dataset):
    """Class 1 where r^2 < 0.25, class 0 where 0.5 < r^2 < 0.75: a disc and an annulus of the same area.

    The training split is uniform on both; the test split is those points of a 101 x 101 grid of the square that are in either.

    Args:
        count: Training points.
        xor: Four of them around (+-1, +-1), the classes swapped where the signs of the centre differ.

    Source: Sattelberg et al. 2023 and the notebooks beside it.
    """

    licence = "drawn, no licence needed"

    def __init__(self, *, count: Annotated[int, Field(ge=2)] = 100_000, xor: bool = False) -> None:
        self.count, self.xor = count, xor

    def spec(self) -> DataSpec:
        """Two classes in a square."""
        half = 2.0 if self.xor else 1.0
        return DataSpec(shape=(2,), low=-half, high=half, classes=2)

    def load(self, split: str, ctx: Context) -> Split:
        """Draw the training points by the seed, or lay the grid."""
        check_split(split)
        if split == "test":
            half = self.spec().high
            line = np.linspace(-half, half, SIDE)
            x = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
        else:
            rng = ctx.rng("circle train")
            drawn = rng.uniform(-1, 1, (4 * self.count, 2))
            x = drawn[_classes(drawn) >= 0][: self.count]
            if self.xor:
                x = x + rng.choice([-1.0, 1.0], size=x.shape)
        y = self.labels(x)
        return Split(inputs=x[y >= 0].astype(np.float32), targets=y[y >= 0])

    def labels(self, x: np.ndarray) -> np.ndarray:
        """(N, 2) -> (N,) the class, -1 between the classes and outside."""
        if not self.xor:
            return _classes(x)
        centre = np.where(x > 0, 1.0, -1.0)
        found = _classes(x - centre)
        return np.where((found >= 0) & (centre.prod(axis=1) < 0), 1 - found, found)


def _classes(x: np.ndarray) -> np.ndarray:
    # Grid points that lie on a circle are in no class, whatever their last bits are.
    r = np.round((x * x).sum(axis=1), 12)
    return np.where(r < 0.25, 1, np.where((r > 0.5) & (r < 0.75), 0, -1)).astype(np.int64)
