# SPDX-License-Identifier: Apache-2.0
"""All cells of a network in general position, in any number of dimensions, by its vertices and without a linear program.

A vertex is a point where m units are zero, m the number of inputs. Along each of its 2m edges m - 1 of them stay zero; where the
next unit becomes zero there is the next vertex. At a vertex of general position each of the 2^m ways to switch its units on and
off is a cell: the pre-activations, taken in the order of the layers, are a triangular, piecewise linear and invertible function
of position. Cells without a vertex do not exist where the first layer has rank m, or in a box; edges with an end connect all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from lipbench.api import NotApplicable

from .network import ReluNet

NEAR = 1e-11
"""Zeros that are this close to each other, in units of the network, are no general position."""
ROUNDING = 2.0**-48
"""Error of a direction for each unit of the condition of what it was solved from."""
_NUMBERS = 2**21
"""Coefficients that are held at a time."""


class NotGeneric(NotApplicable):
    """The network is not in general position: units share hyperplanes, or more of them meet in a point than there should."""


@dataclass(frozen=True, kw_only=True)
class Walk:
    """All cells that have a vertex."""

    packed: np.ndarray
    """(P, ceil(h / 8)) bit vectors, by `numpy.packbits`."""
    active: np.ndarray
    """(P, ceil(h / 8)) which units carry a facet."""
    bounded: np.ndarray
    """(P,) bool."""
    inner: np.ndarray
    """(P, m) a point inside each."""
    vertices: int


def walk(net: ReluNet, low: np.ndarray | None = None, high: np.ndarray | None = None, *, limit: int = 5_000_000) -> Walk:
    """Go from vertex to vertex, a whole generation at a time.

    Args:
        net: The network.
        low: (m,) lower corner of a box, or None for the whole space, whose first layer must then have rank m.
        high: (m,) upper corner.
        limit: Largest number of vertices.

    Raises:
        NotGeneric: The network is not in general position.
        NotApplicable: There are more than `limit` vertices.
    """
    planes = _Planes(net, low, high)
    seen = np.zeros(0, dtype=np.uint64)
    bits, zero = planes.first()
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    rays: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    total = 0
    while len(bits):
        total += len(bits)
        if total > limit:
            raise NotApplicable(f"there are more than {limit} vertices; raise the limit, or take a smaller box or network")
        ahead_bits, ahead_zero = [], []
        step = max(1, _NUMBERS // (2 * net.inputs**2 * max(1, net.units)))
        for i in range(0, len(bits), step):
            some = slice(i, i + step)
            points, ends, ray = planes.edges(bits[some], zero[some])
            found.append((bits[some], zero[some], points))
            rays.append(ray)
            ahead_bits.append(ends[0])
            ahead_zero.append(ends[1])
        seen = np.union1d(seen, planes.key(bits, zero))
        bits, zero = np.concatenate(ahead_bits), np.concatenate(ahead_zero)
        keys, first = np.unique(planes.key(bits, zero), return_index=True)
        fresh = first[~np.isin(keys, seen, assume_unique=True)]
        bits, zero = bits[fresh], zero[fresh]
    return planes.cells(found, rays, total)


class _Planes:
    """The zero sets of the units, and the sides of the box as further ones that nobody crosses."""

    def __init__(self, net: ReluNet, low: np.ndarray | None, high: np.ndarray | None) -> None:
        self.net, m = net, net.inputs
        self.sides = np.zeros((0, m)) if low is None else np.concatenate([-np.eye(m), np.eye(m)])
        self.reach = np.zeros(0) if low is None or high is None else np.concatenate([low, -high])
        rng = np.random.default_rng(0)
        # Hashes of bit vectors and of sets of planes are sums, so that those of neighbours are cheap.
        self.weigh = rng.integers(0, 2**64, (2, net.units), dtype=np.uint64)
        self.weigh_zero = rng.integers(0, 2**64, net.units + len(self.sides), dtype=np.uint64)

    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """One vertex: a corner of the box, or where the best conditioned units of the first layer meet."""
        net, m = self.net, self.net.inputs
        if len(self.sides):
            zero = net.units + np.arange(m)
            return net.bits(self.reach[None, :m]), zero[None]
        if len(net.weights) < 2 or len(net.weights[0]) < m:
            raise NotGeneric("the first layer has fewer units than there are inputs: cells have no vertices")
        _, r, order = qr(net.weights[0].T, mode="economic", pivoting=True)
        if np.abs(r[m - 1, m - 1]) <= 1e-10 * np.abs(r[0, 0]):
            raise NotGeneric("the first layer has no full rank: cells have no vertices")
        zero = np.sort(order[:m])
        x = np.linalg.solve(net.weights[0][zero], -net.biases[0][zero])
        # Bits of deeper layers are read where the units of the vertex are exactly zero.
        z = net.weights[0] @ x + net.biases[0]
        z[zero] = 0.0
        bits = [z > 0]
        for k, (w, b) in enumerate(zip(net.weights[1:-1], net.biases[1:-1], strict=True)):
            z = w @ net.bend(k, z) + b
            bits.append(z > 0)
        return np.concatenate(bits)[None].view(np.uint8), zero[None]

    def key(self, bits: np.ndarray, zero: np.ndarray) -> np.ndarray:
        """(V,) hash of a vertex."""
        found: np.ndarray = bits.astype(np.uint64) @ self.weigh[0] + self.weigh_zero[zero].sum(axis=1, dtype=np.uint64)
        return found

    def edges(
        self, bits: np.ndarray, zero: np.ndarray
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Follow all edges of vertices.

        Returns:
            (V, m) the vertices, bits and zeros of those at the other ends, and the edges without another end: bits on the edge,
            units that are zero on it (h for sides of the box), and direction.
        """
        net, m, h = self.net, self.net.inputs, self.net.units
        count = len(bits)
        # Edge (v, k, s): plane k of vertex v is left, to the side s; sides of the box are left to the inside only.
        v, k, s = (a.ravel() for a in np.meshgrid(np.arange(count), np.arange(m), np.arange(2), indexing="ij"))
        left = zero[v, k]
        keep = (left < h) | (s == 0)
        v, k, s, left = v[keep], k[keep], s[keep], left[keep]
        pattern, rows_at = bits[v], np.arange(len(v))
        unit = left < h
        pattern[rows_at[unit], left[unit]] = s[unit]
        rows, level, _, _ = net.affine(pattern)
        rows = np.concatenate([rows, np.broadcast_to(self.sides, (len(v), *self.sides.shape))], axis=1)
        level = np.concatenate([level, np.broadcast_to(self.reach, (len(v), len(self.reach)))], axis=1)
        z = zero[v]
        square = np.take_along_axis(rows, z[:, :, None], axis=1)
        try:
            inverse = np.linalg.inv(square)
        except np.linalg.LinAlgError:
            raise NotGeneric("planes of a vertex are linearly dependent") from None
        x = -(inverse @ np.take_along_axis(level, z, axis=1)[:, :, None])[:, :, 0]
        d = inverse[rows_at, :, k] * np.where(unit & (s == 1), 1.0, -1.0)[:, None]
        d /= np.sqrt(np.einsum("ij,ij->i", d, d))[:, None]
        value, rate = (rows @ x[:, :, None])[:, :, 0] + level, (rows @ d[:, :, None])[:, :, 0]
        # Planes that are parallel to the edge move by rounding alone, which grows with the condition of the vertex.
        condition = np.sqrt((square**2).sum((1, 2)) * (inverse**2).sum((1, 2)))
        rate[np.abs(rate) <= ROUNDING * condition[:, None] * np.sqrt(np.einsum("ijk,ijk->ij", rows, rows))] = 0.0
        return self._ends(v, k, pattern, z, x, d, value, rate, count)

    def _ends(
        self,
        v: np.ndarray,
        k: np.ndarray,
        pattern: np.ndarray,
        zero: np.ndarray,
        x: np.ndarray,
        d: np.ndarray,
        value: np.ndarray,
        rate: np.ndarray,
        count: int,
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
        net, h, at = self.net, self.net.units, np.arange(len(v))
        sign = np.concatenate([2.0 * pattern - 1.0, np.full((len(v), len(self.sides)), -1.0)], axis=1)
        slack, speed = sign * value, -sign * rate
        others = np.ones(slack.shape, dtype=bool)
        others[at[:, None], zero] = False
        scale = 1 + np.abs(value).max(axis=1)
        if bool((slack < NEAR * scale[:, None])[others].any()):
            raise NotGeneric("more units than there are inputs are zero at one point")
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(others & (speed > 0), slack / speed, np.inf)
        hit = times.argmin(axis=1)
        time = times[at, hit]
        ends = np.isfinite(time)
        times[at, hit] = np.inf
        if bool((times.min(axis=1)[ends] - time[ends] <= NEAR * (1 + time[ends])).any()):
            raise NotGeneric("two units become zero at one point of an edge")
        points = np.empty((count, net.inputs))
        points[v] = x
        bits, planes = pattern[ends], zero[ends]
        new = hit[ends]
        units = new < h
        bits[np.flatnonzero(units), new[units]] = 0
        planes[np.arange(len(planes)), k[ends]] = new
        planes = np.sort(planes, axis=1)
        ray = ~ends
        stays = np.ones((int(ray.sum()), net.inputs), dtype=bool)
        stays[np.arange(len(stays)), k[ray]] = False
        stays = zero[ray][stays].reshape(len(stays), net.inputs - 1)
        return points, (bits, planes), (pattern[ray], stays, d[ray])

    def cells(
        self,
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
        rays: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
        total: int,
    ) -> Walk:
        """The cells around vertices, each once."""
        bits, zero, points = (np.concatenate([f[i] for f in found]) for i in range(3))
        ray_bits, ray_zero, ways = (np.concatenate([r[i] for r in rays]) for i in range(3))
        keys, first, inverse = np.unique(self._around(bits, zero), return_index=True, return_inverse=True)
        inverse = inverse.reshape(len(bits), -1)
        units = self.net.units
        if bool((self._around(bits, zero, 1).ravel()[first][inverse] != self._around(bits, zero, 1)).any()):
            raise NotApplicable("two bit vectors have the same hash")  # pragma: no cover
        combos = inverse.shape[1]
        packed = np.packbits(self._patterns(bits[first // combos], zero[first // combos], first % combos), axis=1)
        mask = np.zeros((len(bits), units + len(self.sides)), dtype=np.uint8)
        np.put_along_axis(mask, zero, 1, axis=1)
        mask = np.packbits(mask[:, :units], axis=1)
        active, inner, number = np.zeros_like(packed), np.zeros((len(keys), self.net.inputs)), np.zeros(len(keys))
        for c in range(combos):
            np.bitwise_or.at(active, inverse[:, c], mask)
            np.add.at(inner, inverse[:, c], points)
            np.add.at(number, inverse[:, c], 1)
        inner /= number[:, None]
        bounded = np.ones(len(keys), dtype=bool)
        if len(ways):
            around = np.searchsorted(keys, self._around(ray_bits, ray_zero))
            bounded[around.ravel()] = False
            for c in range(around.shape[1]):
                np.add.at(inner, around[:, c], ways)
        return Walk(packed=packed, active=active, bounded=bounded, inner=inner, vertices=total)

    def _around(self, bits: np.ndarray, zero: np.ndarray, which: int = 0) -> np.ndarray:
        """(V, 2^k) hashes of the bit vectors around vertices or edges with k planes; sides of the box are not switched."""
        weigh = np.append(self.weigh[which], np.zeros(len(self.sides), dtype=np.uint64))
        found: np.ndarray = (bits.astype(np.uint64) @ self.weigh[which])[:, None]
        for k in range(zero.shape[1]):
            found = np.concatenate([found, found + weigh[zero[:, k]][:, None]], axis=1)
        return found

    def _patterns(self, bits: np.ndarray, zero: np.ndarray, combo: np.ndarray) -> np.ndarray:
        """The bit vectors of given ways to switch the units of vertices."""
        wide = np.concatenate([bits, np.zeros((len(bits), len(self.sides)), dtype=np.uint8)], axis=1)
        for k in range(zero.shape[1]):
            wide[np.arange(len(bits)), zero[:, k]] = (combo >> k) & 1
        return wide[:, : self.net.units]
