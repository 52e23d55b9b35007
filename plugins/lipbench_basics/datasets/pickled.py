# SPDX-License-Identifier: Apache-2.0
"""Pickled dictionaries of numbers, lists and byte arrays, read without running any code that they name."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from lipbench.api import InvalidInput


class _DType:
    """Stands in for `numpy.dtype`: remembers what it was called with."""

    def __init__(self, *args: object) -> None:
        self.name = _text(args[0]) if args else ""

    def __setstate__(self, state: object) -> None:
        """The byte order, which single bytes do not have."""


class _Array:
    """Stands in for `numpy.ndarray`: remembers shape, type and bytes."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def decoded(self) -> np.ndarray:
        """The array, read-only.

        Raises:
            ValueError: Not an array of bytes in C order.
        """
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise ValueError("an array has no content")
        _, shape, kind, fortran, raw = self.state
        if not isinstance(kind, _DType) or kind.name != "u1" or fortran or not isinstance(raw, bytes):
            raise ValueError("an array is not one of 8-bit numbers in row order")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) != len(raw):
            raise ValueError(f"an array of shape {shape} has {len(raw):,} bytes")
        return np.frombuffer(raw, dtype=np.uint8).reshape(shape)


def _new_array(*_args: object) -> _Array:
    """Stands in for numpy's function that makes an empty array before its content is set."""
    return _Array()


_STAND_INS = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _new_array for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
}


class _Reader(pickle.Unpickler):
    """Every class or function that a file may name is replaced by one of this module; all others are refused."""

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which could run code") from None


def read_table(path: Path) -> dict[str, Any]:
    """A pickled dictionary, its keys as text, arrays of 8-bit numbers decoded.

    Only plain Python values and numpy arrays of bytes, as Python 2 or protocols up to 4 write them, are read.

    Raises:
        InvalidInput: Not such a file, truncated, or it holds anything else.
    """
    try:
        with path.open("rb") as file:
            found = _Reader(file, encoding="bytes").load()
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__} where a dictionary belongs")
        return {_text(k): v.decoded() if isinstance(v, _Array) else v for k, v in found.items()}
    except EOFError as error:
        raise InvalidInput(f"{path} is truncated: the pickled data ends too early") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    # Foreign bytes are instructions to the reader all the same; what it raises depends on which ones they are.
    except (pickle.UnpicklingError, ValueError, LookupError, TypeError, AttributeError, MemoryError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidInput(f"{path} is no pickled table of CIFAR, or it is damaged: {reason}") from error


def _text(word: object) -> str:
    return word.decode("latin-1") if isinstance(word, bytes) else str(word)
