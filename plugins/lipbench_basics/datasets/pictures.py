# SPDX-License-Identifier: Apache-2.0
"""Reading image files with Pillow, with errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipbench.api import InvalidInput

if TYPE_CHECKING:
    from PIL.Image import Image


def read_rgb(path: Path) -> Image:
    """The image, upright, as 8-bit RGB.

    Raises:
        InvalidInput: Pillow is not installed, or the file is no readable image.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise InvalidInput("images need the package pillow: pip install 'lipbench[vision]'") from error
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except FileNotFoundError as error:
        raise InvalidInput(f"image file not found at {path.absolute()}") from error
    except UnidentifiedImageError as error:
        raise InvalidInput(f"{path} is not an image that Pillow can read; remove it or save it again") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{path} cannot be read as an image: {str(error).splitlines()[0]}") from error


def planes(picture: Image) -> np.ndarray:
    """(3, height, width) uint8, red first."""
    return np.asarray(picture, dtype=np.uint8).transpose(2, 0, 1)


def fitted(picture: Image, size: int) -> Image:
    """The largest centred square, resized to `size` pixels."""
    from PIL import Image, ImageOps

    return ImageOps.fit(picture, (size, size), method=Image.Resampling.BILINEAR)


def cropped(picture: Image, left: int, top: int, side: int, size: int) -> Image:
    """The square of `side` pixels with this corner, resized to `size` pixels."""
    from PIL import Image

    box = (left, top, left + side, top + side)
    return picture.resize((size, size), resample=Image.Resampling.BILINEAR, box=box)
