# SPDX-License-Identifier: Apache-2.0
"""The plots of a suite as the page holds them."""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_INSIDE = re.compile(rb"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
_COLOURS = 256
_SIZE = re.compile(rb"<svg\b[^>]*?\bviewBox=[\"']\s*[-\d.]+\s+[-\d.]+\s+([\d.]+)\s+([\d.]+)")


@dataclass(frozen=True, kw_only=True)
class Image:
    """A plot that a plugin drew."""

    name: str
    """Name of its file, without the suffix."""
    kind: str
    """Its media type."""
    content: bytes
    width: int
    height: int
    """In pixels of the page; 0 where the file does not say."""

    @cached_property
    def packed(self) -> str:
        """Compressed, for the page; it becomes the source of an `img`, where no script of an SVG runs and nothing is loaded."""
        return pack(self.content)


def pack(content: bytes) -> str:
    """Compressed and in base64, in the zlib format, whose header names neither time nor system."""
    return base64.b64encode(zlib.compress(content, 9)).decode()


def read_images(folder: Path) -> list[Image]:
    """The plots of a folder in order of their names; of a plot that is there as SVG and as PNG the one that packs smaller."""
    stems: dict[str, list[Image]] = {}
    for path in sorted(folder.glob("*")):
        image = _read(path) if path.is_file() else None
        if image is not None:
            stems.setdefault(image.name, []).append(image)
    return [min(images, key=lambda image: len(image.packed)) for images in stems.values()]


def slim(svg: bytes) -> bytes:
    """An SVG whose pixel images of few colours, such as all grey ones, hold a byte a pixel instead of four; they look the same."""
    return _INSIDE.sub(lambda found: b"data:image/png;base64," + _fewer_bytes(found[1]), svg)


def _fewer_bytes(encoded: bytes) -> bytes:
    import numpy as np
    from PIL import Image as Pixels

    try:
        with Pixels.open(io.BytesIO(base64.b64decode(encoded)), formats=["PNG"]) as picture:
            pixels = np.ascontiguousarray(picture.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Pixels.DecompressionBombError):
        return encoded  # no browser shows it either
    colours, places = np.unique(pixels.view(">u4").reshape(pixels.shape[:2]), return_inverse=True)
    if len(colours) > _COLOURS or (colours & 0xFF != 0xFF).any():
        return encoded
    smaller = base64.b64encode(_palette_png(colours, places.reshape(pixels.shape[:2])))
    return min(smaller, encoded, key=len)


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


def _read(path: Path) -> Image | None:
    if path.suffix == ".svg":
        content = path.read_bytes()
        found = _SIZE.search(content)
        # Points become pixels: 4 of 3.
        size = [round(float(x) * 4 / 3) for x in found.groups()] if found else [0, 0]
        return Image(name=path.stem, kind="image/svg+xml", content=slim(content), width=size[0], height=size[1])
    if path.suffix == ".png":
        content = path.read_bytes()
        width, height = (int.from_bytes(content[i : i + 4]) for i in (16, 20))
        return Image(name=path.stem, kind="image/png", content=content, width=width, height=height)
    return None
