# SPDX-License-Identifier: Apache-2.0
"""Street View House Numbers from the two local MATLAB files of cropped digits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split, data_root

from .files import check_split
from .matlab import read_arrays

_NAMES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


def read_digits(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 in 0..9 of one file; the file's label 10 is the digit 0.

    Raises:
        InvalidInput: Missing, no MATLAB file of version 5, truncated, or its arrays X and y are not those of the data set.
    """
    arrays = read_arrays(path, ("X", "y"))
    for name in ("X", "y"):
        if name not in arrays:
            raise InvalidInput(f"{path} is mislabelled: it has no array {name!r}")
    images, labels = arrays["X"], arrays["y"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise InvalidInput(f"{path}: X must be uint8 of shape (32, 32, 3, N), it is {images.dtype} of shape {images.shape}")
    count = images.shape[3]
    if labels.shape not in {(count, 1), (1, count)}:
        raise InvalidInput(f"{path} has {count:,} images, but labels y of shape {labels.shape}")
    labels = labels.reshape(-1)
    wrong = ~np.isin(labels, np.arange(1, 11))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidInput(f"{path} is mislabelled: row {row} has label {labels[row]:g}, 1..10 are possible")
    return images.transpose(3, 2, 0, 1), labels.astype(np.int64) % 10


class Svhn(Dataset):
    """73,257 + 26,032 cropped house numbers, 32x32 RGB pixels in 0..255, read from `<root>/SVHN/{train,test}_32x32.mat`.

    Args:
        root: Folder with the folder `SVHN`; null for `$LIPBENCH_DATA`, else `./data`.
        count: Use only the first rows of each split; null for all.

    Source: Y. Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, NIPS workshop, 2011.
    """

    licence = "for non-commercial use (Netzer et al.)"

    def __init__(self, *, root: str | None = None, count: Annotated[int, Field(ge=1)] | None = None) -> None:
        self.root, self.count = root, count

    def spec(self) -> DataSpec:
        """8-bit RGB images of ten digits."""
        return DataSpec(shape=(3, 32, 32), low=0.0, high=255.0, unit=255.0, classes=10)

    def files(self) -> Sequence[Path]:
        """The files of both splits."""
        return [self._file(split) for split in _NAMES]

    def load(self, split: str, ctx: Context) -> Split:
        """Read one split."""
        check_split(split)
        images, digits = read_digits(self._file(split))
        inputs = np.ascontiguousarray(images[: self.count], dtype=np.float32)
        return Split(inputs=inputs, targets=digits[: self.count])

    def _file(self, split: str) -> Path:
        folder = data_root(self.root).absolute() / "SVHN"
        file = folder / _NAMES[split]
        if not file.is_file():
            raise InvalidInput(
                f"no file {file.name} in {folder}; put it there, or set LIPBENCH_DATA or root: to another folder"
            )
        return file
