# SPDX-License-Identifier: Apache-2.0
"""Random crops of the colour photographs that scikit-learn and scikit-image carry inside their wheels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, Split

from .files import check_split, package_folder
from .pictures import cropped, planes, read_rgb

# The two motorcycle views show one scene, so they stay on one side of the split.
_PHOTOGRAPHS = {
    "train": ("sklearn/china.jpg", "skimage/astronaut.png", "skimage/motorcycle_left.png", "skimage/motorcycle_right.png"),
    "test": ("sklearn/flower.jpg", "skimage/chelsea.png", "skimage/coffee.png", "skimage/rocket.jpg"),
}
_FOLDERS = {"sklearn": Path("datasets", "images"), "skimage": Path("data")}


class NaturalImages(Dataset):
    """Random square crops of eight everyday colour photographs, RGB in 0..255.

    Training crops come from a Chinese palace, an astronaut and a motorcycle seen twice; test crops from a flower, a cat, a
    cup of coffee and a rocket, so no photograph is on both sides. Everything is read from installed packages.

    Args:
        size: Height and width of a crop in pixels.
        count: Crops in each split.
        smallest: Smallest area of a crop as a share of the largest square of its photograph; the share is drawn uniformly
            up to 1, the place uniformly, and the crop is resized with antialiased bilinear interpolation.
    """

    licence = (
        "china.jpg CC BY 2.0 danielbuechele; flower.jpg CC BY 2.0 vultilion; astronaut.png and rocket.jpg public domain "
        "(NASA, SpaceX); chelsea.png CC0 Stefan van der Walt; coffee.png CC0 Rachel Michetti; motorcycle_*.png Middlebury "
        "stereo benchmark 2014 (Scharstein et al.), as redistributed by scikit-image"
    )

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=1)] = 224,
        count: Annotated[int, Field(ge=1)] = 64,
        smallest: Annotated[float, Field(gt=0, le=1)] = 0.25,
    ) -> None:
        self.size, self.count, self.smallest = size, count, smallest

    def spec(self) -> DataSpec:
        """8-bit RGB without labels."""
        return DataSpec(shape=(3, self.size, self.size), low=0.0, high=255.0, unit=255.0)

    def files(self) -> Sequence[Path]:
        """The photographs of both splits."""
        return [path for split in _PHOTOGRAPHS for path in self._paths(split)]

    def load(self, split: str, ctx: Context) -> Split:
        """Draw crops by the seed."""
        check_split(split)
        photographs = [read_rgb(path) for path in self._paths(split)]
        rng = ctx.rng(f"natural_images {split}")
        crops = np.empty((self.count, 3, self.size, self.size), dtype=np.float32)
        for crop in crops:
            picture = photographs[rng.integers(len(photographs))]
            width, height = picture.size
            side = max(1, round(min(width, height) * float(rng.uniform(self.smallest, 1.0)) ** 0.5))
            left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
            crop[:] = planes(cropped(picture, left, top, side, self.size))
        return Split(inputs=crops)

    @staticmethod
    def _paths(split: str) -> list[Path]:
        places = [name.split("/") for name in _PHOTOGRAPHS[split]]
        return [package_folder(package, "lipbench[vision]") / _FOLDERS[package] / name for package, name in places]
