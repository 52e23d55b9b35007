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
_PLACES = re.compile(rb'(?<=\sd=")[^"<>]+|(?<=\s[xy]=")[^"<>]+')
"""Where an SVG says where it draws: paths, and the places of what it uses."""
_LONG = re.compile(rb"(?<![^\s,])-?(?:0|[1-9]\d*)\.\d{3,}(?![^\s,])")
_COLOURS = 256
_PHOTOGRAPH = 3
"""So many times smaller a photograph has to become as a JPEG, else it stays as it is,"""
_ERROR = 5.0
"""and so little of 255 may its pixels change in the mean, as sharp edges and noise would not."""
_QUALITY = 80


def slim(svg: bytes) -> bytes:
    """An SVG that is smaller and looks the same.

    Its coordinates have five digits, less than a hundredth of a point in a plot. Of its pixel images those of few colours, such
    as all grey ones, hold a byte a pixel instead of four, and photographs become JPEGs.
    """
    return _PLACES.sub(lambda found: _LONG.sub(_shorter, found[0]), _INSIDE.sub(lambda found: _smaller(found[1]), svg))


def _shorter(found: re.Match[bytes]) -> bytes:
    text = b"%.5g" % float(found[0])
    return found[0] if b"e" in text else text


def _smaller(encoded: bytes) -> bytes:
    """The address of an image in place of that of a PNG."""
    kind, content = _fewer_bytes(encoded)
    return b"data:image/" + kind + b";base64," + content


def _fewer_bytes(encoded: bytes) -> tuple[bytes, bytes]:
    import numpy as np
    from PIL import Image as Pixels

    same = b"png", encoded
    try:
        with Pixels.open(io.BytesIO(base64.b64decode(encoded)), formats=["PNG"]) as picture:
            pixels = np.ascontiguousarray(picture.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Pixels.DecompressionBombError):
        return same  # no browser shows it either
    if (pixels[..., 3] != 0xFF).any():
        return same
    colours, places = np.unique(pixels.view(">u4").reshape(pixels.shape[:2]), return_inverse=True)
    if len(colours) > _COLOURS:
        photograph = _jpeg(pixels[..., :3])
        return (b"jpeg", photograph) if photograph and len(photograph) * _PHOTOGRAPH < len(encoded) else same
    return b"png", min(base64.b64encode(_palette_png(colours, places.reshape(pixels.shape[:2]))), encoded, key=len)


def _jpeg(pixels: np.ndarray[Any, Any]) -> bytes | None:
    """In base64; None where it would not look the same."""
    import numpy as np
    from PIL import Image as Pixels

    out = io.BytesIO()
    Pixels.fromarray(pixels).save(out, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    with Pixels.open(out) as shown:
        error = np.abs(np.asarray(shown, dtype=float) - pixels).mean()
    return base64.b64encode(out.getvalue()) if error < _ERROR else None


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
