# SPDX-License-Identifier: Apache-2.0
"""Pairs of inputs that are made when they are asked for, so that memory does not grow with their number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipbench.api import DataSpec

# Numbers that are made at once: few, so that one pair can be drawn again at little cost, and so that what is needed on the
# way neither counts nor leaves holes in the memory.
_BLOCK = 2**16


def block_size(spec: DataSpec) -> int:
    """Pairs that are made at once; it depends on the shape alone."""
    return max(1, min(1024, _BLOCK // (2 * torch.Size(spec.shape).numel())))


def box_ends(spec: DataSpec, dtype: torch.dtype) -> tuple[float, float]:
    """The smallest and the largest number of a precision inside the data's range, which may end between two of them."""
    low, high = (torch.tensor(v, dtype=torch.float64) for v in (spec.low, spec.high))
    bottom, top = low.to(dtype), high.to(dtype)
    inner_bottom = torch.nextafter(bottom, top) if bottom.double() < low else bottom
    inner_top = torch.nextafter(top, bottom) if top.double() > high else top
    return float(inner_bottom), float(inner_top)


def stored(ends: Tensor, spec: DataSpec, dtype: torch.dtype) -> Tensor:
    """Points in a precision, inside the box also after rounding."""
    return ends.to(dtype).clamp(*box_ends(spec, dtype))


class Pairs(ABC):
    """A fixed list of pairs. The same index gives the same pair, whatever was asked before."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """First and second ends (B, *shape) of the pairs (B,), in the precision of the search and inside the box."""

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """The first pairs, at most `count`."""
        return self.take(torch.arange(min(count, len(self))))


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenPairs(Pairs):
    """Pairs that are already there."""

    x: Tensor
    """(P, *shape) first ends, in the precision of the search."""
    y: Tensor
    """(P, *shape) second ends."""

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of both tensors."""
        return self.x[index], self.y[index]


@dataclass(frozen=True, kw_only=True, eq=False)
class RowPairs(Pairs):
    """Two different rows of a split each, or two blends of two different rows each."""

    rows: Tensor
    """(N, *shape) float32, not copied."""
    ends: Tensor
    """(P, 2) which rows."""
    spec: DataSpec
    dtype: torch.dtype
    other: Tensor | None = None
    """(P, 2) of blends: the rows of the second end. The first end is then made of `ends`."""
    mix: Tensor | None = None
    """(2, P) of blends: the share of the first row in each end."""

    def __len__(self) -> int:
        return len(self.ends)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Look the rows up, and blend them."""
        ends = torch.empty((2, len(index), *self.spec.shape), dtype=self.dtype)
        size = block_size(self.spec)
        for start in range(0, len(index), size):
            part = index[start : start + size]
            for end, made in zip(ends[:, start : start + size], self._made(part), strict=True):
                end.copy_(stored(made, self.spec, self.dtype))
        return ends[0], ends[1]

    def _made(self, index: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self.rows[self.ends[index, 0]], self.rows[self.ends[index, 1]]
        if self.other is None or self.mix is None:
            return x, y
        z, w = self.rows[self.other[index, 0]], self.rows[self.other[index, 1]]
        first, second = self.mix[:, index].reshape(2, -1, *(1,) * len(self.spec.shape))
        return first * x + (1 - first) * y, second * z + (1 - second) * w


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisePairs(Pairs):
    """Independent uniform numbers, drawn again whenever they are asked for.

    They are drawn in blocks with a generator each, so that a pair does not depend on what else is taken.
    """

    count: int
    generator: Callable[[int], torch.Generator]
    """The generator of a block."""
    spec: DataSpec
    dtype: torch.dtype

    def __len__(self) -> int:
        return self.count

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the blocks that hold the pairs."""
        ends = torch.empty((2, len(index), *self.spec.shape), dtype=self.dtype)
        size = block_size(self.spec)
        block = index // size
        for number in block.unique().tolist():
            rows = (block == number).nonzero().flatten()
            ends[:, rows] = stored(self._draw(number, size)[:, index[rows] % size], self.spec, self.dtype)
        return ends[0], ends[1]

    def _draw(self, number: int, count: int) -> Tensor:
        """(2, count, *shape) whole numbers where the range is that of 8-bit images, real ones otherwise."""
        low, high, g = self.spec.low, self.spec.high, self.generator(number)
        size = (2, count, *self.spec.shape)
        if (low, high) == (0.0, 255.0):
            return torch.randint(0, 256, size, generator=g, dtype=torch.uint8)
        return low + (high - low) * torch.rand(size, generator=g)
