# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 and CIFAR-100 from local files, in their binary or their Python layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split, data_root

from .files import check_split
from .pickled import read_table

_PIXELS = 3 * 32 * 32


class _Cifar(Dataset):
    """32x32 RGB images in the folder layouts that the authors publish."""

    binary: ClassVar[str]
    """Folder of the binary layout."""
    python: ClassVar[str]
    """Folder of the Python layout."""
    names: ClassVar[dict[str, tuple[str, ...]]]
    """Files of each split in the Python layout; the binary ones end in `.bin`."""
    labels: ClassVar[tuple[str, ...]]
    """What the bytes before each image are, by their names in the Python layout; the last one is the class."""
    classes: ClassVar[int]

    def __init__(self, *, root: str | None = None, count: Annotated[int, Field(ge=1)] | None = None) -> None:
        self.root, self.count = root, count

    def spec(self) -> DataSpec:
        """8-bit RGB images."""
        return DataSpec(shape=(3, 32, 32), low=0.0, high=255.0, unit=255.0, classes=self.classes)

    def files(self) -> Sequence[Path]:
        """All files of both splits."""
        return [file for split in self.names for file in self._files(split)]

    def load(self, split: str, ctx: Context) -> Split:
        """Read one split, or as many of its files as `count` needs."""
        check_split(split)
        images, labels, rows = [], [], 0
        for file in self._files(split):
            if self.count is None or rows < self.count:
                pixels, classes = self._binary(file) if file.suffix == ".bin" else self._python(file)
                images.append(pixels[: None if self.count is None else self.count - rows])
                labels.append(classes[: len(images[-1])])
                rows += len(images[-1])
        inputs = np.concatenate(images).reshape(-1, 3, 32, 32).astype(np.float32)
        return Split(inputs=inputs, targets=np.concatenate(labels).astype(np.int64))

    def _files(self, split: str) -> list[Path]:
        """The files of a split, in whichever of the two folders is there; the binary one first.

        Raises:
            InvalidInput: Neither folder is there, or a file is missing in it.
        """
        top = data_root(self.root).absolute()
        suffix = ".bin" if (top / self.binary).is_dir() else ""
        folder = top / (self.binary if suffix else self.python)
        if not folder.is_dir():
            raise InvalidInput(
                f"neither folder {self.binary} nor {self.python} is in {top}; put one there, or set LIPBENCH_DATA or root: to "
                "another folder"
            )
        files = [folder / f"{name}{suffix}" for name in self.names[split]]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise InvalidInput(f"no file {missing[0]} in {folder}; unpack the whole archive there")
        return files

    def _binary(self, file: Path) -> tuple[np.ndarray, np.ndarray]:
        """Rows of label bytes and 3,072 pixel bytes."""
        try:
            content = np.fromfile(file, dtype=np.uint8)
        except OSError as error:
            raise InvalidInput(f"{file} cannot be read: {error.strerror or error}") from error
        width = len(self.labels) + _PIXELS
        if len(content) == 0 or len(content) % width:
            raise InvalidInput(
                f"{file} is truncated or of another kind: {len(content):,} bytes are no whole number of rows of {width:,}"
            )
        rows = content.reshape(-1, width)
        return rows[:, len(self.labels) :], self._checked(file, rows[:, len(self.labels) - 1])

    def _python(self, file: Path) -> tuple[np.ndarray, np.ndarray]:
        """A dictionary with the array `data` and a list of labels."""
        table, name = read_table(file), self.labels[-1]
        for key in ("data", name):
            if key not in table:
                raise InvalidInput(f"{file} is mislabelled: it has no {key!r}, only {', '.join(sorted(table)) or 'nothing'}")
        pixels, labels = table["data"], table[name]
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS or len(pixels) == 0:
            found = pixels.shape if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise InvalidInput(f"{file}: data must be an array (N, {_PIXELS:,}) of bytes, it is {found}")
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise InvalidInput(f"{file} is mislabelled: {name!r} is no list of whole numbers")
        if len(labels) != len(pixels):
            raise InvalidInput(f"{file} has {len(pixels):,} images, but {len(labels):,} labels")
        return pixels, self._checked(file, np.array(labels, dtype=object))

    def _checked(self, file: Path, labels: np.ndarray) -> np.ndarray:
        wrong = (labels < 0) | (labels >= self.classes)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidInput(
                f"{file} is mislabelled: row {row} has label {labels[row]}, 0..{self.classes - 1} are possible in {self.binary}"
            )
        return labels.astype(np.int64)


class Cifar10(_Cifar):
    """50,000 + 10,000 photographs of ten kinds of things, 32x32 RGB pixels in 0..255.

    Read from `<root>/cifar-10-batches-bin/*.bin` where that folder is, else from `<root>/cifar-10-batches-py/`, whose pickled
    dictionaries are read without running code of them.

    Args:
        root: Folder with one of these two; null for `$LIPBENCH_DATA`, else `./data`.
        count: Use only the first rows of each split; null for all.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, University of Toronto, 2009.
    """

    licence = "not stated by its author (Alex Krizhevsky)"
    binary, python = "cifar-10-batches-bin", "cifar-10-batches-py"
    names: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test": ("test_batch",),
    }
    labels = ("labels",)
    classes = 10


class Cifar100(_Cifar):
    """50,000 + 10,000 photographs of a hundred kinds of things, 32x32 RGB pixels in 0..255; the fine labels are used.

    Read from `<root>/cifar-100-binary/*.bin` where that folder is, else from `<root>/cifar-100-python/`, whose pickled
    dictionaries are read without running code of them.

    Args:
        root: Folder with one of these two; null for `$LIPBENCH_DATA`, else `./data`.
        count: Use only the first rows of each split; null for all.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, University of Toronto, 2009.
    """

    licence = "not stated by its author (Alex Krizhevsky)"
    binary, python = "cifar-100-binary", "cifar-100-python"
    names: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("train",), "test": ("test",)}
    labels = ("coarse_labels", "fine_labels")
    classes = 100
