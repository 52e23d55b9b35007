# SPDX-License-Identifier: Apache-2.0
"""The largest ball in a cell, and the distance of a point from the facets of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipbench.api import InvalidInput

from .network import ReluNet
from .programs import Program, polyhedron
from .projection import nearest_point

SHARE = 1e-6
"""By this share of the radius a centre may be nearer to a side than the largest ball allows: rounding leaves no centre else."""


@dataclass(frozen=True, kw_only=True)
class Ball:
    """A largest ball in a polyhedron."""

    centre: np.ndarray
    """(m,) one of the centres, which the solver chose; see `nearest_centre`."""
    radius: float
    limited: bool
    """Whether it would be larger in a larger box."""


def chebyshev(rows: np.ndarray, bounds: np.ndarray, low: float | None = None, high: float | None = None) -> Ball:
    """The largest ball in {x: rows . x <= bounds} and, where given, in the box [low, high]^m.

    Raises:
        InvalidInput: There is no point in it.
        NotApplicable: There is no largest ball: without a box a polyhedron may hold balls of any size.
    """
    a, c, units = _walls(rows, bounds, low, high)
    m = rows.shape[1]
    cost = np.zeros(m + 1)
    cost[m] = 1.0
    program = Program(np.column_stack([a, np.ones(len(a))]), c, cost)
    solved = program.solve()
    if solved is None or solved[0] < -1e-9:
        raise InvalidInput("there is no point in this polyhedron")
    centre = solved[1][:m]
    radius = float((c - a @ centre).min())  # measured at the centre itself, so that the solver's tolerance has no part in it
    return Ball(centre=centre, radius=radius, limited=bool(program.prices()[units:].sum() > 1e-7))


def nearest_centre(
    rows: np.ndarray, bounds: np.ndarray, radius: float, x: np.ndarray, low: float | None = None, high: float | None = None
) -> np.ndarray:
    """The centre of a largest ball that is nearest to x; with x = 0 the one of minimum norm.

    Cells of networks with fewer units in the first layer than inputs have many largest balls, and a linear program gives any of
    their centres. This one does not depend on the solver.

    Args:
        rows: (h, m), as for `chebyshev`.
        bounds: (h,).
        radius: What `chebyshev` found.
        x: (m,).
        low: Lower end of the box.
        high: Upper end.

    Raises:
        InvalidInput: No ball of this radius is in it.
    """
    a, c, _ = _walls(rows, bounds, low, high)
    found = nearest_point(a, c - (1 - SHARE) * radius, x)
    if found is None:
        raise InvalidInput(f"there is no ball of radius {radius:g} in this polyhedron")
    return found


def _walls(rows: np.ndarray, bounds: np.ndarray, low: float | None, high: float | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows of norm 1 and their bounds, those of the box last, and how many are before these."""
    _, a, c = polyhedron(rows, bounds)
    m, units = rows.shape[1], len(a)
    if low is not None and high is not None:
        a = np.concatenate([a, np.eye(m), -np.eye(m)])
        c = np.concatenate([c, np.full(m, high), np.full(m, -low)])
    return a, c, units


def facet_distance(net: ReluNet, x: np.ndarray) -> np.ndarray:
    """(N, m) -> (N,): how far each point is from the nearest hyperplane of a unit, as its own cell sees it.

    This is the distance from the nearest facet: the ball around the point reaches no unit before.
    """
    found = np.full(len(x), np.inf)
    step = max(1, 2**22 // max(1, net.units * net.inputs))
    for i in range(0, len(x), step):
        some = x[i : i + step]
        slope, offset, _, _ = net.affine(net.bits(some))
        size = np.sqrt((slope * slope).sum(axis=2))
        value = np.abs((slope @ some[:, :, None])[:, :, 0] + offset)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[i : i + step] = np.where(size > 0, value / size, np.inf).min(axis=1, initial=np.inf)
    return found
