# SPDX-License-Identifier: Apache-2.0
"""Which units a segment crosses: exactly, layer by layer, and by the published bisection, which misses some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .network import ReluNet

_NUMBERS = 2**24
"""Pre-activations that are held at a time."""
_EXPECTED = 64
"""Breakpoints that a segment is taken to have when segments are divided into blocks."""


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """Where N segments cross the boundaries of units, sorted by segment and by place on it."""

    segment: np.ndarray
    """(C,)."""
    place: np.ndarray
    """(C,) t in (0, 1) of the point start + t (end - start)."""
    unit: np.ndarray
    """(C,) which unit changes, 0..h-1."""
    touched: int
    """Pre-activations that are exactly zero at a breakpoint or an end: such a segment is in no general position."""
    segments: int

    def counts(self) -> np.ndarray:
        """(N,) crossings of each segment; one less than its cells."""
        return np.bincount(self.segment, minlength=self.segments)


def crossings(net: ReluNet, start: np.ndarray, end: np.ndarray) -> Crossings:
    """Cut segments into the pieces on which the network is affine.

    Between two neighbouring breakpoints of a layer's input its pre-activations are affine, so their zeros there are exact up to
    rounding. Costs one forward pass of all breakpoints.

    Args:
        net: The network.
        start: (N, m).
        end: (N, m).

    Source: M. Sotoudeh and A. V. Thakur, Computing linear restrictions of neural networks, NeurIPS 2019 (ExactLine).
    """
    block = max(1, _NUMBERS // (_EXPECTED * max(net.widths, default=1)))
    parts = [_block(net, start[i : i + block], end[i : i + block], i) for i in range(0, len(start), block)]
    return Crossings(
        segment=np.concatenate([p[0] for p in parts] or [np.zeros(0, dtype=np.int64)]),
        place=np.concatenate([p[1] for p in parts] or [np.zeros(0)]),
        unit=np.concatenate([p[2] for p in parts] or [np.zeros(0, dtype=np.int64)]),
        touched=sum(p[3] for p in parts),
        segments=len(start),
    )


def _block(net: ReluNet, start: np.ndarray, end: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    n = len(start)
    segment, place = np.repeat(np.arange(n), 2), np.tile([0.0, 1.0], n)
    x = np.stack([start, end], axis=1).reshape(2 * n, -1)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    touched, first = 0, 0
    for k, (w, b) in enumerate(zip(net.weights[:-1], net.biases[:-1], strict=True)):
        z = x @ w.T + b
        touched += int((z == 0).sum())
        same = segment[1:] == segment[:-1]
        i, j = np.nonzero((z[:-1] * z[1:] < 0) & same[:, None])
        share = z[i, j] / (z[i, j] - z[i + 1, j])
        between = z[i] + share[:, None] * (z[i + 1] - z[i])
        between[np.arange(len(i)), j] = 0.0
        at = place[i] + share * (place[i + 1] - place[i])
        found.append((segment[i], at, first + j))
        order = np.lexsort((np.concatenate([np.zeros(len(place)), share]), np.concatenate([np.arange(len(place)), i])))
        x = net.bend(k, np.concatenate([z, between])[order])
        segment, place = np.concatenate([segment, segment[i]])[order], np.concatenate([place, at])[order]
        first += len(b)
    if not found:
        return np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int64), 0
    segments, places, units = (np.concatenate([f[k] for f in found]) for k in range(3))
    order = np.lexsort((places, segments))
    return segments[order] + offset, places[order], units[order], touched


@dataclass(frozen=True, kw_only=True)
class Bisected:
    """What a bisection says of N segments."""

    counts: np.ndarray
    """(N,) crossings: the recorded ones and the last."""
    stalled: np.ndarray
    """(N,) bool: it did not come to its end within the halvings that it was given."""


def bisect(
    net: ReluNet, start: np.ndarray, end: np.ndarray, variant: Literal["published", "repaired"], *, halvings: int = 60
) -> Bisected:
    """List the cells on segments by halving until two points differ in one bit.

    `published` never moves the right end back after a hit, so it cannot get beyond the first interval that it halved.
    `repaired` moves it back to the end of the segment. Both are lower bounds only: at a distance of 1 a unit may have changed
    twice, and points at a distance of 1 need not be neighbours.

    Args:
        net: The network.
        start: (N, m).
        end: (N, m).
        variant: Which.
        halvings: Most halvings between two hits.

    Source: Y. Liu, T. Caglar, C. Peterson, M. Kirby, Front. Big Data 6:1274831, 2023, Algorithm 2.
    """
    n = len(start)
    last, left = net.bits(end), net.bits(start)
    low, high, since = np.zeros(n), np.ones(n), np.zeros(n, dtype=np.int64)
    hits, stalled = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    while True:
        away = (left != last).sum(axis=1)
        open_ended = (away > 1) if variant == "repaired" else (away != 1) & (away > 0)
        stalled |= open_ended & (since >= halvings)
        rows = np.flatnonzero(open_ended & ~stalled)
        if not len(rows):
            return Bisected(counts=hits + away.clip(max=1), stalled=stalled)
        middle = (low[rows] + high[rows]) / 2
        bits = net.bits(start[rows] + middle[:, None] * (end[rows] - start[rows]))
        distance = (bits != left[rows]).sum(axis=1)
        far, near = rows[distance > 1], distance <= 1
        high[far] = middle[distance > 1]
        low[rows[near]], left[rows[near]] = middle[near], bits[near]
        since[rows] += 1
        hit = rows[distance == 1]
        hits[hit] += 1
        since[hit] = 0
        if variant == "repaired":
            high[hit] = 1.0
