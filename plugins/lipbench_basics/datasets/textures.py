# SPDX-License-Identifier: Apache-2.0
"""Patches of the textures and photographs that scikit-image carries inside its wheel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split

from .drawing import fixed_draws, shuffled_classes
from .files import check_split, package_folder
from .pictures import read_rgb

_TEXTURES = ("brick.png", "grass.png", "gravel.png")
_COLOUR = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
_GREY = ("camera.png", "coins.png")
_TRAIN_SHARE = 0.7
_LEAST_CONTRAST = 4  # grey levels
_LONGEST = 112  # pixels of a picture that a patch may span: the narrowest test side has 115
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


class TexturePatches(Dataset):
    """Square patches of three grey textures or of everyday photographs, 8-bit.

    Textures: brick, grass, gravel. Photographs: astronaut, cat, coffee, motorcycle, rocket; and, with grey channels only,
    cameraman and coins. Training patches lie in the left 70 % of each picture, test patches in the rest, so no pixel is on
    both sides; within a split patches may overlap. Places are uniform over those where the standard deviation of the
    brightness is at least 4 of 255 levels: an empty sky looks the same in any picture. The label is the picture; classes are
    balanced.

    The dataset is one fixed thing: it does not depend on the seed of the suite, and larger splits begin with the smaller ones.

    Args:
        kind: Which pictures.
        channels: `grey` (photographs by their luminance, ITU-R BT.601), or `rgb` (the textures have no colour: three equal
            channels).
        size: Height and width of a patch in pixels.
        shrink: Each picture is first made smaller by this whole factor, by means over squares; size times shrink is at most
            112.
        train: Patches in the training split.
        test: Patches in the test split.
    """

    licence = (
        "brick.png, gravel.png CC0 (CC0 Textures); grass.png CC0 linolafett; camera.png CC0 Lav Varshney; coins.png no known "
        "restrictions (Brooklyn Museum); astronaut.png and rocket.jpg public domain (NASA, SpaceX); chelsea.png CC0 Stefan van "
        "der Walt; coffee.png CC0 Rachel Michetti; motorcycle_left.png Middlebury stereo benchmark 2014 (Scharstein et "
        "al.), as redistributed by scikit-image"
    )

    def __init__(
        self,
        *,
        kind: Literal["textures", "photographs"] = "textures",
        channels: Literal["grey", "rgb"] = "grey",
        size: Annotated[int, Field(ge=2, le=_LONGEST)] = 32,
        shrink: Annotated[int, Field(ge=1, le=8)] = 2,
        train: Annotated[int, Field(ge=1)] = 4000,
        test: Annotated[int, Field(ge=1)] = 1000,
    ) -> None:
        if size * shrink > _LONGEST:
            raise InvalidInput(
                f"texture_patches: size: {size} times shrink: {shrink} is {size * shrink}; at most {_LONGEST} fit a picture"
            )
        self.kind, self.channels, self.size, self.shrink = kind, channels, size, shrink
        self.counts = {"train": train, "test": test}
        self.names = _TEXTURES if kind == "textures" else (_COLOUR if channels == "rgb" else _COLOUR + _GREY)

    def spec(self) -> DataSpec:
        """8-bit images, a class for each picture."""
        planes = 3 if self.channels == "rgb" else 1
        return DataSpec(shape=(planes, self.size, self.size), low=0.0, high=255.0, unit=255.0, classes=len(self.names))

    def files(self) -> Sequence[Path]:
        """The pictures.

        Raises:
            InvalidInput: scikit-image is not installed, or does not have a picture.
        """
        folder = package_folder("skimage", "lipbench[vision]") / "data"
        files = [folder / name for name in self.names]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise InvalidInput(
                f"no picture {missing[0]} in {folder}; install scikit-image again: pip install 'lipbench[vision]'"
            )
        return files

    def load(self, split: str, ctx: Context) -> Split:
        """Cut out one split, the same for every seed."""
        check_split(split)
        words, count = ("texture_patches", self.kind, self.channels, self.size, self.shrink, split), self.counts[split]
        targets, places = shuffled_classes(count, len(self.names), *words), fixed_draws(count, 1, *words, "places")[:, 0]
        patches = np.empty((count, *self.spec().shape), dtype=np.float32)
        for label, file in enumerate(self.files()):
            side = self._side(self._planes(file), split)
            windows = np.lib.stride_tricks.sliding_window_view(side, (self.size, self.size), axis=(1, 2))
            lively = np.argwhere(_contrasts(side, self.size) >= _LEAST_CONTRAST)
            rows = np.flatnonzero(targets == label)
            top, left = lively[(places[rows] * len(lively)).astype(np.int64)].T
            patches[rows] = windows[:, top, left].swapaxes(0, 1)
        return Split(inputs=patches, targets=targets)

    def _planes(self, file: Path) -> np.ndarray:
        """(C, height, width) uint8, made smaller."""
        picture = np.asarray(read_rgb(file)).transpose(2, 0, 1).astype(np.float64)
        if self.channels == "grey":
            picture = np.tensordot(_LUMINANCE, picture, axes=1)[None]
        height, width = (side // self.shrink for side in picture.shape[1:])
        picture = picture[:, : height * self.shrink, : width * self.shrink]
        squares = picture.reshape(-1, height, self.shrink, width, self.shrink)
        return np.rint(squares.mean(axis=(2, 4))).astype(np.uint8)

    @staticmethod
    def _side(planes: np.ndarray, split: str) -> np.ndarray:
        """The part of a picture that belongs to a split."""
        line = round(planes.shape[2] * _TRAIN_SHARE)
        return planes[:, :, :line] if split == "train" else planes[:, :, line:]


def _contrasts(planes: np.ndarray, size: int) -> np.ndarray:
    """Standard deviation of the mean of the channels over each window of `size` pixels, by its top left corner."""
    brightness = planes.sum(axis=0, dtype=np.int64)  # whole numbers, so that the sums are exact
    pixels = size * size
    variance = _window_sums(brightness**2, size) * pixels - _window_sums(brightness, size) ** 2
    return np.sqrt(variance) / (pixels * len(planes))


def _window_sums(values: np.ndarray, size: int) -> np.ndarray:
    """Sums over all windows, from one table of cumulated sums."""
    table = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return table[size:, size:] - table[:-size, size:] - table[size:, :-size] + table[:-size, :-size]
