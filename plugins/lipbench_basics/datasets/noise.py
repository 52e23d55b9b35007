# SPDX-License-Identifier: Apache-2.0
"""Independent uniform numbers, the data of a worst case without structure."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split

from .files import check_split


class UniformNoise(Dataset):
    """Every coordinate uniform and independent: white noise images, or random points of a box.

    Args:
        shape: Shape of one input, such as [3, 224, 224] or [2].
        low: Smallest value.
        high: Largest value.
        integers: True for whole numbers, both ends included; false for real numbers.
        count: Inputs in each split.

    The unit is 255 where the range is that of 8-bit images, else 1. There are no labels.
    """

    licence = "drawn, no licence needed"

    def __init__(
        self,
        *,
        shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (3, 32, 32),
        low: float = 0.0,
        high: float = 255.0,
        integers: bool = True,
        count: Annotated[int, Field(ge=1)] = 256,
    ) -> None:
        if not (np.isfinite([low, high]).all() and low < high):
            raise InvalidInput(f"uniform_noise: low: {low:g} must be below high: {high:g}, both finite")
        if integers and (low != int(low) or high != int(high)):
            raise InvalidInput(f"uniform_noise: [{low:g}, {high:g}] has ends that are no integers; write integers: false")
        self.shape, self.low, self.high = tuple(shape), float(low), float(high)
        self.integers, self.count = integers, count

    def spec(self) -> DataSpec:
        """The box, without classes."""
        unit = 255.0 if (self.low, self.high) == (0.0, 255.0) else 1.0
        return DataSpec(shape=self.shape, low=self.low, high=self.high, unit=unit)

    def load(self, split: str, ctx: Context) -> Split:
        """Draw one split by the seed."""
        check_split(split)
        rng, size = ctx.rng(f"uniform_noise {split}"), (self.count, *self.shape)
        if self.integers:
            drawn = rng.integers(int(self.low), int(self.high), size=size, endpoint=True).astype(np.float32)
        else:
            # Rounding to float32 may step over an end of the box.
            drawn = rng.uniform(self.low, self.high, size=size).astype(np.float32)
            np.clip(drawn, np.float32(self.low), np.float32(self.high), out=drawn)
        return Split(inputs=drawn)
