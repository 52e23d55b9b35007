# SPDX-License-Identifier: Apache-2.0
"""Changes of square images that keep their pixels, and one that does not: near out-of-distribution copies of a dataset."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from lipbench.api import InvalidInput

Transform = Literal["none", "mirror", "rot180", "transpose", "shuffle", "contrast"]
CONTRAST = 0.3
_BLOCK = 2


def transformed(images: np.ndarray, transform: Transform, keys: np.ndarray | None = None) -> np.ndarray:
    """Every image changed in the same way, as a new array.

    `mirror` swaps left and right, `rot180` turns by half a turn, `transpose` swaps rows and columns (all three undo
    themselves), `shuffle` permutes the 2x2-pixel blocks of each image; these keep the histogram of each image to the bit.
    `contrast` multiplies by 0.3.

    Args:
        images: (n, C, L, L), square.
        transform: Which change; `none` gives a copy.
        keys: (n, (L/2)^2) random numbers for `shuffle`; block j of an image moves to the rank of key j.

    Raises:
        InvalidInput: An unknown name, images that are not square, or keys that do not fit the blocks.
    """
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise InvalidInput(f"transforms need square images (n, C, L, L), these have shape {images.shape}")
    if transform == "shuffle":
        return shuffled_blocks(images, keys)
    simple = {
        "none": images,
        "mirror": images[:, :, :, ::-1],
        "rot180": images[:, :, ::-1, ::-1],
        "transpose": images.swapaxes(2, 3),
        "contrast": images * images.dtype.type(CONTRAST),
    }
    if transform not in simple:
        raise InvalidInput(f"there is no transform {transform!r}; write one of {', '.join(get_args(Transform))}")
    return simple[transform].copy()


def shuffled_blocks(images: np.ndarray, keys: np.ndarray | None) -> np.ndarray:
    """The 2x2-pixel blocks of each image in the order of its keys; all channels move together.

    Raises:
        InvalidInput: An odd side, or keys that are missing or of another shape than (n, (L/2)^2).
    """
    n, channels, side, _ = images.shape
    per_side = side // _BLOCK
    if side % _BLOCK:
        raise InvalidInput(f"shuffle needs an even side, the images have {side} pixels")
    if keys is None or keys.shape != (n, per_side**2):
        found = "none" if keys is None else str(keys.shape)
        raise InvalidInput(f"shuffle needs random keys of shape {(n, per_side**2)}, found {found}")
    blocks = images.reshape(n, channels, per_side, _BLOCK, per_side, _BLOCK).transpose(0, 2, 4, 1, 3, 5)
    blocks = blocks.reshape(n, per_side**2, channels, _BLOCK, _BLOCK)
    moved = np.take_along_axis(blocks, np.argsort(keys, axis=1)[:, :, None, None, None], axis=1)
    grid = moved.reshape(n, per_side, per_side, channels, _BLOCK, _BLOCK).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(grid.reshape(images.shape))
