# SPDX-License-Identifier: Apache-2.0
"""Attacked inputs that were made elsewhere, such as a published adversarial copy of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lipbench.api import Context, DataSpec, InvalidInput

from ..datasets.files import locate
from ..datasets.folder import _images as image_files
from ..datasets.npz import array_names, read_arrays
from ..datasets.pictures import planes, read_rgb
from .base import Attack, Victim, check_rows


class Precomputed(Attack):
    """Attacked inputs from files, matched to the clean rows by their ids; every network is fed with the same ones.

    A folder has one image a row, in itself or in subfolders, named by the id of the row and of the size of the inputs; its
    8-bit values 0..255 stand for the range of the data. An .npz file has two arrays: `inputs` (N, ...) in the raw unit of
    the data, and `ids` (N,). What no row asks for is passed over. Costs no forward.

    Args:
        path: The folder or file, absolute, from the working directory, or from the data folder.
        root: Data folder; null for `$LIPBENCH_DATA`, else `./data`.
    """

    own = False

    def __init__(self, *, path: str, root: str | None = None) -> None:
        self.path, self.root = path, root

    def files(self) -> Sequence[Path]:
        """All images of the folder, or the archive.

        Raises:
            InvalidInput: There is none; the message says where it was looked for.
        """
        return image_files(self._base) if self._base.is_dir() else [self._base]

    def craft(self, victim: Victim, x: Tensor, y: Tensor, ctx: Context, ids: np.ndarray | None = None) -> Tensor:
        """The attacked input of each row; the network is not asked.

        Raises:
            InvalidInput: The dataset has no ids, an id is there twice or not at all, or inputs of another shape or range.
        """
        check_rows(type(self).__name__, victim.spec, x, y, boxed=False)
        if ids is None or len(ids) != len(x):
            found = "none" if ids is None else f"{len(ids)} for {len(x)} rows"
            raise InvalidInput(f"precomputed matches rows by their ids, and the dataset gives {found}; take one that has ids")
        names = [_name(i) for i in ids]
        _refuse_twice("the dataset", names)
        crafted = torch.from_numpy(
            self._pictures(names, victim.spec) if self._base.is_dir() else self._rows(names, victim.spec)
        )
        _check_range(self._base, crafted, names, victim.spec)
        return crafted.to(x.dtype)

    @cached_property
    def _base(self) -> Path:
        return locate(self.path, self.root, "folder or .npz file of attacked inputs")

    @cached_property
    def _images(self) -> dict[str, Path]:
        paths = image_files(self._base)
        _refuse_twice(str(self._base), [path.stem for path in paths])
        return {path.stem: path for path in paths}

    def _pictures(self, names: Sequence[str], spec: DataSpec) -> np.ndarray:
        if len(spec.shape) != 3 or spec.shape[0] not in (1, 3):
            raise InvalidInput(f"{self._base} has images, but inputs have shape {spec.shape}; write path: with an .npz file")
        self._refuse_missing(names, self._images)
        result = np.empty((len(names), *spec.shape), dtype=np.float32)
        factor = (spec.high - spec.low) / 255
        for row, name in zip(result, names, strict=True):
            picture = read_rgb(self._images[name])
            values = planes(picture) if spec.shape[0] == 3 else np.asarray(picture.convert("L"))[None]
            if values.shape != spec.shape:
                raise InvalidInput(f"{self._images[name]} has shape {values.shape}, the inputs have {spec.shape}; resize it")
            row[:] = values * factor + spec.low
        return result

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, dict[str, int]]:
        """The inputs, and the row of each id."""
        if not {"inputs", "ids"} <= (has := set(array_names(self._base))):
            raise InvalidInput(f"{self._base} needs the arrays inputs and ids; it has {', '.join(sorted(has)) or 'none'}")
        arrays = read_arrays(self._base, ("inputs", "ids"))
        inputs, ids = arrays["inputs"], arrays["ids"]
        if inputs.ndim == 0 or inputs.dtype.kind not in "biuf" or ids.shape != inputs.shape[:1]:
            raise InvalidInput(
                f"{self._base}: inputs must be (N, ...) real numbers and ids (N,); found {inputs.dtype} {inputs.shape} and {ids.shape}"
            )
        names = [_name(i) for i in ids]
        _refuse_twice(str(self._base), names)
        return inputs, {name: i for i, name in enumerate(names)}

    def _rows(self, names: Sequence[str], spec: DataSpec) -> np.ndarray:
        inputs, place = self._arrays
        if inputs.shape[1:] != spec.shape:
            raise InvalidInput(f"{self._base}: inputs have shape {inputs.shape[1:]}, those of the data have {spec.shape}")
        self._refuse_missing(names, place)
        return inputs[[place[name] for name in names]].astype(np.float32)

    def _refuse_missing(self, names: Sequence[str], known: dict[str, Path] | dict[str, int]) -> None:
        missing = [name for name in names if name not in known]
        if missing:
            raise InvalidInput(f"{self._base} lacks {len(missing)} of {len(names)} rows, such as {missing[0]!r}; add them")


def _name(name: object) -> str:
    """An id as text; numpy keeps text also as bytes."""
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _refuse_twice(where: str, names: Sequence[str]) -> None:
    """Refuse an id that two rows have.

    Raises:
        InvalidInput: There is one.
    """
    name, times = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        raise InvalidInput(f"{where} has the id {name!r} {times} times, so rows cannot be matched; ids must be unique")


def _check_range(where: Path, crafted: Tensor, names: Sequence[str], spec: DataSpec) -> None:
    """Refuse inputs in another unit than that of the data.

    Raises:
        InvalidInput: A value is outside the range of the data, or 8-bit data come in [0,1].
    """
    good = ((crafted >= spec.low) & (crafted <= spec.high)).flatten(1).all(1)  # NaN is not good either
    if not bool(good.all()):
        name = names[int((~good).int().argmax())]
        raise InvalidInput(f"{where}: row {name!r} leaves the data's range [{spec.low:g}, {spec.high:g}] or holds NaN; mend it")
    if spec.unit > 1 and bool((crafted <= 1).all()):
        raise InvalidInput(
            f"{where}: no value exceeds 1, but the data reach {spec.high:g}; multiply the inputs by {spec.unit:g}"
        )
