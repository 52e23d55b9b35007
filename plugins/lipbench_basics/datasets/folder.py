# SPDX-License-Identifier: Apache-2.0
"""The images of any folder on disk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split

from .files import SPLITS, check_split, divide, locate
from .pictures import fitted, planes, read_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class ImageFolder(Dataset):
    """RGB images in 0..255 from a folder, each cut to a centred square and resized.

    Three layouts are read: images directly in the folder (no labels); one subfolder for each class; and `train` and `test`
    subfolders of either kind. Without `train` and `test` the images are divided by a fixed shuffle. Files that do not have
    the name of an image, and hidden ones, are passed over; a file that has such a name but is no image is an error.

    The id of a row is the name of its file without the ending, so that a changed copy of an image elsewhere can be matched
    with it; where names come twice in a split, as numbers in class subfolders do, the subfolders are part of the id.

    Args:
        path: The folder, absolute, from the working directory, or from the data folder.
        size: Height and width of an input in pixels.
        resize: Length in pixels to which the shorter side is resized before the centred square is cut out, such as 256 with
            size: 224 as ImageNet networks are commonly tested; null takes the largest square and resizes that.
        count: Most images of each split, a fixed random choice; bounds the memory.
        test_fraction: Share of the images that make the test split where the folder does not say.
        root: Data folder; null for `$LIPBENCH_DATA`, else `./data`.
    """

    licence = "that of the images"

    def __init__(
        self,
        *,
        path: str,
        size: Annotated[int, Field(ge=1)] = 224,
        resize: Annotated[int, Field(ge=1)] | None = None,
        count: Annotated[int, Field(ge=1)] = 1000,
        test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        root: str | None = None,
    ) -> None:
        if resize is not None and resize < size:
            raise InvalidInput(f"image_folder: resize: {resize} is less than size: {size}; write at least {size}, or null")
        self.path, self.root, self.resize = path, root, resize
        self.size, self.count, self.test_fraction = size, count, test_fraction

    @cached_property
    def _base(self) -> Path:
        base = locate(self.path, self.root, "image folder")
        if not base.is_dir():
            raise InvalidInput(f"{base} is a file; path: must name a folder with images")
        return base

    @cached_property
    def _by_split(self) -> dict[str, list[Path]]:
        """All image files of each split, in the order of their names."""
        if all((self._base / split).is_dir() for split in SPLITS):
            return {split: _images(self._base / split) for split in SPLITS}
        paths = _images(self._base)
        return {split: [paths[i] for i in divide(len(paths), split, self.test_fraction)] for split in SPLITS}

    @cached_property
    def _classes(self) -> list[str]:
        """Names of the class subfolders, empty where there are none.

        Raises:
            InvalidInput: Some images lie in class subfolders and others do not.
        """
        divided = all((self._base / split).is_dir() for split in SPLITS)
        names = {
            path.relative_to(self._base / split if divided else self._base).parts[:-1]
            for split, paths in self._by_split.items()
            for path in paths
        }
        if names == {()}:
            return []
        if () in names:
            raise InvalidInput(f"{self._base}: some images lie in class subfolders and some do not; move them into one layout")
        return sorted({parts[0] for parts in names})

    def spec(self) -> DataSpec:
        """8-bit RGB; classes where there are subfolders."""
        shape = (3, self.size, self.size)
        return DataSpec(shape=shape, low=0.0, high=255.0, unit=255.0, classes=len(self._classes) or None)

    def files(self) -> Sequence[Path]:
        """Every image of both splits."""
        return [path for split in SPLITS for path in self._by_split[split]]

    def load(self, split: str, ctx: Context) -> Split:
        """Read at most `count` images."""
        check_split(split)
        paths = self._by_split[split]
        if len(paths) > self.count:
            chosen = np.random.default_rng(0).choice(len(paths), self.count, replace=False)
            paths = [paths[i] for i in np.sort(chosen)]
        inputs = np.empty((len(paths), 3, self.size, self.size), dtype=np.float32)
        for row, path in zip(inputs, paths, strict=True):
            picture = read_rgb(path)
            square = fitted(picture, self.size) if self.resize is None else _centred(picture, self.resize, self.size)
            row[:] = planes(square)
        return Split(inputs=inputs, targets=self._labels(split, paths), ids=self._ids(split, paths))

    def _top(self, split: str) -> Path:
        """The folder that holds the images or class subfolders of a split."""
        return self._base / split if all((self._base / s).is_dir() for s in SPLITS) else self._base

    def _labels(self, split: str, paths: list[Path]) -> np.ndarray | None:
        if not self._classes:
            return None
        number = {name: i for i, name in enumerate(self._classes)}
        base = self._top(split)
        return np.array([number[path.relative_to(base).parts[0]] for path in paths], dtype=np.int64)

    @cached_property
    def _stems_differ(self) -> bool:
        """Whether the names without endings tell the images of each split apart; asked of all, whatever `count` is."""
        return all(len({path.stem for path in paths}) == len(paths) for paths in self._by_split.values())

    def _ids(self, split: str, paths: list[Path]) -> np.ndarray:
        if self._stems_differ:
            return np.array([path.stem for path in paths])
        return np.array([path.relative_to(self._top(split)).with_suffix("").as_posix() for path in paths])


def _centred(picture: Image, resize: int, size: int) -> Image:
    """The centred square of `size` pixels of the image with its shorter side resized to `resize`.

    Lengths and corners are rounded as torchvision's Resize and CenterCrop do, so that accuracies can be compared.
    """
    from PIL import Image

    short = min(picture.size)
    width, height = (int(resize * side / short) for side in picture.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return picture.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))


def _images(folder: Path) -> list[Path]:
    """Image files below a folder, sorted by name.

    Raises:
        InvalidInput: There is none.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise InvalidInput(f"no image in {folder.absolute()}; these endings are read: {' '.join(sorted(_SUFFIXES))}")
    return found
