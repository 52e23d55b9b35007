# SPDX-License-Identifier: Apache-2.0
"""The matrix that least squares factorises: centred rows in float64, made a block at a time from rows in any precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lipbench.api import InvalidInput, NotFinite

BLOCK_BYTES = 2**26
"""Float64 bytes of one block of rows or columns."""
_PANEL = 1024
_ALL = slice(None)


def spans(length: int, width: int) -> Iterator[slice]:
    """Slices of 0..length whose blocks with `width` float64 numbers an item stay below `BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // (8 * max(1, width)))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def means(x: Tensor, weights: Tensor | None = None) -> Tensor:
    """Column means (p,) in float64 of rows (n, p); `weights` (n,) makes them weighted.

    The mean of what the first mean leaves is added, so that the error of the sum is of second order.

    Raises:
        NotFinite: A column holds NaN or an infinite value.
    """
    n, p = x.shape
    share = torch.full((n,), 1 / n, dtype=torch.float64) if weights is None else weights / weights.sum()
    mean = torch.zeros(p, dtype=torch.float64)
    for _ in range(2):
        rest = torch.zeros_like(mean)
        for rows in spans(n, p):
            rest += share[rows] @ (x[rows].double() - mean)
        mean = mean + rest
    if not bool(torch.isfinite(mean).all()):
        column = int(torch.isfinite(mean).logical_not().nonzero()[0])
        raise NotFinite(f"column {column} of {p} of an embedding holds NaN or an infinite value")
    return mean


def check_pair(x: Tensor, y: Tensor) -> None:
    """Source rows (n, p) and target rows (n, q) must be pairs.

    Raises:
        InvalidInput: Another number of dimensions, different numbers of rows, or fewer than two rows.
    """
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise InvalidInput(
            f"a map needs source rows (n, p) and target rows (n, q), found {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if len(x) < 2:
        raise InvalidInput(f"a map needs at least two pairs of rows, found {len(x)}; give the map split more images")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """`root * (x[:, live] - mean) / scale`, (n, k) float64, never held whole unless asked for."""

    x: Tensor
    """(n, p), float32 or float64."""
    live: Tensor
    """(k,) the columns of x that are not constant."""
    mean: Tensor
    """(k,)."""
    scale: Tensor | None = None
    """(k,) what each column is divided by; None for 1."""
    root: Tensor | None = None
    """(n,) square roots of the weights of the rows; None for 1."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and live columns."""
        return len(self.x), len(self.live)

    def block(self, rows: slice = _ALL, columns: slice = _ALL) -> Tensor:
        """A part of the matrix, a new contiguous tensor."""
        live = self.live[columns]
        # Indexing copies, a slice does not: columns are picked only where some are missing.
        part = self.x[rows, columns] if len(self.live) == self.x.shape[1] else self.x[rows].index_select(1, live)
        z = part.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
        z -= self.mean[columns]
        if self.scale is not None:
            z /= self.scale[columns]
        if self.root is not None:
            z *= self.root[rows, None]
        return z

    def moment(self, targets: Tensor, minus: Tensor | None = None) -> Tensor:
        """`Z^T (targets - Z minus)`, (k, q), in one pass over the rows Z."""
        n, k = self.shape
        total = torch.zeros((k, targets.shape[1]), dtype=torch.float64)
        for rows in spans(n, k):
            z = self.block(rows)
            part = targets[rows] if minus is None else torch.addmm(targets[rows], z, minus, alpha=-1)
            total.addmm_(z.T, part)
        return total

    def times(self, weight: Tensor) -> Tensor:
        """`Z weight`, (n, q)."""
        n, k = self.shape
        return torch.cat([self.block(rows) @ weight for rows in spans(n, k)])

    def gram(self, *, dual: bool) -> Tensor:
        """The upper triangle of `Z^T Z` (k, k), or of `Z Z^T` (n, n) where `dual`; below it the entries mean nothing.

        Panels of columns make it cost half of a full product.
        """
        n, k = self.shape
        total = torch.zeros((n, n) if dual else (k, k), dtype=torch.float64)
        for span in spans(k, n) if dual else spans(n, k):
            z = self.block(columns=span).T if dual else self.block(span)
            for start in range(0, len(total), _PANEL):
                stop = start + _PANEL
                total[start:stop, start:].addmm_(z[:, start:stop].T, z[:, start:])
        return total
