# SPDX-License-Identifier: Apache-2.0
"""Arrays of any .npz file, read without pickle."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split

from .files import SPLITS, check_split, divide, locate


class Npz(Dataset):
    """Inputs and, where there are any, labels from a numpy archive.

    Args:
        path: The file, absolute, from the working directory, or from the data folder.
        inputs: Name of the array (N, ...) of inputs. `{split}` in it becomes train or test; without it one array is divided
            by a fixed shuffle. Null looks for `x_train` and `x_test`, then for `x`.
        targets: Name of the array (N,) of labels 0, 1, 2, ..., in the same way. Null looks for `y_train` and `y_test`, then
            for `y`, and takes the data as unlabelled where there is neither.
        low: Smallest possible value; null for 0 where the inputs are 8-bit, else the smallest in the file.
        high: Largest possible value; null for 255 where the inputs are 8-bit, else the largest in the file.
        unit: How much of the raw input is one [0,1] unit; null for 255 where the range is 0..255, else 1.
        test_fraction: Share of the rows that make the test split where the file has one array.
        root: Data folder; null for `$LIPBENCH_DATA`, else `./data`.
    """

    licence = "that of the file"

    def __init__(
        self,
        *,
        path: str,
        inputs: str | None = None,
        targets: str | None = None,
        low: Annotated[float, Field(allow_inf_nan=False)] | None = None,
        high: Annotated[float, Field(allow_inf_nan=False)] | None = None,
        unit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
        test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        root: str | None = None,
    ) -> None:
        self.path, self.root, self.inputs, self.targets = path, root, inputs, targets
        self.low, self.high, self.unit, self.test_fraction = low, high, unit, test_fraction

    @cached_property
    def _file(self) -> Path:
        return locate(self.path, self.root, ".npz file")

    def files(self) -> Sequence[Path]:
        """The archive."""
        return [self._file]

    def spec(self) -> DataSpec:
        """Shape, range and classes; reads the file once."""
        return self._spec

    def load(self, split: str, ctx: Context) -> Split:
        """One split, already checked."""
        check_split(split)
        return self._read[0][split]

    @cached_property
    def _read(self) -> tuple[dict[str, Split], bool]:
        """Both splits, and whether the inputs are 8-bit."""
        names = array_names(self._file)
        x_names = self._choose(self.inputs, "x", names)
        if x_names is None:
            raise InvalidInput(f"{self._file} has no array x_train or x; write inputs: with one of {', '.join(names) or '-'}")
        y_names = self._choose(self.targets, "y", names)
        arrays = read_arrays(self._file, {*x_names, *(y_names or ())})
        parts = {}
        for i, split in enumerate(SPLITS):
            x = self._inputs(x_names[i], arrays[x_names[i]])
            y = None if y_names is None else self._targets(y_names[i], arrays[y_names[i]], len(x))
            if x_names[0] == x_names[1]:
                kept = divide(len(x), split, self.test_fraction)
                x, y = x[kept], None if y is None else y[kept]
            parts[split] = Split(inputs=x, targets=y)
        return parts, all(arrays[name].dtype == np.uint8 for name in x_names)

    def _choose(self, given: str | None, stem: str, names: Sequence[str]) -> tuple[str, str] | None:
        """Names of the arrays for train and test; the same name twice where one array is divided."""
        for pattern in (f"{stem}_{{split}}", stem) if given is None else (given,):
            train, test = (pattern.replace("{split}", split) for split in SPLITS)
            if train in names and test in names:
                return train, test
        if given is None:
            return None
        raise InvalidInput(f"{self._file} has no array {given!r} for train and test; it has {', '.join(names) or 'none'}")

    def _inputs(self, name: str, raw: np.ndarray) -> np.ndarray:
        if raw.dtype.kind not in "biuf" or raw.ndim == 0 or 0 in raw.shape:
            raise InvalidInput(f"{self._file}: {name!r} must hold (N, ...) real numbers, found {raw.dtype} {raw.shape}")
        with np.errstate(over="ignore"):  # what overflows float32 is reported just below
            x = (raw[:, None] if raw.ndim == 1 else raw).astype(np.float32)
        good = np.isfinite(x).reshape(len(x), -1).all(axis=1)
        if not good.all():
            raise InvalidInput(f"{self._file}: row {int(np.argmin(good))} of {name!r} holds NaN or an infinite value")
        return x

    def _targets(self, name: str, raw: np.ndarray, rows: int) -> np.ndarray:
        if raw.ndim != 1 or raw.dtype.kind not in "iu":
            raise InvalidInput(f"{self._file}: labels {name!r} must be (N,) integers, found {raw.dtype} {raw.shape}")
        if len(raw) != rows:
            raise InvalidInput(f"{self._file}: {rows:,} inputs, but {len(raw):,} labels in {name!r}")
        if raw.min() < 0 or raw.max() >= 2**31:
            row = int(np.argmin(raw) if raw.min() < 0 else np.argmax(raw))
            raise InvalidInput(f"{self._file}: labels {name!r} must be 0, 1, 2, ..., row {row} has {raw[row]}")
        return raw.astype(np.int64)

    @cached_property
    def _spec(self) -> DataSpec:
        parts, eight_bit = self._read
        train, test = (parts[split] for split in SPLITS)
        shape = train.inputs.shape[1:]
        if test.inputs.shape[1:] != shape:
            raise InvalidInput(f"{self._file}: rows of train have shape {shape}, rows of test {test.inputs.shape[1:]}")
        low, high = self._range(train.inputs, test.inputs, eight_bit)
        unit = self.unit or (255.0 if (low, high) == (0.0, 255.0) else 1.0)
        classes = None
        if train.targets is not None and test.targets is not None:
            classes = 1 + max(int(train.targets.max()), int(test.targets.max()))
        return DataSpec(shape=shape, low=low, high=high, unit=unit, classes=classes)

    def _range(self, train: np.ndarray, test: np.ndarray, eight_bit: bool) -> tuple[float, float]:
        least, most = float(min(train.min(), test.min())), float(max(train.max(), test.max()))
        low, high = (0.0, 255.0) if eight_bit else (least, most)
        low, high = (low if self.low is None else self.low), (high if self.high is None else self.high)
        if low >= high:
            raise InvalidInput(f"{self._file}: the range [{low:g}, {high:g}] is empty; write low: and high:")
        if least < low or most > high:
            raise InvalidInput(f"{self._file}: values from {least:g} to {most:g} leave the stated range [{low:g}, {high:g}]")
        return low, high


def array_names(path: Path) -> list[str]:
    """Names of the arrays in an archive, read from its table of contents.

    Raises:
        InvalidInput: Not an .npz archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(name.removesuffix(".npy") for name in archive.namelist())
    except zipfile.BadZipFile as error:
        raise InvalidInput(f"{path} is no .npz archive, or it is truncated: {error}") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Arrays by name, without pickle.

    Raises:
        InvalidInput: Python objects in an array, or a damaged file.
    """
    found = {}
    with np.load(path, allow_pickle=False) as archive:
        for name in names:
            try:
                array = archive[name]
            except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise InvalidInput(f"{path}: array {name!r} cannot be read: {reason}") from error
            if not isinstance(array, np.ndarray):
                raise InvalidInput(f"{path}: {name!r} is not a numpy array")
            found[name] = array
    return found
