# SPDX-License-Identifier: Apache-2.0
"""The plots of a suite as the page holds them."""

from __future__ import annotations

import base64
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lipbench.leaderboard.render.html.slim import slim

SVG = "image/svg+xml"
_NAMED_PATH = re.compile(rb'<path id="[^"<>&]+" d="[^"<>&]+"[^<>]*/>')
"""A sign of a font, as a plot that is text in paths defines it before it uses it."""
_PLACE = b"<?shared "
_SIZE = re.compile(rb"<svg\b[^>]*?\bviewBox=[\"']\s*[-\d.]+\s+[-\d.]+\s+([\d.]+)\s+([\d.]+)")


_PICTURES = {".png": "image/png", ".webp": "image/webp"}


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
    """The plots of a folder in order of their names; of one in several forms the one that packs smallest."""
    stems: dict[str, list[Image]] = {}
    for path in sorted(folder.glob("*")):
        image = _read(path) if path.is_file() else None
        if image is not None:
            stems.setdefault(image.name, []).append(image)
    return [min(images, key=lambda image: len(image.packed)) for images in stems.values()]


def share(images: Sequence[Image]) -> tuple[list[str], list[bytes | None]]:
    """Named paths that stand in several images, each once, and the images with `<?shared NUMBER?>` in their places.

    An image without such paths, which the page has to leave as it is, is None.
    """
    texts = [image.content if image.kind == SVG and _is_text(image.content) else b"" for image in images]
    counts = Counter(path for text in texts for path in set(_NAMED_PATH.findall(text)))
    numbers: dict[bytes, int] = {}

    def place(found: re.Match[bytes]) -> bytes:
        path = found[0]
        return _PLACE + b"%d?>" % numbers.setdefault(path, len(numbers)) if counts[path] > 1 else path

    short = [_NAMED_PATH.sub(place, text) for text in texts]
    return [path.decode() for path in numbers], [text if _PLACE in text else None for text in short]


def _is_text(svg: bytes) -> bool:
    try:
        svg.decode()
    except UnicodeDecodeError:
        return False
    return _PLACE not in svg


def _read(path: Path) -> Image | None:
    if path.suffix == ".svg":
        content = path.read_bytes()
        found = _SIZE.search(content)
        # Points become pixels: 4 of 3.
        size = [round(float(x) * 4 / 3) for x in found.groups()] if found else [0, 0]
        return Image(name=path.stem, kind=SVG, content=slim(content), width=size[0], height=size[1])
    if path.suffix in _PICTURES:
        width, height = _size(path)
        return Image(name=path.stem, kind=_PICTURES[path.suffix], content=path.read_bytes(), width=width, height=height)
    return None


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image as Pixels

    try:
        with Pixels.open(path, formats=["PNG", "WEBP"]) as picture:
            return picture.size
    except (OSError, Pixels.DecompressionBombError):
        return 0, 0
