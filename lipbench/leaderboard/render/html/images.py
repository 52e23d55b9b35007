# SPDX-License-Identifier: Apache-2.0
"""The plots of a suite as the page holds them."""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

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

    @property
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


def _read(path: Path) -> Image | None:
    if path.suffix == ".svg":
        content = path.read_bytes()
        found = _SIZE.search(content)
        # Points become pixels: 4 of 3.
        size = [round(float(x) * 4 / 3) for x in found.groups()] if found else [0, 0]
        return Image(name=path.stem, kind="image/svg+xml", content=content, width=size[0], height=size[1])
    if path.suffix == ".png":
        content = path.read_bytes()
        width, height = (int.from_bytes(content[i : i + 4]) for i in (16, 20))
        return Image(name=path.stem, kind="image/png", content=content, width=width, height=height)
    return None
