# SPDX-License-Identifier: Apache-2.0
"""Cells found one after the other across their facets: for networks that are in no general position, and as published."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from lipbench.api import InvalidInput, NotApplicable

from .network import ReluNet
from .programs import Program, polyhedron, twins

THIN = 1e-9
"""A facet that holds no ball of this radius is none."""
STEP = 1e-7
"""How far beyond a facet the bits of the neighbour are read."""


@dataclass(frozen=True, kw_only=True)
class Visited:
    """Cells in the order in which they were found."""

    bits: np.ndarray
    """(P, h) uint8."""
    active: np.ndarray
    """(P, h) uint8: which units carry a facet; of units that share a hyperplane all do."""
    edges: np.ndarray
    """(E, 2) neighbours, each pair once."""
    nongeneric: int
    """Facets beyond which not exactly one bit is another."""


def traverse(
    net: ReluNet, start: np.ndarray, low: float | None = None, high: float | None = None, *, limit: int = 100_000
) -> Visited:
    """All cells that meet the open box, or all, from neighbour to neighbour.

    Units on one hyperplane are one facet. The largest ball in the facet says whether there is one, and its centre is where it
    is crossed: the neighbour's bits are read by a forward pass a step beyond, so any number of them may change.

    Args:
        net: The network.
        start: (m,) a point off all boundaries, inside the box.
        low: Lower end of the box in all coordinates, or None for the whole space.
        high: Upper end.
        limit: Largest number of cells.

    Raises:
        InvalidInput: The start lies on a boundary or outside the box.
        NotApplicable: There are more than `limit` cells.
    """
    m = net.inputs
    sides, reach = np.zeros((0, m)), np.zeros(0)
    if low is not None and high is not None:
        sides, reach = np.concatenate([np.eye(m), -np.eye(m)]), np.concatenate([np.full(m, high), np.full(m, -low)])
        if bool((sides @ start >= reach).any()):
            raise InvalidInput(f"the start {start.tolist()} does not lie inside the box [{low:g}, {high:g}]")
    first = _begin(net, start)
    known = {first.tobytes(): 0}
    bits, active, edges, odd = [first], [], set(), 0
    waiting = deque([0])
    while waiting:
        here = waiting.popleft()
        carried = np.zeros(net.units, dtype=np.uint8)
        for units, point in _doors(net, bits[here], sides, reach):
            carried[units] = 1
            there = net.steady_bits(point[None])[0][0]
            odd += int((there != bits[here]).sum() != 1)
            key = there.tobytes()
            if key not in known:
                if len(known) >= limit:
                    raise NotApplicable(f"there are more than {limit} cells; raise the limit, or take a smaller box or network")
                known[key] = len(bits)
                bits.append(there)
                waiting.append(known[key])
            edges.add((min(here, known[key]), max(here, known[key])))
        active.append(carried)
    pairs = np.array(sorted(e for e in edges if e[0] != e[1]), dtype=np.int64).reshape(-1, 2)
    return Visited(bits=np.array(bits), active=np.array(active), edges=pairs, nongeneric=odd)


def _begin(net: ReluNet, start: np.ndarray) -> np.ndarray:
    """(h,) the bits of the first cell."""
    bits, edge = net.steady_bits(start[None])
    if bool(edge[0]):
        raise InvalidInput(f"the start {start.tolist()} lies on the boundary of a cell; take a point off it")
    found: np.ndarray = bits[0]
    return found


def _doors(net: ReluNet, bits: np.ndarray, sides: np.ndarray, reach: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each facet the units on it, and a point a step beyond it."""
    cell = net.cells(bits[None])
    kept, rows, bounds = polyhedron(cell.rows[0], cell.bounds[0])
    first = twins(rows, bounds)
    a, c = np.concatenate([rows, sides]), np.append(np.concatenate([bounds, reach]), 1.0)
    m, beside = net.inputs, np.zeros(len(sides), dtype=bool)
    found = []
    cost = np.zeros(m + 1)
    cost[m] = 1.0
    # One model for the cell: from facet to facet only the last column and the ends of two rows change. The last row keeps
    # balls from growing without end.
    program = Program(np.concatenate([np.column_stack([a, np.zeros(len(a))]), cost[None]]), c, cost)
    angles = a @ rows.T
    for i in np.flatnonzero(first == np.arange(len(first))).tolist():
        # A ball within the facet: what counts of another row is its part along the facet.
        along = np.sqrt(np.maximum(0.0, 1 - angles[:, i] ** 2))
        along[along < 1e-7] = 0.0
        same = np.flatnonzero(np.concatenate([first == i, beside])).tolist()
        program.column(m, np.append(along, 1.0))
        for k in same:
            program.bound(k, np.inf)
        program.bound(i, float(c[i]), float(c[i]))
        solved = program.solve()
        for k in same:
            program.bound(k, float(c[k]))
        if solved is None or solved[0] <= THIN:
            continue
        beyond = solved[1][:m] + STEP * min(1.0, solved[0]) * a[i]
        if bool((sides @ beyond < reach).all()):  # a facet in a side of the box leads nowhere
            found.append((kept[first == i], beyond))
    return found


def published(net: ReluNet, start: np.ndarray, *, tolerance: float = 1e-7, limit: int = 100_000) -> np.ndarray:
    """The published traversal, word for word: a bit is active where its row is not implied by all others; flip it, repeat.

    Where two units share a hyperplane each row implies the other, neither is active, and cells are missed in silence. It is
    here so that this can be measured; use `traverse` or `enumerate_cells` for a count.

    Args:
        net: The network.
        start: (m,) a point off all boundaries.
        tolerance: By how much a row must be passed.
        limit: Largest number of cells.

    Returns:
        (P, h) uint8 bit vectors that it finds.

    Raises:
        InvalidInput: The start lies on a boundary.
        NotApplicable: There are more than `limit` cells.

    Source: Y. Liu, T. Caglar, C. Peterson, M. Kirby, Front. Big Data 6:1274831, 2023, Algorithm 1 with eq. 6.
    """
    first = _begin(net, start)
    known, waiting = {first.tobytes(): first}, deque([first])
    while waiting:
        bits = waiting.popleft()
        cell = net.cells(bits[None])
        kept, rows, bounds = polyhedron(cell.rows[0], cell.bounds[0])
        if not len(kept):
            continue
        program = Program(rows, bounds, np.zeros(net.inputs))
        for i, unit in enumerate(kept):
            program.cost(rows[i])
            program.bound(i, bounds[i] + 1)
            solved = program.solve()
            program.bound(i, bounds[i])
            if solved is None or solved[0] <= bounds[i] + tolerance:
                continue
            flipped = bits.copy()
            flipped[unit] ^= 1
            if flipped.tobytes() not in known:
                if len(known) >= limit:
                    raise NotApplicable(f"the published traversal found more than {limit} cells")
                known[flipped.tobytes()] = flipped
                waiting.append(flipped)
    return np.array(list(known.values()))
