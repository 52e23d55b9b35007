# SPDX-License-Identifier: Apache-2.0
"""Nearest neighbours by the Hamming distance of bit vectors, and by Euclid, for tens of thousands of points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipbench.api import InvalidInput

ROWS, COLUMNS = 512, 2048
"""Queries and references whose products are held at a time: a block stays in the cache of a core."""
_LONG = 8
"""Fewest bits from which on products of bytes are used."""


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The nearest reference of each query."""

    index: np.ndarray
    """(N,) which; the first of several that are equally near."""
    distance: np.ndarray
    """(N,) how far."""
    tied: np.ndarray
    """(N,) bool: whether there are several."""


def nearest_hamming(queries: np.ndarray, references: np.ndarray, *, same: bool = False, device: str = "cpu") -> Nearest:
    """Nearest bit vectors by exact counts: products of signs, in blocks, so that no matrix of all distances is made.

    Args:
        queries: (N, h) of 0 and 1, h up to 2^24.
        references: (M, h).
        same: They are the same rows: no row is its own neighbour.
        device: Where the products are made.

    Raises:
        InvalidInput: There is no neighbour.
    """
    h = queries.shape[1]
    # Of rows of one byte torch's product reads what is not there; short rows gain nothing either.
    whole = h >= _LONG and _multiplies_bytes(device)

    def signs(bits: np.ndarray) -> Tensor:
        found = torch.from_numpy(np.ascontiguousarray(bits)).to(device, torch.int8 if whole else torch.float32, copy=True)
        return found.mul_(2).sub_(1)

    s, t = signs(queries), signs(references)

    def score(rows: slice, columns: slice) -> Tensor:
        # Whole numbers, and in float32 exact up to 2^24.
        return torch._int_mm(s[rows], t[columns].T) if whole else s[rows] @ t[columns].T

    best, index, tied = _nearest(len(s), len(t), score, same)
    return Nearest(index=index, distance=(h - best.double().cpu().numpy()) / 2, tied=tied)


def nearest_euclid(queries: np.ndarray, references: np.ndarray, *, same: bool = False, device: str = "cpu") -> Nearest:
    """The same by the Euclidean distance of rows (N, d) and (M, d), in float64.

    Raises:
        InvalidInput: There is no neighbour.
    """
    x, y = (torch.from_numpy(np.ascontiguousarray(a, dtype=np.float64)).to(device) for a in (queries, references))
    half = (y * y).sum(1) / 2
    best, index, tied = _nearest(len(x), len(y), lambda r, c: x[r] @ y[c].T - half[c], same)
    return Nearest(index=index, distance=((x * x).sum(1) - 2 * best).clamp(min=0).sqrt().cpu().numpy(), tied=tied)


def _multiplies_bytes(device: str) -> bool:
    """Whether the processor has fast products of bytes: several times as fast as those of float32."""
    return device == "cpu" and torch.backends.mkldnn.is_available() and "AVX" in torch.backends.cpu.get_cpu_capability()


@torch.inference_mode()
def _nearest(n: int, m: int, score: Callable[[slice, slice], Tensor], same: bool) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The largest score of each of n rows among m columns, the first column that has it, and whether others have it."""
    if m <= int(same):
        raise InvalidInput(f"{m} rows have no nearest neighbour; use more points")
    best, index, tied = [], [], []
    for i in range(0, n, ROWS):
        rows = slice(i, min(i + ROWS, n))
        for j in range(0, m, COLUMNS):
            scores = score(rows, slice(j, min(j + COLUMNS, m)))
            if same:
                low = max(i, j)
                own = torch.arange(low, max(low, min(i + len(scores), j + scores.shape[1])), device=scores.device)
                scores[own - i, own - j] = _lowest(scores)
            most, place = scores.max(1)
            # `max` promises no order among equals.
            equal = scores == most[:, None]
            many = equal.sum(1) > 1
            if bool(many.any()):
                place[many] = equal[many].int().argmax(1)
            if j == 0:
                best.append(most)
                index.append(place)
                tied.append(many)
                continue
            more, level = most > best[-1], most == best[-1]
            index[-1] = torch.where(more, place + j, index[-1])
            tied[-1] = torch.where(more, many, tied[-1] | level)
            best[-1] = torch.maximum(most, best[-1])
    return torch.cat(best), torch.cat(index).cpu().numpy(), torch.cat(tied).cpu().numpy()


def _lowest(scores: Tensor) -> float:
    """The least number of its kind."""
    return float("-inf") if scores.is_floating_point() else torch.iinfo(scores.dtype).min
