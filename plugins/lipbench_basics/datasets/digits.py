# SPDX-License-Identifier: Apache-2.0
"""Handwritten digits of 8x8 pixels, from the file that scikit-learn ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, Split

from .files import check_split, package_folder


class Digits(Dataset):
    """1,797 handwritten digits, 8x8 pixels of 17 grey levels, divided by 16 into [0, 1].

    The split is stratified by class and fixed: it does not depend on the seed of the suite, so that accuracies and networks
    of different seeds stay comparable.

    Args:
        image: True for inputs of shape (1, 8, 8), false for flat ones of shape (64,).
        test_fraction: Share of the rows that make the test split.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
    """

    licence = "CC BY 4.0 (UCI Machine Learning Repository)"

    def __init__(self, *, image: bool = False, test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2) -> None:
        self.shape = (1, 8, 8) if image else (64,)
        self.test_fraction = test_fraction

    def spec(self) -> DataSpec:
        """Ten classes in [0, 1]."""
        return DataSpec(shape=self.shape, low=0.0, high=1.0, classes=10)

    def files(self) -> Sequence[Path]:
        """The table inside scikit-learn."""
        return [package_folder("sklearn", "scikit-learn") / "datasets" / "data" / "digits.csv.gz"]

    def load(self, split: str, ctx: Context) -> Split:
        """Read the table and keep one side of the fixed split."""
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        check_split(split)
        x, y = load_digits(return_X_y=True)
        parts = train_test_split(x, y, test_size=self.test_fraction, random_state=0, stratify=y)
        inputs, targets = (parts[1], parts[3]) if split == "test" else (parts[0], parts[2])
        return Split(
            inputs=(inputs / 16).astype(np.float32).reshape(-1, *self.shape),
            targets=targets.astype(np.int64),
        )
