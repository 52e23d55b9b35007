# SPDX-License-Identifier: Apache-2.0
"""Letters of many alphabets at MNIST's size, drawn from the fonts that matplotlib ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, Split

from .drawing import Style, drawn, in_levels, shuffled_classes
from .files import check_split
from .letterforms import LICENCE, font_files, letter_fields

Alphabet = Literal[
    "digits", "latin", "greek", "cyrillic", "armenian", "georgian", "hebrew", "arabic", "tifinagh", "nko", "lisu"
]


def _range(first: int, last: int, without: str = "") -> str:
    return "".join(c for c in map(chr, range(first, last + 1)) if c not in without)


LETTERS: dict[Alphabet, str] = {
    "digits": "0123456789",
    "latin": _range(0x41, 0x5A),  # capitals
    "greek": _range(0x3B1, 0x3C9, "\u03c2"),  # small letters, sigma once
    "cyrillic": _range(0x430, 0x44F),  # small letters
    "armenian": _range(0x561, 0x586),  # small letters
    "georgian": _range(0x10D0, 0x10F0),  # the 33 letters in use
    "hebrew": _range(0x5D0, 0x5EA, "\u05da\u05dd\u05df\u05e3\u05e5"),  # without the final forms
    "arabic": "\u0627" + _range(0x628, 0x63A, "\u0629") + _range(0x641, 0x648) + "\u064a",  # isolated forms
    "tifinagh": _range(0x2D30, 0x2D65),
    "nko": _range(0x7CA, 0x7E7),
    "lisu": _range(0xA4D0, 0xA4F7),
}
"""The letters of each alphabet; the place of a letter is its label."""


class Glyphs(Dataset):
    """Printed letters of one alphabet, grey levels in [0, 1], white on black.

    Each image shows one letter in a font drawn at random among DejaVu Sans, Serif and Mono, regular and bold (Hebrew, Tifinagh,
    N'Ko and Lisu: Sans only; Arabic: no Serif), its longer side scaled to 19 of 28 pixels (small letters at most 1.5 times more
    than the median letter), then rotated (sd 8 degrees), sheared (sd 0.1), stretched (sd 8 % along each axis), moved (up to
    1 pixel) and made thinner or bolder (each edge by -0.25 to 0.45 pixels). Pixels are antialiased and rounded to 256 levels.
    The label is the letter; classes are balanced.

    The dataset is one fixed thing: it does not depend on the seed of the suite, and larger splits begin with the smaller ones.

    Args:
        alphabet: Which letters: ten digits, 26 capitals of Latin, or the letters of another script.
        size: Height and width of an image; all lengths above scale with it.
        train: Images in the training split.
        test: Images in the test split.
    """

    licence = LICENCE

    def __init__(
        self,
        *,
        alphabet: Alphabet = "digits",
        size: Annotated[int, Field(ge=8, le=64)] = 28,
        train: Annotated[int, Field(ge=1)] = 4000,
        test: Annotated[int, Field(ge=1)] = 1000,
    ) -> None:
        self.alphabet, self.size, self.counts = alphabet, size, {"train": train, "test": test}

    def spec(self) -> DataSpec:
        """Grey images, a class for each letter."""
        return DataSpec(shape=(1, self.size, self.size), low=0.0, high=1.0, classes=len(LETTERS[self.alphabet]))

    def files(self) -> Sequence[Path]:
        """The font files."""
        return font_files()

    def load(self, split: str, ctx: Context) -> Split:
        """Draw one split, the same for every seed."""
        check_split(split)
        letters, pixel = LETTERS[self.alphabet], self.size / 28
        words = ("glyphs", self.alphabet, split)
        classes = shuffled_classes(self.counts[split], len(letters), *words)
        style = Style(
            size=self.size,
            ink=19 * pixel,
            rotation=8,
            shear=0.1,
            scale=0.08,
            shift=pixel,
            weight=(-0.25 * pixel, 0.45 * pixel),
            supersampling=3,
        )
        images = drawn(*letter_fields(letters), classes, style, *words)
        return Split(inputs=in_levels(images, 255)[:, None], targets=classes)
