# SPDX-License-Identifier: Apache-2.0
"""The largest ball in a cell, and the distance of a point from the facets of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipbench.api import InvalidInput

from .network import ReluNet
from .programs import Program, polyhedron


@dataclass(frozen=True, kw_only=True)
class Ball:
    """A largest ball in a polyhedron; its centre need not be unique."""

    centre: np.ndarray
    radius: float
    limited: bool
    """Whether the box alone, and no unit, keeps it from being larger on some side."""


def chebyshev(rows: np.ndarray, bounds: np.ndarray, low: float | None = None, high: float | None = None) -> Ball:
    """The largest ball in {x: rows . x <= bounds} and, where given, in the box [low, high]^m.

    Raises:
        InvalidInput: There is no point in it.
        NotApplicable: There is no largest ball: without a box a polyhedron may hold balls of any size.
    """
    _, a, c = polyhedron(rows, bounds)
    m, units = rows.shape[1], len(a)
    if low is not None and high is not None:
        a = np.concatenate([a, np.eye(m), -np.eye(m)])
        c = np.concatenate([c, np.full(m, high), np.full(m, -low)])
    cost = np.zeros(m + 1)
    cost[m] = 1.0
    solved = Program(np.column_stack([a, np.ones(len(a))]), c, cost).solve()
    if solved is None or solved[0] < -1e-9:
        raise InvalidInput("there is no point in this polyhedron")
    centre = solved[1][:m]
    slack = c - a @ centre  # measured at the centre itself, so that the solver's tolerance has no part in it
    tight = slack <= slack.min() + 1e-7
    return Ball(centre=centre, radius=float(slack.min()), limited=bool(tight[units:].any()))


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
