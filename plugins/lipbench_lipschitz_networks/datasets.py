# SPDX-License-Identifier: Apache-2.0
"""The source's data: squares whose distance is known, noisy circles, and two digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from lipbench_basics.datasets.digits import Digits
from lipbench_basics.datasets.files import check_split
from lipbench_basics.datasets.idx import Mnist
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split

Digit = Annotated[int, Field(ge=0, le=9)]


class ToySquares(Dataset):
    """Black images (class 0) against images of a square (class 1), all at l2 distance `side` from each other.

    The side is int(size sqrt(frac)) pixels: 35 for 64 and 0.3. `binary` has one square of value 1, `ternary` half of the squares
    with -1. W1 between the classes, by l2 distances, is exactly the side; by l1 distances it would be its square.

    Args:
        size: Height and width.
        frac: Share of the image that the square covers, before it is rounded.
        mode: See above.
        count: Images in each split, half of them black.

    Source: demo 1 of the manual of deel-lip 1.0.0.
    """

    licence = "drawn, no licence needed"

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=2, le=512)] = 16,
        frac: Annotated[float, Field(gt=0, le=1)] = 0.3,
        mode: Literal["binary", "ternary"] = "ternary",
        count: Annotated[int, Field(ge=4, multiple_of=4)] = 64,
    ) -> None:
        self.size, self.mode, self.count = size, mode, count
        self.side = int(size * math.sqrt(frac))
        if self.side < 1:
            raise InvalidInput(f"toy_squares: frac: {frac:g} of {size} pixels leaves no square; write a larger one")

    def spec(self) -> DataSpec:
        """Two classes of images in [-1, 1]."""
        return DataSpec(shape=(1, self.size, self.size), low=-1.0, high=1.0, classes=2)

    def load(self, split: str, ctx: Context) -> Split:
        """The same images in both splits."""
        check_split(split)
        images, start = np.zeros((self.count, 1, self.size, self.size), dtype=np.float32), (self.size - self.side) // 2
        inside, half = slice(start, start + self.side), self.count // 2
        images[half:, :, inside, inside] = 1.0
        if self.mode == "ternary":
            images[half : half + half // 2] *= -1
        return Split(inputs=images, targets=np.repeat(np.array([0, 1]), half).astype(np.int64))


class Circles(Dataset):
    """Two noisy circles, one inside the other: the alternative data of the source's demo 2.

    Args:
        count: Points in each split.
        noise: Standard deviation of the noise.
        factor: Radius of the inner circle (class 1); the outer one has radius 1.
    """

    licence = "drawn, no licence needed"

    def __init__(
        self,
        *,
        count: Annotated[int, Field(ge=2)] = 1000,
        noise: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.14,
        factor: Annotated[float, Field(gt=0, lt=1)] = 0.4,
    ) -> None:
        self.count, self.noise, self.factor = count, noise, factor

    def spec(self) -> DataSpec:
        """Two classes in the box [-3, 3]^2."""
        return DataSpec(shape=(2,), low=-3.0, high=3.0, classes=2)

    def load(self, split: str, ctx: Context) -> Split:
        """Draw one split by the seed."""
        from sklearn.datasets import make_circles

        check_split(split)
        seed = int(ctx.rng(f"circles {split}").integers(2**32))
        x, y = make_circles(n_samples=self.count, noise=self.noise, factor=self.factor, random_state=seed)
        return Split(inputs=np.clip(x, -3, 3).astype(np.float32), targets=y.astype(np.int64))


class _Pair(Dataset):
    """Two classes of another dataset, in [0, 1]."""

    whole: Dataset

    def __init__(self, first: int, second: int) -> None:
        if first == second:
            raise InvalidInput(f"a pair has two different digits, found {first} twice")
        self.pair = first, second

    def spec(self) -> DataSpec:
        """Two classes in [0, 1]: `first` is class 0, `second` class 1."""
        return DataSpec(shape=self.whole.spec().shape, low=0.0, high=1.0, classes=2)

    def files(self) -> Sequence[Path]:
        """Those of the whole dataset."""
        return self.whole.files()

    def load(self, split: str, ctx: Context) -> Split:
        """The rows of both classes, in the order of the whole dataset."""
        part = self.whole.load(split, ctx)
        targets = part.targets
        assert targets is not None  # noqa: S101  (both datasets have labels)
        rows = np.isin(targets, self.pair)
        inputs = (part.inputs[rows] / self.whole.spec().high).astype(np.float32)
        return Split(inputs=inputs, targets=(targets[rows] == self.pair[1]).astype(np.int64))


class DigitsPair(_Pair):
    """Two digits of 8x8 pixels, of those that scikit-learn ships, in [0, 1]; the split is fixed.

    Args:
        first: The digit that is class 0.
        second: The digit that is class 1.
    """

    licence = Digits.licence

    def __init__(self, *, first: Digit = 0, second: Digit = 8) -> None:
        super().__init__(first, second)
        self.whole = Digits(image=True, test_fraction=0.25)


class MnistPair(_Pair):
    """Two digits of MNIST from local files, 28x28 pixels in [0, 1]; `lipbench show mnist` says where they are looked for.

    Args:
        first: The digit that is class 0.
        second: The digit that is class 1.
        root: Folder with the folder `MNIST`; null for `$LIPBENCH_DATA`, else `./data`.
    """

    licence = Mnist.licence

    def __init__(self, *, first: Digit = 0, second: Digit = 8, root: str | None = None) -> None:
        super().__init__(first, second)
        self.whole = Mnist(root=root)
