# SPDX-License-Identifier: Apache-2.0
"""Counts on planar networks: distinct maps, what a grid sees of them, areas and closed curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..engine.network import ReluNet
from ..engine.plane import Plane, decompose

_SAME = 1e-7
"""Ends of segments nearer than this share of the window are one point."""


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
    bits, counts = np.unique(np.packbits(net.bits(points), axis=1), axis=0, return_counts=True)
    _, _, slope, offset = net.affine(np.unpackbits(bits, axis=1, count=net.units))
    weights = pick(net)
    return np.column_stack([np.einsum("n,pnk->pk", weights, slope), offset @ weights]), counts


def on_grid(plane: Plane, nets: Sequence[ReluNet], line: np.ndarray) -> np.ndarray:
    """(P,) bool: which cells a grid hits, without a look at each of its points.

    A convex polygon has a point of the grid in it where, in some column of the grid, the point next to the middle of the
    polygon's part of the column is in it; one point for each polygon and column is enough.

    Args:
        plane: Of networks in the square that the grid fills.
        nets: These networks.
        line: (side,) coordinates of the grid, evenly spaced.
    """
    polygons, bits = plane.polygons(), plane.bits()
    hit = _hit(plane, nets, bits, np.arange(len(bits)), _next(line, np.array([p.mean(axis=0) for p in polygons])))
    # Most have the point next to the mean of their corners in them.
    rest, found = np.flatnonzero(~hit), []
    for i in rest:
        p = polygons[i]
        x = line[(line >= p[:, 0].min()) & (line <= p[:, 0].max())]
        (x0, y0), (x1, y1) = p.T[:, :, None], np.roll(p, -1, axis=0).T[:, :, None]
        there = (np.minimum(x0, x1) <= x) & (x <= np.maximum(x0, x1)) & (x0 != x1)
        y = y0 + (x - x0) * (y1 - y0) / np.where(x0 != x1, x1 - x0, 1.0)
        middle = (np.where(there, y, np.inf).min(axis=0) + np.where(there, y, -np.inf).max(axis=0)) / 2
        found.append(_next(line, np.column_stack([x, middle])))
    cells = np.repeat(rest, [len(points) for points in found])
    hit[cells[_hit(plane, nets, bits, cells, np.concatenate([np.zeros((0, 2)), *found]))]] = True
    return hit


def _next(line: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The points of a grid next to points."""
    steps = np.rint((points - line[0]) / (line[-1] - line[0]) * (len(line) - 1))
    return line[np.clip(np.nan_to_num(steps), 0, len(line) - 1).astype(np.int64)]


def _hit(plane: Plane, nets: Sequence[ReluNet], bits: np.ndarray, cells: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether each point is in its cell."""
    found = np.zeros(len(cells), dtype=bool)
    for r, net in enumerate(nets):
        mine = plane.net[cells] == r
        found[mine] = (net.bits(points[mine]) == bits[cells[mine]]).all(axis=1)
    return found


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


def unit_zeros(net: ReluNet, window: np.ndarray) -> list[list[np.ndarray]]:
    """Where the pre-activation of each hidden unit is zero in a convex window (k, 2): (S, 2, 2) segments, by layer and unit.

    Those of the first layer are straight; later ones are straight on each cell of the layers before and bend only at its edge.
    """
    found = []
    for k, width in enumerate(net.widths):
        if k == 0:
            polygons = [window]
            maps = np.concatenate([net.weights[0], net.biases[0][:, None]], axis=1)[None]
        else:
            before = replace(net, weights=net.weights[: k + 1], biases=net.biases[: k + 1], below=net.below[:k])
            plane = decompose([before], window)
            polygons, maps = plane.polygons(), np.concatenate([plane.slope, plane.offset[:, :, None]], axis=2)
        found.append([zero_segments(polygons, maps[:, unit]) for unit in range(width)])
    return found


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
