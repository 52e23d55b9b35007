# SPDX-License-Identifier: Apache-2.0
"""Nearest neighbours by the Hamming distance of bit vectors, and by Euclid, for tens of thousands of points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

BLOCK_BYTES = 256 * 2**20
"""Products that are held at a time."""


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
        queries: (N, h) of 0 and 1.
        references: (M, h).
        same: They are the same rows: no row is its own neighbour.
        device: Where the products are made.
    """
    h = queries.shape[1]

    def signs(bits: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(bits)).to(device=device, dtype=torch.float32) * 2 - 1

    # Sums of up to 2^24 signs are exact in float32.
    return _nearest(signs(queries), signs(references), lambda product, i: product, lambda best, i: (h - best) / 2, same)


def nearest_euclid(queries: np.ndarray, references: np.ndarray, *, same: bool = False, device: str = "cpu") -> Nearest:
    """The same by the Euclidean distance of rows (N, d) and (M, d), in float64."""
    x, y = (torch.from_numpy(np.ascontiguousarray(a, dtype=np.float64)).to(device) for a in (queries, references))
    half = (y * y).sum(1) / 2
    squares = (x * x).sum(1)
    return _nearest(x, y, lambda product, i: product - half, lambda best, i: (squares[i] - 2 * best).clamp(min=0).sqrt(), same)


def _nearest(x: torch.Tensor, y: torch.Tensor, score, distance, same: bool) -> Nearest:  # type: ignore[no-untyped-def]
    """Rows of y with the largest score for each row of x."""
    step = max(1, BLOCK_BYTES // (x.element_size() * max(1, len(y))))
    index, far, tied = [], [], []
    with torch.inference_mode():
        for i in range(0, len(x), step):
            rows = slice(i, i + step)
            scores = score(x[rows] @ y.T, rows)
            if same:
                own = torch.arange(i, i + len(scores), device=scores.device)
                scores[torch.arange(len(scores), device=scores.device), own] = -torch.inf
            best, place = scores.max(1)
            # `max` promises no order among equals.
            equal = scores == best[:, None]
            many = equal.sum(1) > 1
            if bool(many.any()):
                place[many] = equal[many].int().argmax(1)
            index.append(place.cpu().numpy())
            far.append(distance(best, rows).cpu().numpy())
            tied.append(many.cpu().numpy())
    return Nearest(index=np.concatenate(index), distance=np.concatenate(far).astype(np.float64), tied=np.concatenate(tied))
