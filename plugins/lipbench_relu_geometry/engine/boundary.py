# SPDX-License-Identifier: Apache-2.0
"""How far points are from the decision boundary, as their own cells see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipbench.api import NotApplicable

from .balls import facet_distance
from .network import ReluNet
from .programs import polyhedron
from .projection import nearest_point

_NUMBERS = 2**22
"""Coefficients that are held at a time."""


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """Distances of N points from where the class of the network changes, by Euclid."""

    linear: np.ndarray
    """(N,) from where the affine map of the cell changes class, beyond the cell as well; infinite where it never does."""
    certified: np.ndarray
    """(N,) the smaller of that and the distance from the nearest facet: no change of class is nearer."""
    inside: np.ndarray
    """(N,) from the nearest change of class within the cell: one that is there. Infinite where the cell has none."""


def boundary_distance(net: ReluNet, x: np.ndarray) -> Boundary:
    """Distances from the decision boundary.

    The class is the largest output, or the sign of the only one. On the cell of a point all outputs are affine, so each rival
    class begins at a hyperplane; the point of it within the cell that is nearest is a projection onto a polyhedron, which is
    made only where the foot of the perpendicular lies outside.

    Args:
        net: The network.
        x: (N, m).

    Raises:
        NotApplicable: The network has no outputs.
    """
    if not net.outputs:
        raise NotApplicable("a network without outputs has no decision boundary")
    linear, inside = np.empty(len(x)), np.full(len(x), np.inf)
    step = max(1, _NUMBERS // max(1, net.units * net.inputs))
    for i in range(0, len(x), step):
        some = x[i : i + step]
        cell = net.cells(net.bits(some))
        ways, levels = _rivals(cell.slope, cell.offset, some)
        size = np.sqrt((ways * ways).sum(axis=2))
        margin = np.maximum(levels - (ways @ some[:, :, None])[:, :, 0], 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.where(size > 0, margin / size, np.inf)
            away[(size == 0) & (margin == 0)] = 0.0
        linear[i : i + step] = away.min(axis=1, initial=np.inf)
        for j, point in enumerate(some):
            _, rows, bounds = polyhedron(cell.rows[j], cell.bounds[j])
            for k in away[j].argsort(kind="stable"):
                if away[j, k] >= inside[i + j]:
                    break
                if away[j, k] == 0:
                    inside[i + j] = 0.0
                    break
                way = ways[j, k] / size[j, k]
                inside[i + j] = min(inside[i + j], _within(rows, bounds, point, way, float(away[j, k])))
    return Boundary(linear=linear, certified=np.minimum(linear, facet_distance(net, x)), inside=inside)


def _rivals(slope: np.ndarray, offset: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, q, m) and (N, q): where ways . z reaches levels, a rival output takes over."""
    value = (slope @ x[:, :, None])[:, :, 0] + offset
    if slope.shape[1] == 1:
        sign = np.where(value > 0, 1.0, -1.0)
        return -sign[:, :, None] * slope, sign * offset
    at, top = np.arange(len(x)), value.argmax(axis=1)
    others = np.arange(slope.shape[1])[None] != top[:, None]
    ways = (slope - slope[at, top][:, None])[others].reshape(len(x), -1, slope.shape[2])
    return ways, (offset[at, top][:, None] - offset)[others].reshape(len(x), -1)


def _within(rows: np.ndarray, bounds: np.ndarray, x: np.ndarray, way: np.ndarray, away: float) -> float:
    """Distance of x from the part of a hyperplane, `away` from it in direction `way`, that lies in a polyhedron."""
    foot = x + away * way
    if bool((rows @ foot <= bounds).all()):
        return away
    # Within the hyperplane a row counts by its part along it; a row that has none is a bound on the foot itself.
    across = rows @ way
    along = rows - across[:, None] * way
    size, slack = np.sqrt((along * along).sum(axis=1)), bounds - rows @ foot
    flat = size <= 1e-9
    if bool((slack[flat] < 0).any()):
        return np.inf
    along, slack = along[~flat] / size[~flat, None], slack[~flat] / size[~flat]
    found = nearest_point(along, slack, np.zeros(len(x)))
    return np.inf if found is None else float(np.hypot(away, np.linalg.norm(found)))
