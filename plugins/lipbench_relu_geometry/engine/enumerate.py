# SPDX-License-Identifier: Apache-2.0
"""All cells of a network by the fastest engine that is right for it, and the graph of their neighbours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, shortest_path

from lipbench.api import InvalidInput, NotApplicable

from .network import ReluNet
from .plane import Plane, box, decompose
from .traversal import traverse
from .vertices import NotGeneric, walk

Engine = Literal["auto", "polygons", "vertices", "traversal"]


@dataclass(frozen=True, kw_only=True)
class CellComplex:
    """All full-dimensional cells of a network in a box or in the whole space."""

    engine: str
    """Which engine counted: `polygons`, `vertices` or `traversal`."""
    packed: np.ndarray
    """(P, ceil(h / 8)) bit vectors, by `numpy.packbits`."""
    active: np.ndarray
    """(P, ceil(h / 8)) which units carry a facet."""
    bounded: np.ndarray | None
    """(P,) bool; None where the engine does not say."""
    inner: np.ndarray | None
    """(P, m) a point inside each cell; None where the engine does not give it."""
    nongeneric: int
    """Hyperplanes or facets that showed that units share a hyperplane; 0 in general position."""
    edges: np.ndarray | None
    """(E, 2) neighbours where the engine found them itself."""
    units: int

    def __len__(self) -> int:
        return len(self.packed)

    def bits(self) -> np.ndarray:
        """(P, h) uint8."""
        return np.unpackbits(self.packed, axis=1, count=self.units)

    def facets(self) -> np.ndarray:
        """(P, h) uint8: which units carry a facet of the cell."""
        return np.unpackbits(self.active, axis=1, count=self.units)

    def neighbours(self) -> tuple[np.ndarray, int]:
        """The dual graph: (E, 2) pairs of cells that share a facet, and facets without a partner, 0 in general position."""
        if self.edges is not None:
            return self.edges, 0
        bits, facets, weigh = self.bits(), self.facets(), _hashes(self.units)
        keys = bits @ weigh
        order = keys.argsort()
        cell, unit = facets.nonzero()
        on = bits[cell, unit] > 0
        wanted = np.where(on, keys[cell] - weigh[unit], keys[cell] + weigh[unit])
        there = order[np.minimum(keys[order].searchsorted(wanted), len(keys) - 1)]
        paired = (keys[there] == wanted) & (facets[there, unit] > 0)
        low = paired & (cell < there)
        return np.column_stack([cell[low], there[low]]), int((~paired).sum())

    def distances(self, sources: np.ndarray) -> np.ndarray:
        """(S, P) steps in the dual graph from some cells to all, infinite where there is no way."""
        edges, _ = self.neighbours()
        found: np.ndarray = shortest_path(_graph(edges, len(self)), directed=False, unweighted=True, indices=sources)
        return found

    def faults(self, net: ReluNet) -> list[str]:
        """What cannot be: facets without a partner, a graph in pieces, neighbours of one parity, points with other bits."""
        edges, lone = self.neighbours()
        wrong = [f"{lone} facets have no partner"] if lone and self.engine == "vertices" else []
        parts = int(connected_components(_graph(edges, len(self)), directed=False)[0])
        wrong += [f"the dual graph has {parts} parts"] if parts > 1 and not (self.nongeneric and self.edges is None) else []
        if not self.nongeneric:
            parity = self.bits().sum(axis=1) % 2
            alike = int((parity[edges[:, 0]] == parity[edges[:, 1]]).sum())
            wrong += [f"{alike} pairs of neighbours differ in an even number of bits"] if alike else []
        if self.inner is not None:
            other = np.flatnonzero((np.packbits(net.bits(self.inner), axis=1) != self.packed).any(axis=1))
            if len(other):  # units that are 0 on the whole cell are read with care
                again = np.packbits(net.steady_bits(self.inner[other])[0], axis=1)
                other = other[(again != self.packed[other]).any(axis=1)]
            wrong += [f"{len(other)} cells do not contain their own point"] if len(other) else []
        return wrong


@cache
def _hashes(units: int) -> np.ndarray:
    """(h,) a random number for each unit; the sum of those that are on names a cell."""
    return np.random.default_rng(1).integers(0, 2**63, units, dtype=np.uint64)


def _graph(edges: np.ndarray, count: int) -> coo_array:
    return coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()


def enumerate_cells(
    net: ReluNet, low: float | None = None, high: float | None = None, *, engine: Engine = "auto", limit: int = 1_000_000
) -> CellComplex:
    """All cells that meet the open box [low, high]^m, or all of the whole space.

    `auto` clips polygons where there are two inputs, and walks from vertex to vertex where these show no general position in the
    whole plane; with more inputs it walks from vertex to vertex, and where that finds no general
    position goes from neighbour to neighbour, which is right for any network and slow.

    Args:
        net: The network.
        low: Lower end of the box, or None for the whole space.
        high: Upper end.
        engine: Which engine.
        limit: Most cells, or most vertices.

    Raises:
        InvalidInput: The box is empty, or polygons are asked for where there are not two inputs.
        NotApplicable: There are more cells than `limit`.
        NotGeneric: `vertices` was asked for and the network is in no general position.
    """
    if (low is None) != (high is None) or (low is not None and high is not None and low >= high):
        raise InvalidInput(f"the box [{low}, {high}] is empty or has one end only")
    if engine == "polygons" or (engine == "auto" and net.inputs == 2):
        found = _by_polygons(net, low, high, limit)
        if engine == "polygons" or low is not None or not found.nongeneric:
            return found
        try:  # facets without a partner may be cells too far out for polygons
            walked = _by_vertices(net, low, high, limit)
        except NotApplicable:
            return found
        return walked if len(walked) > len(found) else found
    if engine == "traversal":
        return _by_traversal(net, low, high, limit)
    try:
        return _by_vertices(net, low, high, limit)
    except NotGeneric:
        if engine == "vertices":
            raise
        return _by_traversal(net, low, high, limit)


def _by_polygons(net: ReluNet, low: float | None, high: float | None, limit: int) -> CellComplex:
    window = None if low is None or high is None else box([low, low], [high, high])
    return planar_cells(decompose([net], window, limit=limit))


def planar_cells(plane: Plane) -> CellComplex:
    """The decomposition of one network as cells with neighbours; `nongeneric` counts coincident lines too."""
    cells = complexes(plane)[0]
    return replace(cells, nongeneric=int(plane.coincident) + cells.nongeneric)


def complexes(plane: Plane) -> list[CellComplex]:
    """The cells of each network of a plane.

    `nongeneric` counts facets without a partner; `inner` is None where a cell is unbounded or in pieces.
    """
    count, centres = int(plane.net.max()) + 1, plane.rings.centres()
    whole = len(plane.rings) == len(plane)
    found = []
    for net in range(count):
        mine = plane.net == net if count > 1 else slice(None)
        inner = None
        if whole and bool((centres[mine, 2] > 0).all()):
            inner = plane.centre + plane.scale * centres[mine, :2] / centres[mine, 2:]
        cells = CellComplex(
            engine="polygons",
            packed=plane.packed[mine],
            active=plane.active[mine],
            bounded=plane.bounded[mine],
            inner=inner,
            nongeneric=0,
            edges=None,
            units=plane.units,
        )
        # Beyond an edge that several units share not one bit changes, so that no neighbour has the other value of one bit alone.
        found.append(replace(cells, nongeneric=cells.neighbours()[1]))
    return found


def _by_vertices(net: ReluNet, low: float | None, high: float | None, limit: int) -> CellComplex:
    if low is not None and high is not None:
        found, lift, pointed = walk(net, np.full(net.inputs, low), np.full(net.inputs, high), limit=limit), None, True
    else:
        # Where the first layer has less than full rank all cells are products with the same subspace, which is left out.
        _, singular, right = np.linalg.svd(net.weights[0], full_matrices=False)
        rank = int((singular > 1e-10 * singular.max(initial=0.0)).sum())
        pointed = rank == net.inputs
        lift = None if pointed or rank == 0 else right[:rank]
        found = walk(net if lift is None else net.on_plane(np.zeros(net.inputs), lift), limit=limit)
    return CellComplex(
        engine="vertices",
        packed=found.packed,
        active=found.active,
        bounded=found.bounded if pointed else np.zeros(len(found.packed), dtype=bool),
        inner=found.inner if lift is None else found.inner @ lift,
        nongeneric=0,
        edges=None,
        units=net.units,
    )


def _by_traversal(net: ReluNet, low: float | None, high: float | None, limit: int) -> CellComplex:
    middle, half = (0.0, 1.0) if low is None or high is None else ((low + high) / 2, (high - low) / 2)
    start = middle + half * np.random.default_rng(0).uniform(-0.9, 0.9, net.inputs)
    found = traverse(net, start, low, high, limit=limit)
    return CellComplex(
        engine="traversal",
        packed=np.packbits(found.bits, axis=1),
        active=np.packbits(found.active, axis=1),
        bounded=None,
        inner=None,
        nongeneric=found.nongeneric,
        edges=found.edges,
        units=net.units,
    )
