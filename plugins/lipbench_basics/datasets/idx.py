# SPDX-License-Identifier: Apache-2.0
"""MNIST and its relatives from local IDX files, every byte of the header checked."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split, data_root

from .files import check_split

_STEM = {"train": "train", "test": "t10k"}
_KIND = {2051: "images", 2049: "labels"}
_SUFFIX = {"images": "images-idx3-ubyte", "labels": "labels-idx1-ubyte"}
# A header that claims more rows than this is broken; without a limit it would decide how much memory is asked for.
_MOST_ROWS = 10_000_000
_SIDE = 28


def read_idx(path: Path, kind: str) -> np.ndarray:
    """The bytes of an IDX file: (N, rows, columns) for images, (N,) for labels.

    Args:
        path: The file; a name that ends in `.gz` is decompressed.
        kind: `images` or `labels`.

    Raises:
        InvalidInput: Not an IDX file, the wrong kind, truncated, or longer than its header says.
    """
    axes = 3 if kind == "images" else 1
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4 + 4 * axes)
            sizes = _sizes(path, head, kind, axes)
            expected = int(np.prod(sizes, dtype=object))
            body = file.read(expected + 1)
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInput(f"{path} is not a gzip file, or it is damaged: {error}") from error
    except EOFError as error:
        raise InvalidInput(f"{path} is truncated: the compressed data ends too early") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    if len(body) < expected:
        raise InvalidInput(f"{path} is truncated: {len(body):,} of {expected:,} bytes of {kind} are there")
    if len(body) > expected:
        raise InvalidInput(f"{path} is longer than the {expected:,} bytes of {kind} that its header states")
    return np.frombuffer(body, dtype=np.uint8).reshape(sizes)


def _sizes(path: Path, head: bytes, kind: str, axes: int) -> tuple[int, ...]:
    """Check magic number and sizes of a header."""
    magic = int.from_bytes(head[:4], "big")
    found = _KIND.get(magic)
    if len(head) < 4 or (found == kind and len(head) < 4 + 4 * axes):
        raise InvalidInput(f"{path} is truncated: its header has {len(head)} of {4 + 4 * axes} bytes")
    if found is None:
        raise InvalidInput(f"{path} is no IDX file of {kind}: magic number {magic} where {_magic(kind)} belongs")
    if found != kind:
        raise InvalidInput(f"{path} is mislabelled: it holds {found}, but its name says {kind}")
    sizes = tuple(int.from_bytes(head[i : i + 4], "big") for i in range(4, len(head), 4))
    if sizes[0] > _MOST_ROWS:
        raise InvalidInput(f"{path} is damaged: its header claims {sizes[0]:,} rows")
    if kind == "images" and sizes[1:] != (_SIDE, _SIDE):
        raise InvalidInput(f"{path} holds images of {sizes[1]}x{sizes[2]} pixels, 28x28 belong here")
    return sizes


def _magic(kind: str) -> int:
    return next(number for number, name in _KIND.items() if name == kind)


class _Idx(Dataset):
    """Grey images of ten classes in the folder layout that torchvision uses."""

    folder: ClassVar[str]

    def __init__(
        self,
        *,
        root: str | None = None,
        count: Annotated[int, Field(ge=1)] | None = None,
        size: Annotated[int, Field(ge=4, le=256)] = _SIDE,
    ) -> None:
        self.root, self.count, self.size = root, count, size

    def spec(self) -> DataSpec:
        """8-bit grey images of ten classes."""
        return DataSpec(shape=(1, self.size, self.size), low=0.0, high=255.0, unit=255.0, classes=10)

    def files(self) -> Sequence[Path]:
        """Images and labels of both splits."""
        return [self._file(split, kind) for split in _STEM for kind in _SUFFIX]

    def load(self, split: str, ctx: Context) -> Split:
        """Read one split and check that images and labels belong together."""
        check_split(split)
        images_file, labels_file = self._file(split, "images"), self._file(split, "labels")
        images, labels = read_idx(images_file, "images"), read_idx(labels_file, "labels")
        if len(images) != len(labels):
            raise InvalidInput(f"{images_file} has {len(images):,} images, but {labels_file} has {len(labels):,} labels")
        if len(labels) and labels.max() > 9:
            row = int(np.argmax(labels > 9))
            raise InvalidInput(f"{labels_file} is mislabelled: row {row} has label {labels[row]}, 0..9 are possible")
        images, labels = images[: self.count], labels[: self.count]
        return Split(inputs=self._resized(images[:, None]), targets=labels.astype(np.int64))

    def _resized(self, images: np.ndarray) -> np.ndarray:
        """(n, 1, size, size) float32 in 0..255, in whole levels as the files have them."""
        if self.size == _SIDE:
            return images.astype(np.float32)
        import torch

        size = (self.size, self.size)
        # Smoothed where it shrinks, as image libraries do; in parts, because a whole split is 60,000 images.
        parts = torch.from_numpy(images.astype(np.float32)).split(4096)
        enlarged = [torch.nn.functional.interpolate(p, size=size, mode="bilinear", antialias=True) for p in parts]
        resized: np.ndarray = torch.cat(enlarged).round().numpy()
        return resized

    def _file(self, split: str, kind: str) -> Path:
        """The file, plain or gzipped, in `<root>/<folder>/raw` or `<root>/<folder>`."""
        name = f"{_STEM[split]}-{_SUFFIX[kind]}"
        home = data_root(self.root) / self.folder
        for place in (home / "raw", home):
            for file in (place / name, place / f"{name}.gz"):
                if file.is_file():
                    return file
        where = (home / "raw").absolute()
        raise InvalidInput(f"no file {name}[.gz] in {where}; put it there, or set LIPBENCH_DATA or root: to another folder")


class Mnist(_Idx):
    """60,000 + 10,000 handwritten digits, 28x28 pixels in 0..255, read from `<root>/MNIST/raw/*-ubyte[.gz]`.

    Args:
        root: Folder with the folder `MNIST`; null for `$LIPBENCH_DATA`, else `./data`.
        count: Use only the first rows of each split; null for all.
        size: Height and width to which the images are resized, bilinearly.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits.
    """

    licence = "CC BY-SA 3.0 (Yann LeCun and Corinna Cortes)"
    folder = "MNIST"


class FashionMnist(_Idx):
    """60,000 + 10,000 pictures of clothing, 28x28 pixels in 0..255, read from `<root>/FashionMNIST/raw/*-ubyte[.gz]`.

    Args:
        root: Folder with the folder `FashionMNIST`; null for `$LIPBENCH_DATA`, else `./data`.
        count: Use only the first rows of each split; null for all.
        size: Height and width to which the images are resized, bilinearly.

    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv:1708.07747.
    """

    licence = "MIT (Zalando SE)"
    folder = "FashionMNIST"


class Kmnist(_Idx):
    """60,000 + 10,000 cursive hiragana, 28x28 pixels in 0..255, read from `<root>/KMNIST/raw/*-ubyte[.gz]`.

    Args:
        root: Folder with the folder `KMNIST`; null for `$LIPBENCH_DATA`, else `./data`.
        count: Use only the first rows of each split; null for all.
        size: Height and width to which the images are resized, bilinearly.

    Source: T. Clanuwat et al., Deep Learning for Classical Japanese Literature, arXiv:1812.01718.
    """

    licence = "CC BY-SA 4.0 (ROIS-DS Center for Open Data in the Humanities)"
    folder = "KMNIST"
