# SPDX-License-Identifier: Apache-2.0
"""The arrays inside of evidence, splits and states: found, compared, and put back changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

Array = np.ndarray | torch.Tensor


def arrays_in(value: Any, path: str = "") -> Iterator[tuple[str, Array]]:
    """Arrays and tensors by their path, in dataclasses, mappings, lists and tuples."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        yield path or "value", value
    else:
        for name, part in _parts(value):
            yield from arrays_in(part, f"{path}.{name}" if path else name)


def _parts(value: Any) -> list[tuple[str, Any]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return [(str(name), part) for name, part in value.items()]
    return [(str(i), part) for i, part in enumerate(value)] if isinstance(value, (list, tuple)) else []


def replaced(value: Any, change: Callable[[Array], Array]) -> Any:
    """A copy with each array changed."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return change(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: replaced(getattr(value, f.name), change) for f in dataclasses.fields(value) if f.init}
        return dataclasses.replace(value, **fields)
    if isinstance(value, Mapping):
        return {name: replaced(part, change) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [replaced(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def copied(value: Any) -> dict[str, Array]:
    """Copies of all arrays, by path."""
    return {path: _copy(array) for path, array in arrays_in(value)}


def _copy(array: Array) -> Array:
    return array.detach().clone() if isinstance(array, torch.Tensor) else array.copy()


def numpy_of(array: Array) -> np.ndarray:
    """Any array as one of numpy."""
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else array


def same(one: Array, other: Array) -> bool:
    """Equal bit for bit, in shape and type too; NaN is equal to NaN."""
    a, b = numpy_of(one), numpy_of(other)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def different(one: Mapping[str, Array], other: Mapping[str, Array]) -> list[str]:
    """Paths of arrays that are not the same, or that one of the two lacks."""
    return [p for p in dict.fromkeys([*one, *other]) if p not in one or p not in other or not same(one[p], other[p])]


def written_by(use: Callable[[Any], Any], value: Any) -> list[str]:
    """Paths of the arrays of a value that are not the same after its use."""
    before = copied(value)
    use(value)
    return different(before, copied(value))


def floating(array: Array) -> bool:
    """Whether it can hold NaN."""
    return array.is_floating_point() if isinstance(array, torch.Tensor) else np.issubdtype(array.dtype, np.floating)


def close(one: float, other: float, tolerance: float) -> bool:
    """Whether two numbers agree to a relative tolerance."""
    return abs(one - other) <= tolerance * max(abs(one), abs(other), 1e-12)


def first_rows(count: int) -> Callable[[Array], Array]:
    """A change that keeps so many rows of each array."""
    return lambda array: _copy(array)[:count] if array.ndim else array


def with_nan(array: Array) -> Array:
    """The array with NaN at its first place, where it can hold it."""
    made = _copy(array)
    if floating(made) and numpy_of(made).size:
        made.reshape(-1)[0] = float("nan")
    return made


def permuted(rng: np.random.Generator) -> Callable[[Array], Array]:
    """A change of the order of rows, the same for all arrays of one length."""
    orders: dict[int, np.ndarray] = {}

    def change(array: Array) -> Array:
        if not array.ndim:
            return array
        rows = len(array)
        order = orders.setdefault(rows, rng.permutation(rows))
        return array[torch.from_numpy(order)] if isinstance(array, torch.Tensor) else array[order]

    return change


def scaled(factor: float) -> Callable[[Array], Array]:
    """A change of scale of all that can hold NaN."""
    return lambda array: array * factor if floating(array) else array


def rotated(rng: np.random.Generator) -> Callable[[Array], Array]:
    """A rotation of the last axis of matrices, the same for all of one width."""
    turns: dict[int, np.ndarray] = {}

    def change(array: Array) -> Array:
        if array.ndim < 2 or not floating(array):
            return array
        width = array.shape[-1]
        if width not in turns:
            q, r = np.linalg.qr(rng.standard_normal((width, width)))
            turns[width] = q * np.sign(np.diag(r))
        if isinstance(array, torch.Tensor):
            return (array.double() @ torch.from_numpy(turns[width])).to(array.dtype)
        return (array.astype(np.float64) @ turns[width]).astype(array.dtype)

    return change
