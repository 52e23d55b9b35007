# SPDX-License-Identifier: Apache-2.0
"""Exact decomposition of a plane, or of a window in it, into the cells of ReLU networks with two inputs.

Several networks of one architecture are decomposed together, so that hundreds of small ones cost little more than their cells.
A plane in a space of more dimensions is the same thing: `ReluNet.on_plane`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from lipbench.api import InvalidInput, NotApplicable

from .network import FLAT, ReluNet, stacked
from .polygons import OUTSIDE, Rings, cut, joined, mark, unit

_LARGE = 16
"""Pieces of one cell from which on they are worth a product of their own."""
_MET = 64
"""Lines of a first layer that say where the middle of the plane is."""
_NUMBERS = 2**20
"""Lines that are held at a time."""
_SAME = 1e-12
"""Lines of the first layer that are this close to each other are one."""
_SEAM = -2
"""Label of an edge that was cut only to have bounded angles; such pieces are put together again by their bit vectors."""


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Cells of R networks, those of each network together."""

    net: np.ndarray
    """(P,) network of each cell."""
    packed: np.ndarray
    """(P, ceil(h / 8)) bit vectors, by `numpy.packbits`."""
    active: np.ndarray
    """(P, ceil(h / 8)) which units carry an edge, in the same form. Of units that share a line the first one does."""
    bounded: np.ndarray
    """(P,) bool; in a window all are."""
    slope: np.ndarray
    """(P, n, 2) of the affine map on the cell."""
    offset: np.ndarray
    """(P, n)."""
    rings: Rings
    """The cells as polygons; where `pieces` is not 0..P-1, of more pieces than there are cells."""
    pieces: np.ndarray
    """(number of rings,) cell that each polygon belongs to."""
    coincident: int
    """Lines that lay on another one: the networks are not in general position."""
    centre: np.ndarray
    scale: float
    units: int

    def __len__(self) -> int:
        return len(self.net)

    def counts(self, nets: int) -> np.ndarray:
        """(R,) cells of each network."""
        return np.bincount(self.net, minlength=nets)

    def bits(self) -> np.ndarray:
        """(P, h) uint8."""
        return np.unpackbits(self.packed, axis=1, count=self.units)

    def facets(self) -> np.ndarray:
        """(P, h) uint8: which units carry an edge of the cell."""
        return np.unpackbits(self.active, axis=1, count=self.units)

    def polygons(self) -> list[np.ndarray]:
        """Each polygon as (k, 2) vertices; infinite where it is not bounded."""
        return np.split(self.vertices(), np.cumsum(self.rings.sizes)[:-1])

    def vertices(self) -> np.ndarray:
        """(V, 2) vertices of all rings."""
        p = self.rings.points
        with np.errstate(divide="ignore", invalid="ignore"):
            found: np.ndarray = self.centre + self.scale * p[:, :2] / p[:, 2:]
        return found

    def areas(self) -> np.ndarray:
        """(number of rings,) areas, infinite where a polygon is not bounded."""
        p = (self.vertices() - self.centre)[:, None]
        q = p[self.rings.after]
        with np.errstate(invalid="ignore"):
            twice = np.add.reduceat((p[:, 0, 0] * q[:, 0, 1] - p[:, 0, 1] * q[:, 0, 0]), self.rings.starts)
        return np.where(np.isfinite(twice), np.abs(twice) / 2, np.inf)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Cells of the layers so far."""

    layer: int
    rings: Rings
    net: np.ndarray
    lines: np.ndarray
    """(Q, width, 3) values of the last layer on the Q cells that these are pieces of, as functions of homogeneous points."""
    parent: np.ndarray
    """(P,) which of the Q, in order."""
    bits: tuple[np.ndarray, ...]
    """(P, ceil(width / 8)) packed, for each layer so far."""

    def some(self, rows: slice) -> _Part:
        first, last = self.parent[rows][0], self.parent[rows][-1] + 1
        return replace(
            self,
            rings=self.rings.take(np.arange(len(self.rings))[rows]),
            net=self.net[rows],
            lines=self.lines[first:last],
            parent=self.parent[rows] - first,
            bits=tuple(b[rows] for b in self.bits),
        )


def decompose(
    nets: Sequence[ReluNet],
    window: np.ndarray | Sequence[np.ndarray] | None = None,
    *,
    limit: int = 5_000_000,
) -> Plane:
    """All cells of networks with two inputs.

    In the whole plane coordinates have their origin and unit where the lines of the first layers meet, so that neither a shift
    nor another unit of the inputs decides what rounding does.

    Args:
        nets: Networks of one architecture.
        window: (k, 2) corners of a convex polygon in order, or a list of such, one for each network, or None for the whole
            plane.
        limit: Largest number of cells, of all networks together.

    Raises:
        InvalidInput: The networks do not have two inputs, or not the same layers, or a window has no interior.
        NotApplicable: There are more than `limit` cells; a part of a count is no count.
    """
    weights, biases = stacked(nets)
    if nets[0].inputs != 2:
        raise InvalidInput(f"a plane has 2 coordinates, the network takes {nets[0].inputs}; use on_plane for a slice")
    if window is None:
        lines = np.concatenate([weights[0], biases[0][:, :, None]], axis=2)[:, : nets[0].units]
        centre, scale = _middle(lines)
        # Far from 0 biases have the rounding of large numbers, once: angles and cuts are along the same lines.
        biases[0] = biases[0] + weights[0] @ centre
        lines = np.concatenate([scale * weights[0], biases[0][:, :, None]], axis=2)[:, : nets[0].units]
        rings, owner = joined([_quarters(each) for each in lines]), np.repeat(np.arange(len(nets)), 4)
        frame, coincident = np.eye(2, 3) * scale, sum(map(_twins, lines))
    else:
        centre, scale, rings, owner = _start(len(nets), window)
        frame, coincident = np.column_stack([scale * np.eye(2), centre]), 0
    first = _Part(layer=0, rings=rings, net=owner, lines=frame[None], parent=np.zeros(len(rings), dtype=np.int64), bits=())
    ends, shared = _descend(first, weights, biases, nets[0].below, limit)
    return _collected(ends, nets[0], centre, scale, coincident + shared, seams=bool((rings.labels == _SEAM).any()))


def box(low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray) -> np.ndarray:
    """The corners (4, 2) of a rectangle."""
    (a, b), (c, d) = low, high
    return np.array([[a, b], [c, b], [c, d], [a, d]], dtype=np.float64)


def clip_to_box(window: np.ndarray, low: float, high: float) -> np.ndarray:
    """The part (k', 2) of a convex polygon (k, 2) that lies in [low, high]^2; some of its interior must."""
    for axis in (0, 1):
        for sign, edge in ((1.0, low), (-1.0, high)):
            at = sign * (window[:, axis] - edge)
            ahead = np.roll(at, -1)
            crosses = at * ahead < 0
            share = np.where(crosses, at / np.where(crosses, at - ahead, 1.0), 0.0)
            cuts = window + share[:, None] * (np.roll(window, -1, 0) - window)
            cuts[:, axis] = edge
            window = np.stack([window, cuts], 1)[np.stack([at >= 0, crosses], 1)]
    return window


@dataclass(frozen=True, kw_only=True)
class _End:
    """Finished cells."""

    rings: Rings
    net: np.ndarray
    maps: np.ndarray
    """(P, n, 3) the outputs."""
    packed: np.ndarray


def _descend(
    first: _Part, weights: list[np.ndarray], biases: list[np.ndarray], below: Sequence[float], limit: int
) -> tuple[list[_End], int]:
    """Cut by one layer after the other, depth first, so that no more lines are held than fit."""
    waiting, ends, total, coincident = [first], [], 0, 0
    widths = [w.shape[1] for w in weights]
    while waiting:
        part = waiting.pop()
        k, count = part.layer, len(part.rings)
        size = max(1, _NUMBERS // max(widths[k], part.lines.shape[1]))
        if count > size:
            waiting += [part.some(slice(i, i + size)) for i in reversed(range(0, count, size))]
            continue
        lines = _affine(weights[k], biases[k], below[k - 1] if k and below else 0.0, part)
        if k == len(weights) - 1:
            ends.append(_End(rings=part.rings, net=part.net, maps=lines, packed=_packed(part.bits, widths[:k], count)))
            total += count
            continue
        found = cut(part.rings, unit_or_zero(lines), sum(widths[:k]), limit - total)
        if found is None:
            raise NotApplicable(f"there are more than {limit} cells; raise the limit, or take a smaller window or network")
        coincident += found.coincident
        bits = (*(b[found.parent] for b in part.bits), found.packed)
        waiting.append(
            _Part(layer=k + 1, rings=found.rings, net=part.net[found.parent], lines=lines, parent=found.parent, bits=bits)
        )
    return ends, coincident


def _packed(bits: tuple[np.ndarray, ...], widths: list[int], count: int) -> np.ndarray:
    """The bits of all layers in one row."""
    if len(bits) == 1:
        return bits[0]
    loose = [np.unpackbits(b, axis=1, count=width) for b, width in zip(bits, widths, strict=True)]
    return np.packbits(np.concatenate(loose, axis=1), axis=1) if loose else np.zeros((count, 0), dtype=np.uint8)


def unit_or_zero(lines: np.ndarray) -> np.ndarray:
    """Lines of norm 1, or 0. What is constant is a multiple of the line at infinity, which crosses no polygon."""
    size = np.sqrt((lines * lines).sum(axis=-1))
    size[size == 0] = np.inf
    return lines / size[..., None]


def _affine(w: np.ndarray, b: np.ndarray, below: float, part: _Part) -> np.ndarray:
    """(P, q, 3) the next layer's values on each cell, with gradients that are only rounding set to 0.

    The units of the last one have slope `below` where they are off.
    """
    found = np.empty((len(part.rings), w.shape[1], 3))
    bounds = [0, *(np.flatnonzero(np.diff(part.net)) + 1).tolist(), len(part.net)]
    for start, end in pairwise(bounds):
        net = part.net[start]
        rows = slice(start, end)
        found[rows] = _one_net(w[net], b[net], below, part, rows)
    return found


def _one_net(w: np.ndarray, b: np.ndarray, below: float, part: _Part, rows: slice) -> np.ndarray:
    parent, width = part.parent[rows], part.lines.shape[1]
    count, first = len(parent), int(parent[0])
    families = int(parent[-1]) - first + 1
    on = np.unpackbits(part.bits[-1][rows], axis=1, count=width).astype(np.float64) if part.bits else np.ones((count, width))
    if below:
        on[on == 0] = below
    found = np.empty((count, len(w), 3))
    size = np.abs(part.lines[first : first + families]).max(axis=2)
    if count >= _LARGE * families:
        # Many pieces of one cell: one product with a matrix that they share.
        sizes = np.empty((count, len(w)))
        ends = np.searchsorted(parent, np.arange(first, first + families + 1)).tolist()
        for f, (i, j) in enumerate(pairwise(ends)):
            shared = w.T[:, :, None] * part.lines[first + f][:, None, :]
            found[i:j] = (on[i:j] @ shared.reshape(width, -1)).reshape(j - i, len(w), 3)
            sizes[i:j] = np.abs(on[i:j]) @ (np.abs(w).T * size[f][:, None])
    else:
        maps = part.lines[parent] * on[:, :, None]
        found[:] = np.tensordot(maps, w, axes=(1, 1)).transpose(0, 2, 1)
        sizes = (size[parent - first] * np.abs(on)) @ np.abs(w).T
    found[:, :, 2] += b
    found[np.abs(found) <= FLAT * (sizes + np.abs(b))[:, :, None]] = 0.0
    return found


def _collected(ends: list[_End], net: ReluNet, centre: np.ndarray, scale: float, coincident: int, seams: bool) -> Plane:
    rings = joined([e.rings for e in ends])
    owner = np.concatenate([e.net for e in ends])
    packed = np.concatenate([e.packed for e in ends])
    maps = np.concatenate([e.maps for e in ends])
    at_infinity = np.minimum.reduceat(rings.points[:, 2], rings.starts) <= 0
    active = _active(rings, net.units)
    order, pieces = np.arange(len(rings)), np.arange(len(rings))
    if seams:
        key = np.column_stack([owner.astype(">u4").view(np.uint8).reshape(len(owner), 4), packed])
        _, order, pieces = np.unique(key, axis=0, return_index=True, return_inverse=True)
        whole = np.zeros((len(order), active.shape[1]), dtype=np.uint8)
        np.bitwise_or.at(whole, pieces, active)
        open_ended = np.zeros(len(order), dtype=bool)
        np.logical_or.at(open_ended, pieces, at_infinity)
        active, at_infinity = whole, open_ended
    slope = maps[order][:, :, :2] / scale
    return Plane(
        net=owner[order],
        packed=packed[order],
        active=active,
        bounded=~at_infinity,
        slope=slope,
        offset=maps[order][:, :, 2] - slope @ centre,
        rings=rings,
        pieces=pieces,
        coincident=coincident,
        centre=centre,
        scale=scale,
        units=net.units,
    )


def _active(rings: Rings, units: int) -> np.ndarray:
    """(P, ceil(h / 8)) the labels of each polygon's edges as bits."""
    found = np.zeros((len(rings), -(-units // 8)), dtype=np.uint8)
    real = rings.labels >= 0
    mark(found, rings.owners[real], rings.labels[real])
    return found


def _start(count: int, window: np.ndarray | Sequence[np.ndarray]) -> tuple[np.ndarray, float, Rings, np.ndarray]:
    """Centre and scale of the coordinates, the windows, and the network of each."""
    given = [window] * count if isinstance(window, np.ndarray) else window
    windows = [np.asarray(w, dtype=np.float64) for w in given]
    if len(windows) != count:
        raise InvalidInput(f"{len(windows)} windows are given for {count} networks")
    for corners in windows:
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or _area(corners) <= 0:
            raise InvalidInput(f"a window is a convex polygon of (k, 2) corners with some area, found {corners.tolist()}")
    points = np.concatenate(windows)
    low, high = points.min(axis=0), points.max(axis=0)
    centre, scale = (low + high) / 2, float((high - low).max()) / 2
    rings = Rings(
        points=unit(np.column_stack([(points - centre) / scale, np.ones(len(points))])),
        labels=np.full(len(points), OUTSIDE),
        sizes=np.array([len(w) for w in windows]),
    )
    return centre, scale, rings, np.arange(count)


def _middle(lines: np.ndarray) -> tuple[np.ndarray, float]:
    """The median of where lines (R, width, 3) of one network each meet, and the median distance from it; 0 and 1 without one."""
    one, two = np.triu_indices(min(lines.shape[1], _MET), 1)
    (a, b, c), (d, e, f) = lines[:, one].reshape(-1, 3).T, lines[:, two].reshape(-1, 3).T
    turn = a * e - b * d
    met = turn * turn > 1e-18 * (a * a + b * b) * (d * d + e * e)
    if not met.any():
        return np.zeros(2), 1.0
    points = np.array([b * f - c * e, c * d - a * f])[:, met] / turn[met]
    half = points.shape[1] // 2
    centre = np.partition(points, half, axis=1)[:, half]
    scale = float(np.partition(np.abs(points - centre[:, None]).max(axis=0), half)[half])
    return centre, scale if scale > _SAME * (1 + float(np.abs(centre).max())) else 1.0


def _area(corners: np.ndarray) -> float:
    pairs = pairwise([*corners, corners[0]])
    return abs(float(sum(p[0] * q[1] - p[1] * q[0] for p, q in pairs))) / 2


def _quarters(lines: np.ndarray) -> Rings:
    """The plane as four angles between two lines of the first layer that are not parallel, or between what is at hand."""
    steep = np.sqrt((lines[:, :2] ** 2).sum(axis=1))
    labels = np.flatnonzero(steep > 0)
    normals = lines[labels] / steep[labels, None]
    if len(labels):
        sine = np.abs(normals[:, None, 0] * normals[None, :, 1] - normals[:, None, 1] * normals[None, :, 0])
        i, j = np.unravel_index(int(sine.argmax()), sine.shape)
        if sine[i, j] > 1e-9:
            return _angles(normals[i], normals[j], _first(labels, normals, i), _first(labels, normals, j))
        x, y, _ = normals[0]
        return _angles(normals[0], np.array([-y, x, 0.0]), _first(labels, normals, 0), _SEAM)
    return _angles(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), _SEAM, _SEAM)


def _first(labels: np.ndarray, normals: np.ndarray, i: int | np.integer) -> int:
    """The first unit on the line of unit i."""
    same = np.minimum(np.abs(normals - normals[i]).max(axis=1), np.abs(normals + normals[i]).max(axis=1)) <= _SAME
    return int(labels[int(same.argmax())])


def _twins(lines: np.ndarray) -> int:
    """Lines of the first layer that are an earlier one: the four quarters may have been cut along them already."""
    steep = np.sqrt((lines[:, :2] ** 2).sum(axis=1))
    normals = lines[steep > 0] / steep[steep > 0, None]
    same = np.zeros((len(normals),) * 2, dtype=bool)
    for sign in (1, -1):
        same |= np.logical_and.reduce([np.abs(v[:, None] - sign * v) <= _SAME for v in normals.T])
    return int((same.argmax(axis=1) != np.arange(len(normals))).sum()) if len(normals) else 0


def _angles(one: np.ndarray, two: np.ndarray, label_one: int, label_two: int) -> Rings:
    apex = np.cross(one, two)
    apex = unit(apex * (1.0 if apex[2] > 0 else -1.0))
    along_one, along_two = unit(np.array([-one[1], one[0], 0.0])), unit(np.array([-two[1], two[0], 0.0]))
    points = [[apex, s * along_one, t * along_two] for s in (1, -1) for t in (1, -1)]
    return Rings(
        points=np.array(points).reshape(12, 3),
        labels=np.tile([label_one, OUTSIDE, label_two], 4),
        sizes=np.full(4, 3),
    )
