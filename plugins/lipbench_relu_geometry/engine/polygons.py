# SPDX-License-Identifier: Apache-2.0
"""Thousands of convex polygons cut by thousands of lines at once: the core of the planar decomposition.

Points are homogeneous, (x, y, w) of norm 1 with w >= 0, so that points at infinity are points like any other; lines are
3-vectors of norm 1 or 0, and `line . point` is the sine of the angle between them.

A line that crosses a convex polygon does so in a chord. Where the polygon is split by another line, two products say on which
sides that chord goes on, so a split costs the lines that really cross the polygon and its own vertices, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

TOLERANCE = 1e-12
"""A point whose product with a line is smaller lies on it: cells that are thinner than this are not seen."""
OUTSIDE = -1
"""Label of an edge that belongs to no unit: the rim of the window, or the line at infinity."""


@dataclass(frozen=True, kw_only=True)
class Rings:
    """P convex polygons, their vertices one after the other."""

    points: np.ndarray
    """(V, 3) vertices in order around each polygon."""
    labels: np.ndarray
    """(V,) unit on whose line the edge from a vertex to the next lies, or below 0."""
    sizes: np.ndarray
    """(P,) vertices of each polygon."""

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def starts(self) -> np.ndarray:
        """(P,) place of the first vertex."""
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def owners(self) -> np.ndarray:
        """(V,) polygon of each vertex."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def after(self) -> np.ndarray:
        """(V,) place of the next vertex of the same polygon."""
        found = np.arange(1, len(self.points) + 1)
        ends = np.cumsum(self.sizes)
        found[ends - 1] = ends - self.sizes
        return found

    def take(self, chosen: np.ndarray) -> Rings:
        """Some of them, in the order of `chosen`."""
        sizes = self.sizes[chosen]
        places = spread(self.starts[chosen], sizes)
        return Rings(points=self.points[places], labels=self.labels[places], sizes=sizes)

    def centres(self) -> np.ndarray:
        """(P, 3) a point of norm 1 inside each."""
        return unit(self.inner())

    def inner(self) -> np.ndarray:
        """(P, 3) a point inside each, of any norm; of no meaning for polygons without vertices."""
        found: np.ndarray = np.add.reduceat(self.points, np.minimum(self.starts, len(self.points) - 1), axis=0)
        return found


def joined(parts: list[Rings]) -> Rings:
    """All polygons of several."""
    if len(parts) == 1:
        return parts[0]
    return Rings(
        points=np.concatenate([p.points for p in parts] or [np.zeros((0, 3))]),
        labels=np.concatenate([p.labels for p in parts] or [np.zeros(0, dtype=np.int64)]),
        sizes=np.concatenate([p.sizes for p in parts] or [np.zeros(0, dtype=np.int64)]),
    )


def spread(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """start, start + 1, ..., start + size - 1 for each pair, one after the other."""
    return np.arange(int(sizes.sum())) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)


def unit(v: np.ndarray) -> np.ndarray:
    """Rows scaled to norm 1."""
    return v / np.sqrt(np.einsum("...i,...i->...", v, v))[..., None]


def _where(mask: np.ndarray) -> np.ndarray:
    """`numpy.flatnonzero`, which costs as much as the rest of a step where there are few polygons."""
    return mask.nonzero()[0]


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row-wise products, with what lies within the tolerance set to exactly 0."""
    found: np.ndarray = np.einsum("ij,ij->i", a, b)
    found[np.abs(found) <= TOLERANCE] = 0.0
    return found


def _between(p: np.ndarray, q: np.ndarray, at_p: np.ndarray, at_q: np.ndarray) -> np.ndarray:
    """Where a line that is positive at one end and negative at the other meets the segments from p to q."""
    return unit(np.abs(at_q)[:, None] * p + np.abs(at_p)[:, None] * q)


@dataclass(frozen=True)
class _Chords:
    """Lines that cross polygons: sorted by polygon."""

    polygon: np.ndarray
    """(C,)."""
    line: np.ndarray
    """(C,) number of the line among those of the polygon's parent."""
    p: np.ndarray
    """(C, 3) where the line enters."""
    q: np.ndarray
    """(C, 3) where it leaves."""

    def keep(self, rows: np.ndarray) -> _Chords:
        return _Chords(self.polygon[rows], self.line[rows], self.p[rows], self.q[rows])


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What became of polygons, sorted by the polygon that each piece is from."""

    rings: Rings
    parent: np.ndarray
    """(P',) the polygon that each piece is from."""
    packed: np.ndarray
    """(P', ceil(q / 8)) on which side of each line the piece lies, by `numpy.packbits`: 1 for the positive one."""
    coincident: int
    """Lines that were found to be another one of the same polygon."""


@dataclass(frozen=True)
class _Work:
    """Polygons that are not finished, and the lines that still cross them."""

    rings: Rings
    origin: np.ndarray
    """(P,) the polygon that each is from."""
    packed: np.ndarray
    """(P, ceil(q / 8)) the sides that are known; 0 for lines that cross."""
    chords: _Chords


def cut(rings: Rings, lines: np.ndarray, first: int, limit: int) -> Cut | None:
    """Cut each polygon by its own lines.

    Args:
        rings: P polygons.
        lines: (P, q, 3) of norm 1, or 0 for none.
        first: Label of line 0; line j gets `first + j`.
        limit: Largest number of pieces.

    Returns:
        The pieces, or None where there are more than `limit`.
    """
    work = _begin(rings, lines)
    done, total, coincident = [], 0, 0
    while True:
        waiting = np.bincount(work.chords.polygon, minlength=len(work.rings))
        whole = _where((waiting == 0) & (work.rings.sizes > 0))
        if len(whole):
            done.append((work.rings.take(whole), work.origin[whole], work.packed[whole]))
            total += len(whole)
        active = _where(waiting)
        if total + len(active) > limit:
            return None
        if not len(active):
            break
        place = np.zeros(len(work.rings), dtype=np.int64)
        place[active] = np.arange(len(active))
        c = work.chords
        rest = _Work(
            work.rings.take(active), work.origin[active], work.packed[active], _Chords(place[c.polygon], c.line, c.p, c.q)
        )
        work, same = _split(rest, waiting[active], lines, first)
        coincident += same
    parent = np.concatenate([part[1] for part in done])
    order = np.argsort(parent, kind="stable")
    return Cut(
        rings=joined([part[0] for part in done]).take(order),
        parent=parent[order],
        packed=np.concatenate([part[2] for part in done])[order],
        coincident=coincident,
    )


def _split(work: _Work, counts: np.ndarray, lines: np.ndarray, first: int) -> tuple[_Work, int]:
    """Split each polygon by one of the lines that cross it, the middle one of its list."""
    rings, chords, n = work.rings, work.chords, len(work.rings)
    picked = np.cumsum(counts) - counts + counts // 2
    name = chords.line[picked]
    knife = lines[work.origin, name]
    at, real = _sides(rings, knife)
    rest = np.ones(len(chords.line), dtype=bool)
    rest[picked] = False
    others = chords.keep(_where(rest))
    k = knife[others.polygon]
    at_p, at_q = _dot(k, others.p), _dot(k, others.q)
    side = np.ones(n, dtype=bool)
    if not real.all():  # rounding made a chord where the polygon has none: it stays whole, as the first of its halves
        side = real | ((knife * rings.centres()).sum(axis=1) > 0)
        at[~real[rings.owners]] = 1.0
        stays = ~real[others.polygon]
        at_p[stays], at_q[stays] = 1.0, 1.0
    twins = (at_p == 0) & (at_q == 0)
    label = name.copy()
    if twins.any():
        np.minimum.at(label, others.polygon[twins], others.line[twins])  # the edge is named after the first of them
    split = joined(list(_halves(rings, at, label + first)))
    above, below = (at_p > 0) | (at_q > 0), (at_p < 0) | (at_q < 0)
    packed = np.concatenate([work.packed, work.packed])
    mark(packed, _where(side), name[side])
    gone = np.concatenate([others.polygon[~above], others.polygon[~below] + n])
    line = np.concatenate([others.line[~above], others.line[~below]])
    there = split.sizes[gone] > 0
    gone, line = gone[there], line[there]
    positive = (lines[work.origin[gone % n], line] * split.inner()[gone]).sum(axis=1) > 0
    mark(packed, gone[positive], line[positive])
    chords = _shared(others, at_p, at_q, _where(above), _where(below), n)
    return _Work(split, np.concatenate([work.origin, work.origin]), packed, chords), int(twins.sum())


def mark(packed: np.ndarray, rows: np.ndarray, places: np.ndarray) -> None:
    """Set bits of packed rows."""
    np.bitwise_or.at(packed, (rows, places >> 3), (128 >> (places & 7)).astype(np.uint8))


def _shared(c: _Chords, at_p: np.ndarray, at_q: np.ndarray, above: np.ndarray, below: np.ndarray, n: int) -> _Chords:
    """The chords of both halves, those on the positive side first."""
    crossing = _where(at_p * at_q < 0)
    p, q = np.concatenate([c.p[above], c.p[below]]), np.concatenate([c.q[above], c.q[below]])
    if len(crossing):
        meet = np.zeros((len(c.line), 3))
        meet[crossing] = _between(c.p[crossing], c.q[crossing], at_p[crossing], at_q[crossing])
        rows = np.concatenate([above, below])
        sign = np.repeat([1.0, -1.0], [len(above), len(below)])
        here, there = sign * at_p[rows], sign * at_q[rows]
        lost_p, lost_q = (here < 0) & (there > 0), (there < 0) & (here > 0)
        p[lost_p], q[lost_q] = meet[rows[lost_p]], meet[rows[lost_q]]
    return _Chords(
        np.concatenate([c.polygon[above], c.polygon[below] + n]), np.concatenate([c.line[above], c.line[below]]), p, q
    )


def _sides(rings: Rings, knife: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V,) products of vertices with their polygon's line; (P,) whether it really crosses."""
    at = _dot(np.repeat(knife, rings.sizes, axis=0), rings.points)
    starts = rings.starts
    return at, (np.minimum.reduceat(at, starts) < 0) & (np.maximum.reduceat(at, starts) > 0)


def _halves(rings: Rings, at: np.ndarray, name: np.ndarray) -> tuple[Rings, Rings]:
    """The parts on the positive and on the negative side of each polygon's line; one may have no vertices."""
    after = rings.after
    ahead = at[after]
    crosses = at * ahead < 0
    edges = _where(crosses)
    owners = rings.owners
    named = name[owners]
    points = np.empty((len(at), 2, 3))
    points[:, 0] = rings.points
    points[edges, 1] = _between(rings.points[edges], rings.points[after[edges]], at[edges], ahead[edges])
    found = []
    for sign in (1.0, -1.0):
        here, there = sign * at, sign * ahead
        keep = np.stack([here >= 0, crosses], axis=1)
        labels = np.stack(
            [np.where((here == 0) & (there < 0), named, rings.labels), np.where(here > 0, named, rings.labels)], axis=1
        )
        sizes = np.bincount(owners, weights=keep.sum(axis=1), minlength=len(rings)).astype(np.int64)
        found.append(Rings(points=points[keep], labels=labels[keep], sizes=sizes))
    return found[0], found[1]


def _begin(rings: Rings, lines: np.ndarray) -> _Work:
    """Which lines cross their polygons, and on which side of the others these are."""
    centres, starts, owners = rings.centres(), rings.starts, rings.owners
    reach = np.sqrt(np.maximum.reduceat(((rings.points - centres[owners]) ** 2).sum(axis=1), starts))
    at = (lines @ centres[:, :, None])[:, :, 0]
    polygon, line = np.nonzero(np.abs(at) <= reach[:, None] + TOLERANCE)
    chords = _chords(rings, starts, polygon, line, lines)
    positive = at > 0
    positive[chords.polygon, chords.line] = False
    return _Work(rings, np.arange(len(rings)), np.packbits(positive, axis=1), chords)


def _chords(rings: Rings, starts: np.ndarray, polygon: np.ndarray, line: np.ndarray, lines: np.ndarray) -> _Chords:
    """The chords of those pairs of polygon and line that cross."""
    sizes = rings.sizes[polygon]
    places = spread(starts[polygon], sizes)
    at = _dot(np.repeat(lines[polygon, line], sizes, axis=0), rings.points[places])
    ends = np.cumsum(sizes)
    if not len(ends):
        return _Chords(polygon, line, np.zeros((0, 3)), np.zeros((0, 3)))
    begin = ends - sizes
    crosses = (np.minimum.reduceat(at, begin) < 0) & (np.maximum.reduceat(at, begin) > 0)
    after = np.arange(1, len(at) + 1)
    after[ends - 1] = begin
    ahead = at[after]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    hits = _where(((at * ahead < 0) | (at == 0)) & crosses[owner])
    points = rings.points[places[hits]].copy()
    inner = _where(at[hits] != 0)
    on = hits[inner]
    points[inner] = _between(points[inner], rings.points[places[after[on]]], at[on], ahead[on])
    counts = np.bincount(owner[hits], minlength=len(sizes))[crosses]
    p, q = _ends(points, counts)
    return _Chords(polygon[crosses], line[crosses], p, q)


def _ends(points: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two ends of each chord, of two or, where vertices nearly coincide, a few more points on it."""
    if (counts == 2).all():
        return points[0::2], points[1::2]
    p, q = np.zeros((len(counts), 3)), np.zeros((len(counts), 3))
    for i, part in enumerate(np.split(points, np.cumsum(counts)[:-1])):
        apart = ((part[:, None] - part[None]) ** 2).sum(axis=2)
        a, b = np.unravel_index(int(apart.argmax()), apart.shape)
        p[i], q[i] = part[a], part[b]
    return p, q
