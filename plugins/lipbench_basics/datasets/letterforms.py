# SPDX-License-Identifier: Apache-2.0
"""Letters as distance fields, from the outlines of the DejaVu fonts that matplotlib ships."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lipbench.api import InvalidInput

from .drawing import FIELD, INK, signed_distance
from .files import package_folder

LICENCE = "DejaVu Fonts License (free, Bitstream Vera derivative), fonts as redistributed by matplotlib"
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold")
_EXTRA = "lipbench[plots]"
_MOST_ENLARGED = 1.5  # relative to the median letter
_UNITS = 2048  # of the fonts, in one em; at this size outlines come in whole units, the same from any version of FreeType
_PIECES = 8  # straight pieces for one curve; off the curve by less than a hundredth of a pixel of a field
_MOVE, _LINE, _CURVE = 1, 2, 3  # codes of a path


def font_files() -> list[Path]:
    """The six font files, found without importing matplotlib.

    Raises:
        InvalidInput: matplotlib is not installed, or a font is missing in it.
    """
    folder = package_folder("matplotlib", _EXTRA) / "mpl-data" / "fonts" / "ttf"
    files = [folder / f"{name}.ttf" for name in FONTS]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InvalidInput(
            f"no font {missing[0]} in {folder}; install matplotlib again: pip install --force-reinstall matplotlib"
        )
    return files


def fonts_with(letters: str) -> list[Path]:
    """The font files that have every one of these letters, in a fixed order."""
    return [file for file in font_files() if all(ord(letter) in _opened(file).get_charmap() for letter in letters)]


def letter_fields(letters: str) -> tuple[np.ndarray, Sequence[Sequence[int]]]:
    """Every letter in every font that has all of them.

    Returns:
        (k, FIELD, FIELD) float32 signed distances, and for each letter the rows that show it.

    Raises:
        InvalidInput: No font has all the letters, or matplotlib is missing.
    """
    fields, fonts = _fields(letters)
    return fields, [range(i, len(letters) * fonts, len(letters)) for i in range(len(letters))]


@lru_cache(maxsize=8)
def _fields(letters: str) -> tuple[np.ndarray, int]:
    fonts = fonts_with(letters)
    if not fonts:
        raise InvalidInput(f"none of the fonts {', '.join(FONTS)} has all of the letters {letters}")
    fields = signed_distance(np.concatenate([_masks(_opened(font), letters) for font in fonts]))
    fields.setflags(write=False)
    return fields, len(fonts)


def _opened(file: Path) -> Any:
    """The font, by matplotlib's binding of FreeType; its font manager, which searches the machine, is not needed."""
    try:
        from matplotlib.ft2font import FT2Font
    except ImportError as error:
        raise InvalidInput(f"drawn letters need the package matplotlib: pip install '{_EXTRA}'") from error
    return FT2Font(str(file))


def _masks(font: Any, letters: str) -> np.ndarray:
    """Where the ink of each letter is, (k, FIELD, FIELD) bool, its longer side INK pixels and its box in the middle.

    The smallest letters stay smaller: a dot or a yod as large as an aleph would be another letter.
    """
    outlines = [_outline(font, letter) for letter in letters]
    longest = np.array([np.ptp(outline, axis=(0, 1)).max() for outline in outlines])
    scales = INK / np.maximum(longest, np.median(longest) / _MOST_ENLARGED)
    return np.stack([_filled(outline, float(scale)) for outline, scale in zip(outlines, scales, strict=True)])


def _outline(font: Any, letter: str) -> np.ndarray:
    """The outline as straight pieces, (pieces, 2 ends, 2 coordinates) float64 in font units, y up."""
    from matplotlib import ft2font

    # Hinting would bend outlines to a pixel grid that the finished images do not have. The name moved in matplotlib 3.10.
    flags: Any = getattr(ft2font, "LoadFlags", ft2font)
    font.set_size(_UNITS, 72)
    font.load_char(ord(letter), flags=flags.NO_HINTING if hasattr(flags, "NO_HINTING") else flags.LOAD_NO_HINTING)
    vertices, codes = font.get_path()
    contours: list[list[np.ndarray]] = []
    share = np.arange(1, _PIECES + 1)[:, None] / _PIECES
    row = 0
    while row < len(codes):
        here = vertices[row]
        if codes[row] == _MOVE:
            contours.append([here])
        elif codes[row] == _LINE:
            contours[-1].append(here)
        elif codes[row] == _CURVE:  # quadratic, the only curve of TrueType: a control point, then the end
            start, row = contours[-1][-1], row + 1
            contours[-1].extend((1 - share) ** 2 * start + 2 * share * (1 - share) * here + share**2 * vertices[row])
        row += 1
    closed = [np.array([*contour, contour[0]]) for contour in contours]
    return np.concatenate([np.stack([points[:-1], points[1:]], axis=1) for points in closed])


def _filled(outline: np.ndarray, scale: float) -> np.ndarray:
    """Pixels whose centre is inside, by the nonzero winding rule: (FIELD, FIELD) bool, the first row on top."""
    middle = (outline.min(axis=(0, 1)) + outline.max(axis=(0, 1))) / 2
    x, y = np.moveaxis((outline - middle) * [scale, -scale] + FIELD / 2, 2, 0)
    centres = np.arange(FIELD)[:, None] + 0.5
    above = y[None] <= centres[:, :, None]  # (rows, pieces, 2)
    row, piece = np.nonzero(above[:, :, 0] != above[:, :, 1])
    along = (centres[row, 0] - y[piece, 0]) / (y[piece, 1] - y[piece, 0])
    crossing = x[piece, 0] + along * (x[piece, 1] - x[piece, 0])
    turns = np.zeros((FIELD, FIELD + 1), dtype=np.int64)
    first = np.clip(np.ceil(crossing - 0.5), 0, FIELD).astype(np.int64)  # the first pixel to the right of the crossing
    np.add.at(turns, (row, first), np.where(above[row, piece, 0], 1, -1))
    return np.cumsum(turns, axis=1)[:, :FIELD] != 0
