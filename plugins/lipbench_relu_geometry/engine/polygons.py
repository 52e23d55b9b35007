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
        return self.sizes.cumsum() - self.sizes

    @cached_property
    def owners(self) -> np.ndarray:
        """(V,) polygon of each vertex."""
        return np.arange(len(self.sizes)).repeat(self.sizes)

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
    ends = sizes.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + (starts - ends + sizes).repeat(sizes)


def unit(v: np.ndarray) -> np.ndarray:
    """Rows scaled to norm 1."""
    return v / np.sqrt(np.einsum("...i,...i->...", v, v))[..., None]


def _where(mask: np.ndarray) -> np.ndarray:
    """`numpy.flatnonzero`, which costs as much as the rest of a step where there are few polygons."""
    return mask.nonzero()[0]


def _near_zero(products: np.ndarray) -> np.ndarray:
    """Products of lines and points, with what lies within the tolerance set to exactly 0."""
    products[np.abs(products) <= TOLERANCE] = 0.0
    return products


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
    ends: np.ndarray
    """(C, 2, 3) where the line enters and leaves."""


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
    done: list[tuple[Rings, np.ndarray, np.ndarray, np.ndarray]] = []
    total, coincident = 0, 0
    while True:
        waiting = np.bincount(work.chords.polygon, minlength=len(work.rings))
        whole = _where((waiting == 0) & (work.rings.sizes > 0))
        active = _where(waiting)
        total += len(whole)
        if total + len(active) > limit:
            return None
        if len(whole):
            done.append((work.rings, whole, work.origin[whole], work.packed[whole]))
        if not len(active):
            break
        if len(active) < len(waiting):
            place = np.empty(len(waiting), dtype=np.int64)
            place[active] = np.arange(len(active))
            c, waiting = work.chords, waiting[active]
            chords = _Chords(place[c.polygon], c.line, c.ends)
            work = _Work(work.rings.take(active), work.origin[active], work.packed[active], chords)
        work, same = _split(work, waiting, lines, first)
        coincident += same
    parent = np.concatenate([part[2] for part in done])
    order = parent.argsort(kind="stable")
    before = np.cumsum([0, *(len(part[0]) for part in done)])
    chosen = np.concatenate([start + part[1] for start, part in zip(before, done, strict=False)])
    return Cut(
        rings=joined([part[0] for part in done]).take(chosen[order]),
        parent=parent[order],
        packed=np.concatenate([part[3] for part in done])[order],
        coincident=coincident,
    )


def _split(work: _Work, counts: np.ndarray, lines: np.ndarray, first: int) -> tuple[_Work, int]:
    """Split each polygon by one of the lines that cross it, the middle one of its list; the positive halves come first."""
    rings, chords, n = work.rings, work.chords, len(work.rings)
    picked = counts.cumsum() - counts + counts // 2
    name = chords.line[picked]
    knife = lines[work.origin, name]
    at, real = _sides(rings, knife)
    rest = np.ones(len(chords.line), dtype=bool)
    rest[picked] = False
    others = _where(rest)
    inside, crossed, ends = chords.polygon[others], chords.line[others], chords.ends[others]
    at_ends = _near_zero(np.einsum("ij,ikj->ik", knife[inside], ends))
    packed = np.concatenate([work.packed, work.packed])
    if real.all():
        mark(packed, np.arange(n), name)
    else:  # rounding made a chord where the polygon has none: it stays whole, as the first of its halves
        at[~real[rings.owners]] = 1.0
        at_ends[~real[inside]] = 1.0
        side = _where(real | ((knife * rings.centres()).sum(axis=1) > 0))
        mark(packed, side, name[side])
    up, down = at_ends > 0, at_ends < 0
    # Chord c is the c-th of the positive halves and the (c + C)-th of the negative ones.
    there = np.concatenate([up[:, 0] | up[:, 1], down[:, 0] | down[:, 1]])
    twins = _where(~(there[: len(others)] | there[len(others) :]))
    label = name
    if len(twins):
        label = name.copy()
        np.minimum.at(label, inside[twins], crossed[twins])  # the edge is named after the first of them
    split = _halves(rings, at, label + first)
    polygon, line = np.concatenate([inside, inside + n]), np.concatenate([crossed, crossed])
    gone = _where(~there & (split.sizes[polygon] > 0))
    owner, lost = polygon[gone], line[gone]
    origin = np.concatenate([work.origin, work.origin])
    positive = _where(np.einsum("ij,ij->i", lines[origin[owner], lost], split.inner()[owner]) > 0)
    mark(packed, owner[positive], lost[positive])
    kept = _where(there)
    chords = _Chords(polygon[kept], line[kept], _shared(ends, at_ends, kept))
    return _Work(split, origin, packed, chords), len(twins)


def mark(packed: np.ndarray, rows: np.ndarray, places: np.ndarray) -> None:
    """Set bits of packed rows."""
    np.bitwise_or.at(packed, (rows, places >> 3), (128 >> (places & 7)).astype(np.uint8))


def _shared(ends: np.ndarray, at: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The ends of the chords of both halves, numbered as in `_split`."""
    count = len(at)
    rows = kept % max(1, count)
    found = ends[rows]
    crossing = _where(at[:, 0] * at[:, 1] < 0)
    if len(crossing):
        meet = np.empty((count, 3))
        meet[crossing] = _between(ends[crossing, 0], ends[crossing, 1], at[crossing, 0], at[crossing, 1])
        here = np.where(kept < count, 1.0, -1.0)[:, None] * at[rows]
        lost, which = ((here < 0) & (here[:, ::-1] > 0)).nonzero()
        found[lost, which] = meet[rows[lost]]
    return found


def _sides(rings: Rings, knife: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V,) products of vertices with their polygon's line; (P,) whether it really crosses."""
    at = _near_zero(np.einsum("ij,ij->i", knife[rings.owners], rings.points))
    starts = rings.starts
    return at, (np.minimum.reduceat(at, starts) < 0) & (np.maximum.reduceat(at, starts) > 0)


def _halves(rings: Rings, at: np.ndarray, name: np.ndarray) -> Rings:
    """The parts on the positive side of each polygon's line, then those on the negative one; one may have no vertices."""
    after, owners, count = rings.after, rings.owners, len(at)
    ahead = at[after]
    crosses = at * ahead < 0
    edges = _where(crosses)
    named = name[owners]
    points = np.empty((count, 2, 3))
    points[:, 0] = rings.points
    points[edges, 1] = _between(rings.points[edges], rings.points[after[edges]], at[edges], ahead[edges])
    # (side, vertex, itself or the crossing after it)
    keep, labels = np.empty((2, count, 2), dtype=bool), np.empty((2, count, 2), dtype=np.int64)
    keep[:, :, 1] = crosses
    above, below = at > 0, at < 0
    keep[0, :, 0], keep[1, :, 0] = ~below, ~above
    labels[:] = rings.labels[:, None]
    np.copyto(labels[0, :, 1], named, where=above)
    np.copyto(labels[1, :, 1], named, where=below)
    on = _where(~(above | below))
    if len(on):
        leaves = ahead[on]
        for side, away in ((0, leaves < 0), (1, leaves > 0)):
            labels[side, on[away], 0] = named[on[away]]
    flat = _where(keep.ravel())
    places = flat >> 1
    owner = np.concatenate([owners, owners + len(rings)])[places]
    return Rings(
        points=points.reshape(-1, 3)[flat % (2 * count)],
        labels=labels.ravel()[flat],
        sizes=np.bincount(owner, minlength=2 * len(rings)),
    )


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
    at = _near_zero(np.einsum("ij,ij->i", np.repeat(lines[polygon, line], sizes, axis=0), rings.points[places]))
    ends = np.cumsum(sizes)
    if not len(ends):
        return _Chords(polygon, line, np.zeros((0, 2, 3)))
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
    return _Chords(polygon[crosses], line[crosses], _ends(points, counts))


def _ends(points: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(C, 2, 3) the ends of each chord, of two or, where vertices nearly coincide, a few more points on it."""
    if (counts == 2).all():
        return points.reshape(-1, 2, 3)
    found = np.zeros((len(counts), 2, 3))
    for i, part in enumerate(np.split(points, np.cumsum(counts)[:-1])):
        apart = ((part[:, None] - part[None]) ** 2).sum(axis=2)
        found[i] = part[list(np.unravel_index(int(apart.argmax()), apart.shape))]
    return found
