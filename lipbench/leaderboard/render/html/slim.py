# SPDX-License-Identifier: Apache-2.0
"""Smaller files of plots that look the same."""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_INSIDE = re.compile(rb"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
_INSIDE_AS = b"data:image/png;base64,"
_PLACES = re.compile(rb'(?<=\sd=")[^"<>]+|(?<=\s[xy]=")[^"<>]+')
"""Where an SVG says where it draws: paths, and the places of what it uses."""
_LONG = re.compile(rb"(?<![^\s,])-?(?:0|[1-9]\d*)\.\d{3,}(?![^\s,])")
_COLOURS = 256


def slim(svg: bytes) -> bytes:
    """An SVG that is smaller and looks the same.

    Its coordinates have five digits, less than a hundredth of a point in a plot. Pixel images of few colours in it,
    such as all grey ones, hold a byte a pixel instead of four.
    """
    return _PLACES.sub(
        lambda found: _LONG.sub(_shorter, found[0]), _INSIDE.sub(lambda found: _INSIDE_AS + _fewer_bytes(found[1]), svg)
    )


def _shorter(found: re.Match[bytes]) -> bytes:
    text = b"%.5g" % float(found[0])
    return found[0] if b"e" in text else text


def _fewer_bytes(encoded: bytes) -> bytes:
    import numpy as np
    from PIL import Image as Pixels

    try:
        with Pixels.open(io.BytesIO(base64.b64decode(encoded)), formats=["PNG"]) as picture:
            full = picture.convert("RGBA")
            if full.getcolors(_COLOURS) is None:
                return encoded
            pixels = np.ascontiguousarray(full)
    except (OSError, ValueError, SyntaxError, Pixels.DecompressionBombError):
        return encoded  # no browser shows it either
    colours, places = np.unique(pixels.view(">u4").reshape(pixels.shape[:2]), return_inverse=True)
    if (pixels[..., 3] != 0xFF).any():
        return encoded
    return min(base64.b64encode(_palette_png(colours, places.reshape(pixels.shape[:2]))), encoded, key=len)


def _palette_png(colours: np.ndarray[Any, Any], places: np.ndarray[Any, Any]) -> bytes:
    """A PNG of 8 bits a pixel; written here, since the bytes that a library writes change with its version."""
    import numpy as np

    height, width = places.shape
    lines = np.zeros((height, width + 1), dtype=np.uint8)  # each line begins with its filter, which is none
    lines[:, 1:] = places
    palette = colours.astype(">u4").view(np.uint8).reshape(-1, 4)[:, :3]
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0),
        b"PLTE": palette.tobytes(),
        b"IDAT": zlib.compress(lines.tobytes(), 9),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", binascii.crc32(name + body))
        for name, body in chunks.items()
    )
