# SPDX-License-Identifier: Apache-2.0
"""Noise of a batch in which every row has its own generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lipbench.api import InvalidInput

AT_ONCE = 64
"""Blocks drawn with one call for a row. It bounds the memory, and it is a constant: torch's normal numbers depend on how many
are drawn at once, so a value that hung on the memory at hand would change results."""


class RowNoise:
    """Blocks of standard normal noise, row k of each from generator k alone, so a row does not depend on its neighbours.

    Args:
        generators: One CPU generator for each row.
        shape: Shape of one row.
        blocks: How many blocks will be asked for.
        device: Where the blocks go.
        dtype: Of the blocks.
    """

    def __init__(
        self,
        generators: Sequence[torch.Generator],
        shape: tuple[int, ...],
        blocks: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._generators, self._shape, self._left = generators, shape, blocks
        self._device, self._dtype = device, dtype
        self._drawn: Tensor | None = None
        self._next = 0

    def __call__(self) -> Tensor:
        """The next block, (rows, *shape); it may be written to.

        Raises:
            InvalidInput: All blocks have been taken.
        """
        if self._drawn is None or self._next == len(self._drawn):
            if self._left == 0:
                raise InvalidInput("all noise of this batch has been used; make RowNoise with more blocks")
            count = min(self._left, AT_ONCE)
            rows = torch.empty(len(self._generators), count, *self._shape, dtype=self._dtype)
            for row, generator in zip(rows, self._generators, strict=True):
                torch.randn(row.shape, generator=generator, dtype=self._dtype, out=row)
            self._drawn = rows.transpose(0, 1).contiguous().to(self._device)
            self._left -= count
            self._next = 0
        self._next += 1
        return self._drawn[self._next - 1]
