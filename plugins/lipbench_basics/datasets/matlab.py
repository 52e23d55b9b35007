# SPDX-License-Identifier: Apache-2.0
"""Arrays of numbers from MATLAB files of version 5, every length checked before it is used.

`scipy.io.loadmat` reads more kinds of files, but trusts them: one wrong byte can end the process with a segmentation fault.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from lipbench.api import InvalidInput

_HEADER = 128
_MATRIX, _COMPRESSED, _INT8, _INT32, _UINT32 = 14, 15, 1, 5, 6
# How numbers are stored, whatever the class of the array: MATLAB keeps a double array of small whole numbers as bytes.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMBERS = range(6, 16)  # classes of real arrays, from double to uint64
_OPAQUE = 17  # an object without the layout of an array
_COMPLEX = 0x0800
_MOST_BYTES = 4 << 30  # of one array; without a limit a damaged length would decide how much memory is asked for


def read_arrays(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of these names that a file has, as they are stored; all else in the file is passed over.

    Format: MAT-File Level 5, The MathWorks, "MAT-File Format".

    Raises:
        InvalidInput: The file cannot be read, is no MATLAB file of version 5, is truncated or damaged, or one of the names is
            something else than real numbers.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    reader = _Reader(path, memoryview(content)[_HEADER:], _byte_order(path, content[:_HEADER]))
    found: dict[str, np.ndarray] = {}
    while reader.rest:
        kind, size = reader.tag()
        body = reader.take(size)
        if kind == _COMPRESSED:
            body = _inflated(path, body, reader.order)
        elif kind != _MATRIX:
            raise reader.damaged(f"an element of type {kind} where an array belongs")
        name, array = _Reader(path, body, reader.order).matrix(names)
        if array is not None:
            found[name] = array
    return found


def _byte_order(path: Path, header: bytes) -> str:
    """`<` or `>`."""
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if order is None:
        raise InvalidInput(f"{path} is no MATLAB file of version 5, or it is truncated: its header does not end in IM or MI")
    version = int(np.frombuffer(header, dtype=f"{order}u2", count=1, offset=124)[0])
    if version != 0x0100:
        known = "of version 7.3" if version == 0x0200 else f"of unknown version {version:#06x}"
        raise InvalidInput(f"{path} is a MATLAB file {known}; save it again with -v7")
    return order


def _inflated(path: Path, body: memoryview, order: str) -> memoryview:
    """What follows the tag of the one array in a compressed element."""
    try:
        stream = zlib.decompressobj()
        kind, size = _Reader(path, memoryview(stream.decompress(body, 8)), order).tag()
        if kind != _MATRIX or size > _MOST_BYTES:
            raise InvalidInput(f"{path} is damaged: compressed data of type {kind} and {size:,} bytes where an array belongs")
        content = stream.decompress(stream.unconsumed_tail, size) if size else b""
        # The checksum is read only where more is asked for.
        beyond = stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise InvalidInput(f"{path} is damaged: {error}") from error
    if len(content) < size or beyond or not stream.eof:
        raise InvalidInput(
            f"{path} is truncated or damaged: a compressed array does not have the {size:,} bytes that it states"
        )
    return memoryview(content)


class _Reader:
    """A place in the bytes of a file."""

    def __init__(self, path: Path, rest: memoryview, order: str) -> None:
        self.path, self.rest, self.order = path, rest, order

    def damaged(self, reason: str) -> InvalidInput:
        return InvalidInput(f"{self.path} is damaged: {reason}")

    def take(self, size: int) -> memoryview:
        """The next bytes."""
        if size > len(self.rest):
            raise InvalidInput(f"{self.path} is truncated: {len(self.rest):,} of {size:,} bytes of an element are there")
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def tag(self) -> tuple[int, int]:
        """Type and length in bytes of what follows."""
        kind, size = np.frombuffer(self.take(8), dtype=f"{self.order}u4")
        return int(kind), int(size)

    def element(self) -> tuple[int, memoryview]:
        """Type and bytes of one part of an array; up to four bytes may sit in the tag itself."""
        tag = self.take(8)
        kind, size = (int(number) for number in np.frombuffer(tag, dtype=f"{self.order}u4"))
        if kind >> 16:
            kind, size = kind & 0xFFFF, kind >> 16
            if size > 4:
                raise self.damaged(f"a short element of {size} bytes")
            return kind, tag[4 : 4 + size]
        body = self.take(size)
        self.take(min(-size % 8, len(self.rest)))
        return kind, body

    def integers(self, kind: int, what: str) -> list[int]:
        """A part that must be 32-bit whole numbers of this type."""
        found, body = self.element()
        if found != kind or len(body) % 4:
            raise self.damaged(f"the {what} of an array are missing")
        return [int(n) for n in np.frombuffer(body, dtype=f"{self.order}{'i4' if kind == _INT32 else 'u4'}")]

    def matrix(self, names: Collection[str]) -> tuple[str, np.ndarray | None]:
        """Name of an array, and the array where its name is one of these."""
        flags = self.integers(_UINT32, "flags")
        if len(flags) != 2:
            raise self.damaged("the flags of an array are missing")
        if flags[0] & 0xFF == _OPAQUE:
            return "", None
        sizes = self.integers(_INT32, "sizes")
        kind, label = self.element()
        name = bytes(label).decode("latin-1")
        if kind != _INT8:
            raise self.damaged("the name of an array is missing")
        if name not in names:
            return name, None
        if flags[0] & 0xFF not in _NUMBERS or flags[0] & _COMPLEX:
            raise InvalidInput(f"{self.path} is mislabelled: {name} is no array of real numbers")
        return name, self.numbers(name, sizes)

    def numbers(self, name: str, sizes: list[int]) -> np.ndarray:
        """The numbers of an array, the first index running fastest."""
        kind, body = self.element()
        if kind not in _STORED:
            raise self.damaged(f"the numbers of {name} are of the unknown type {kind}")
        dtype = np.dtype(f"{self.order}{_STORED[kind]}")
        if not 2 <= len(sizes) <= 8 or min(sizes) < 0 or math.prod(sizes) * dtype.itemsize != len(body):
            raise self.damaged(f"{name} has sizes {sizes}, but {len(body):,} bytes of {dtype.name}")
        return np.frombuffer(body, dtype=dtype).reshape(sizes, order="F")
