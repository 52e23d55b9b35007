# SPDX-License-Identifier: Apache-2.0
"""Counts on planar networks: distinct maps, what a grid sees of them, areas and closed curves."""

from __future__ import annotations

import numpy as np

from ..engine.network import ReluNet
from ..engine.plane import Plane

_SAME = 1e-7
"""Ends of segments nearer than this share of the window are one point."""
_PART = 4000
"""Points at a time."""


def pick(net: ReluNet) -> np.ndarray:
    """(n,) weights of the scalar that is looked at: the only output, or the second less the first."""
    found = np.zeros(net.outputs)
    found[0] = 1.0
    if net.outputs > 1:
        found[:2] = (-1.0, 1.0)
    return found


def grid(low: float, high: float, side: int) -> np.ndarray:
    """(side^2, 2) points of a square, its border included."""
    line = np.linspace(low, high, side)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)


def scalar_maps(plane: Plane, weights: np.ndarray) -> np.ndarray:
    """(P, 3) the map [w; b] of the scalar on each cell."""
    return np.column_stack([np.einsum("n,pnk->pk", weights, plane.slope), plane.offset @ weights])


def distinct(rows: np.ndarray, decimals: int) -> int:
    """How many rows differ after rounding."""
    return len(np.unique(np.round(rows, decimals) + 0.0, axis=0))


def grid_maps(net: ReluNet, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maps [w; b] of the scalar in the cells that points hit, (P, 3), and how many points hit each."""
    packed = np.zeros((len(points), 8 * max(1, -(-net.units // 64))), dtype=np.uint8)
    # In parts that stay in the cache.
    for at in range(0, len(points), _PART):
        some = np.packbits(net.bits(points[at : at + _PART]), axis=1)
        packed[at : at + _PART, : some.shape[1]] = some
    words = packed.view(np.uint64)
    # Along a line of the grid most neighbours share a cell, so that only where it changes is there anything to sort.
    starts = np.flatnonzero(np.concatenate([[True], (words[1:] != words[:-1]).any(axis=1)]))
    _, first, cells = np.unique(words[starts], axis=0, return_index=True, return_inverse=True)
    counts = np.bincount(cells.ravel(), weights=np.diff(starts, append=len(words))).astype(np.int64)
    bits = np.unpackbits(packed[starts[first]], axis=1, count=net.units)
    _, _, slope, offset = net.affine(bits)
    weights = pick(net)
    return np.column_stack([np.einsum("n,pnk->pk", weights, slope), offset @ weights]), counts


def positive_area(polygons: list[np.ndarray], maps: np.ndarray) -> float:
    """The area on which w . x + b > 0, over bounded convex polygons with one map each."""
    total = 0.0
    for p, (*w, b) in zip(polygons, maps, strict=True):
        z = p @ np.array(w) + b
        q, zq = np.roll(p, -1, axis=0), np.roll(z, -1)
        cross = z * zq < 0
        t = np.where(cross, z / np.where(cross, z - zq, 1.0), 0.0)
        # After each corner that stays comes the point where the edge leaves the half plane or enters it.
        both = np.stack([p, p + t[:, None] * (q - p)], axis=1).reshape(-1, 2)
        kept = both[np.column_stack([z > 0, cross]).ravel()]
        if len(kept) > 2:
            after = np.roll(kept, -1, axis=0)
            total += abs(float((kept[:, 0] * after[:, 1] - kept[:, 1] * after[:, 0]).sum())) / 2
    return total


def zero_segments(polygons: list[np.ndarray], maps: np.ndarray) -> np.ndarray:
    """(S, 2, 2) the segments on which the maps of polygons are zero."""
    found = []
    for p, (*w, b) in zip(polygons, maps, strict=True):
        z = p @ np.array(w) + b
        after, ahead = np.roll(p, -1, axis=0), np.roll(z, -1)
        cross = z * ahead < 0
        if cross.sum() == 2:
            t = (z / np.where(cross, z - ahead, 1.0))[cross, None]
            found.append(p[cross] + t * (after[cross] - p[cross]))
    return np.array(found).reshape(-1, 2, 2)


def zero_loops(segments: np.ndarray, size: float) -> int:
    """Closed curves among segments; one that leaves the window has an end and is none.

    Args:
        segments: (S, 2, 2).
        size: Of the window.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    if not len(segments):
        return 0
    ends = segments.reshape(-1, 2)
    count = len(ends)
    near = cKDTree(ends).query_pairs(_SAME * size, output_type="ndarray")
    degree = np.bincount(near.ravel(), minlength=count)
    pairs = np.concatenate([near, np.arange(count).reshape(-1, 2)])
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    parts, labels = connected_components(graph, directed=False)
    loose = np.bincount(labels[degree == 0], minlength=parts)
    return int((loose == 0).sum())
