# SPDX-License-Identifier: Apache-2.0
"""Which units carry a facet of the cell around a point, in any number of dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipbench.api import InvalidInput

from .network import ReluNet
from .programs import Implied, polyhedron, twins

MARGIN = 1e-7
"""A row of norm 1 counts where leaving it out lets its value grow by more than this."""


@dataclass(frozen=True, kw_only=True)
class Facets:
    """The active bits of one cell."""

    active: np.ndarray
    """(h,) bool; of units that share a hyperplane all are."""
    rank: int
    """Rank of all rows: where it is below m, the cell is unbounded and has no vertices."""
    programs: int
    """Linear programs that were solved."""
    shot: int
    """Facets that a ray found without one."""
    dimension: int
    """Variables of the linear programs."""


def active_bits(net: ReluNet, x: np.ndarray, rng: np.random.Generator, *, rays: int = 2000) -> Facets:
    """The units that carry a facet of the cell of x.

    The cell is looked at from x. Where the first layer has full row rank its units that are off carry a facet in any case, and
    the others together are coordinates in which all deeper rows are written; else the row space of the first layer is. Rays
    from x find some facets; each other row has a linear program, in the form in which it is smallest (`Implied`).

    Args:
        net: The network.
        x: (m,) a point.
        rng: Directions of the rays that look for facets first.
        rays: How many of these.
    """
    bits = net.bits(x[None])
    if not net.units:
        return Facets(active=np.zeros(0, dtype=bool), rank=0, programs=0, shot=0, dimension=0)
    _, singular, right = np.linalg.svd(net.weights[0], full_matrices=False)
    full = int((singular > 1e-10 * singular.max(initial=0.0)).sum())
    active = np.zeros(net.units, dtype=bool)
    if full == len(net.weights[0]) and not net.below:
        on = bits[0, : net.widths[0]] > 0
        active[: net.widths[0]] = ~on
        y = (net.weights[0] @ x + net.biases[0])[on]
        rest = ReluNet((net.weights[1][:, on], *net.weights[2:]), net.biases[1:])
        cell = rest.cells(bits[:, net.widths[0] :])
        rows = np.concatenate([-np.eye(len(y)), cell.rows[0]])
        bounds = np.concatenate([np.zeros(len(y)), cell.bounds[0]])
        units = np.concatenate([np.flatnonzero(on), np.arange(net.widths[0], net.units)])
    else:
        basis = right[:full]
        cell = net.cells(bits)
        rows, bounds, units, y = cell.rows[0] @ basis.T, cell.bounds[0], np.arange(net.units), basis @ x
        bounds = bounds - (cell.rows[0] @ (x - basis.T @ y))
    if rows.shape[1]:
        kept, rows, bounds = polyhedron(rows, bounds)
        found, programs, shot = irredundant(rows, bounds - rows @ y, rng, rays)
        active[units[kept[found]]] = True
    else:
        programs, shot = 0, 0
    return Facets(active=active, rank=full, programs=programs, shot=shot, dimension=rows.shape[1])


def irredundant(rows: np.ndarray, slack: np.ndarray, rng: np.random.Generator, rays: int) -> tuple[np.ndarray, int, int]:
    """Rows of {d: rows . d <= slack} that cannot be left out; d = 0 is a point of it.

    Args:
        rows: (k, m) of norm 1.
        slack: (k,) not below 0.
        rng: Directions of rays.
        rays: How many of these, beside one for each row.

    Returns:
        (k,) bool, linear programs solved, facets found by rays.

    Raises:
        InvalidInput: The point is not in the polyhedron.
    """
    if bool((slack < -1e-9).any()):
        raise InvalidInput("the point does not lie in the cell that it is to be looked at from")
    slack = np.maximum(slack, 0.0)
    first = twins(rows, slack)
    own = np.flatnonzero(first == np.arange(len(first)))
    a, s = rows[own], slack[own]
    facet = np.zeros(len(own), dtype=bool)
    facet[_hits(a, s, np.concatenate([a, rng.standard_normal((rays, a.shape[1]))]))] = True
    shot, left = int(facet.sum()), np.flatnonzero(~facet)
    implied = Implied(a, s)
    for i in left:
        facet[i] = not implied.ask(int(i), MARGIN)
    found = np.zeros(len(rows), dtype=bool)
    found[own] = facet
    return found[first], len(left), shot


def _hits(a: np.ndarray, s: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """The rows that rays from 0 meet first, where no other is nearly as near."""
    found = []
    for i in range(0, len(ways), 512):
        speed = ways[i : i + 512] @ a.T
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(speed > 1e-12, s / speed, np.inf)
        nearest = times.argmin(axis=1)
        best = np.take_along_axis(times, nearest[:, None], axis=1)
        alone = ((times <= best * (1 + 1e-9) + 1e-12).sum(axis=1) == 1) & np.isfinite(best[:, 0])
        found.append(nearest[alone])
    return np.unique(np.concatenate(found))
