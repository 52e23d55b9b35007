# SPDX-License-Identifier: Apache-2.0
"""Tiny images of four kinds and their near copies, for out-of-distribution detection without any download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split

from .drawing import Style, drawn, fixed_draws, in_levels, shuffled_classes
from .files import check_split, package_folder
from .letterforms import font_files, letter_fields
from .shapes import SHAPES, shape_fields
from .transforms import Transform, transformed

Kind = Literal["digits", "geo", "latin", "shapes"]
_LETTERS = {"geo": "\u10d0\u10d1\u10d2\u10d3\u10d4\u10d5\u10d6\u10d7\u10d8\u10d9", "latin": "0123456789"}
_LEVELS = 16  # grey levels of scikit-learn's digits, less one


class OodTiny(Dataset):
    """Grey images of 8x8 or 16x16 pixels in [0, 1]: handwritten digits, Georgian letters, printed digits, or silhouettes.

    `digits` are the 1,797 of scikit-learn in a fixed shuffle, the first rows for training and the last for testing; at 16x16
    they are interpolated (bilinear, each pixel a quarter of the old one), so they have no detail of their own there. `geo` are
    the first ten letters of the Georgian alphabet and `latin` the printed digits 0 to 9, in a DejaVu font drawn at random
    (Sans, Serif, Mono, regular or bold), rotated (sd 7 degrees), sheared (sd 0.1), stretched (sd 5 %) and moved (up to 4 % of
    the side). `shapes` are a disc, square, triangle, cross, ring and star, moved in the same way and filled with blocks of a
    quarter of the side, 2x2 pixels at 8x8, that alternate between two random brightnesses. All have the 17 grey levels of
    scikit-learn's digits, so that no kind is told by its rounding. Labels are for tables by class; classes of drawn kinds are
    balanced.

    Any kind can be changed by a transform that keeps the histogram of every image (mirror, rot180, transpose, shuffle of its
    2x2-pixel blocks by a random permutation for each image) or by a contrast of 0.3, which does not. A transformed split
    consists of the very images of the plain one, changed.

    The dataset is one fixed thing: it does not depend on the seed of the suite, and a larger drawn split begins with the
    smaller one.

    Args:
        of: Which kind of images.
        size: Height and width in pixels.
        transform: How each image is changed, in both splits.
        train: Images in the training split; with `of: digits`, train and test together are at most 1,797.
        test: Images in the test split.

    Source of the digits: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """

    licence = "digits: CC BY 4.0 (UCI Machine Learning Repository); letters: DejaVu Fonts License; shapes: drawn"

    def __init__(
        self,
        *,
        of: Kind = "digits",
        size: Literal[8, 16] = 8,
        transform: Transform = "none",
        train: Annotated[int, Field(ge=1)] = 1400,
        test: Annotated[int, Field(ge=1)] = 300,
    ) -> None:
        if of == "digits" and train + test > 1797:
            raise InvalidInput(
                f"ood_tiny: there are 1,797 digits, but train: {train} and test: {test} ask for {train + test:,}"
            )
        self.of, self.size, self.transform = of, size, transform
        self.counts = {"train": train, "test": test}

    def spec(self) -> DataSpec:
        """Grey images in [0, 1]; six classes of shapes, else ten."""
        classes = len(SHAPES) if self.of == "shapes" else 10
        return DataSpec(shape=(1, self.size, self.size), low=0.0, high=1.0, classes=classes)

    def files(self) -> Sequence[Path]:
        """The table inside scikit-learn, or the fonts inside matplotlib; shapes need neither."""
        if self.of == "digits":
            return [package_folder("sklearn", "scikit-learn") / "datasets" / "data" / "digits.csv.gz"]
        return font_files() if self.of in _LETTERS else []

    def load(self, split: str, ctx: Context) -> Split:
        """Read or draw one split, the same for every seed."""
        check_split(split)
        makers = {"digits": self._digits, "shapes": self._shapes}
        images, targets = makers.get(self.of, self._letters)(split)
        images = in_levels(images, _LEVELS)[:, None]
        keys = fixed_draws(len(images), (self.size // 2) ** 2, "ood_tiny", self.of, split, "shuffle")
        return Split(inputs=transformed(images, self.transform, keys), targets=targets)

    def _digits(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))
        count = self.counts[split]
        rows = order[:count] if split == "train" else order[len(x) - count :]
        images = (x[rows] / 16).astype(np.float32).reshape(-1, 8, 8)
        return (images if self.size == 8 else _doubled(images)), y[rows].astype(np.int64)

    def _letters(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        letters, words = _LETTERS[self.of], ("ood_tiny", self.of, split)
        classes = shuffled_classes(self.counts[split], len(letters), *words)
        return drawn(*letter_fields(letters), classes, self._style(0.94), *words), classes

    def _shapes(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        words = ("ood_tiny", "shapes", split)
        classes = shuffled_classes(self.counts[split], len(SHAPES), *words)
        ink = drawn(shape_fields(), [[i] for i in range(len(SHAPES))], classes, self._style(0.84), *words)
        return ink * _texture(len(classes), self.size, *words), classes

    def _style(self, share: float) -> Style:
        """Changes of one image, the ink spanning this share of it."""
        return Style(
            size=self.size,
            ink=share * self.size,
            rotation=7,
            shear=0.1,
            scale=0.05,
            shift=0.04 * self.size,
            supersampling=64 // self.size,
        )


def _texture(count: int, size: int, *words: object) -> np.ndarray:
    """Blocks of size/4 pixels that alternate between a bright and a darker level: (count, size, size) float32."""
    draws = fixed_draws(count, 3, *words, "texture").astype(np.float32)
    block = np.arange(size) // (size // 4)
    odd = (block[:, None] + block[None, :] + (draws[:, 0] < 0.5)[:, None, None]) % 2 == 1
    bright, dark = 0.8 + 0.2 * draws[:, 1], 0.4 + 0.2 * draws[:, 2]
    return np.where(odd, bright[:, None, None], dark[:, None, None])


def _doubled(images: np.ndarray) -> np.ndarray:
    """(n, h, w) to (n, 2h, 2w) by bilinear interpolation between pixel centres, edges held."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    for axis in (1, 2):
        before, here, after = (np.take(padded, np.arange(i, padded.shape[axis] - 2 + i), axis=axis) for i in range(3))
        pairs = np.stack([0.25 * before + 0.75 * here, 0.75 * here + 0.25 * after], axis=axis + 1)
        shape = list(here.shape)
        shape[axis] *= 2
        padded = pairs.reshape(shape)
    return padded
