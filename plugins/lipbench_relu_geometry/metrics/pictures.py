# SPDX-License-Identifier: Apache-2.0
"""Cells as polygons in a record, for the pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from lipbench.api import Context, InvalidInput, Metric, NotApplicable, Value

from ..engine.enumerate import planar_cells
from ..engine.network import ReluNet
from ..engine.plane import Plane, box, decompose, unit_or_zero
from ..engine.polygons import cut, joined
from ..task import Geometry
from .values import mean_value

MAX_NUMBERS = 30_000
"""Numbers of polygons that a record takes; a larger picture has none."""


class CellMap(Metric):
    """Cells of a network with two inputs, as a picture: polygons, the affine map of each, and where the first output is zero.

    Args:
        half: Half width of the window around the middle of the data's box, in its half widths.
        replica: Which replica, where there are several.
    """

    def __init__(self, *, half: Annotated[float, Field(gt=0)] = 1.0, replica: Annotated[int, Field(ge=0)] = 0) -> None:
        self.half, self.replica = half, replica

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """The number of cells in the window."""
        net = evidence.nets[min(self.replica, len(evidence.nets) - 1)]
        if net.inputs != 2:
            raise NotApplicable(f"cell_map draws networks with 2 inputs, here there are {net.inputs}; use slice_map")
        low, high = evidence.spec.low, evidence.spec.high
        middle, reach = (low + high) / 2, self.half * (high - low) / 2
        plane = decompose([net], box([middle - reach] * 2, [middle + reach] * 2))
        extras = {"window": [middle - reach, middle + reach], "box": [low, high], **drawn(plane, _scalar(net))}
        if extras.get("polygons"):
            extras |= _apart(plane, net.bits(np.full((1, 2), middle)))
        return Value(value=float(len(plane)), direction="none", unit="cells", extras=extras)


class SliceMap(Metric):
    """Cells on the plane through three points of different classes.

    Args:
        margin: How far the window goes beyond the triangle, as a share of its size.
    """

    def __init__(self, *, margin: Annotated[float, Field(ge=0)] = 0.3) -> None:
        self.margin = margin

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """The number of cells in the window."""
        net, y = evidence.net("slice_map"), evidence.labels("slice_map")
        classes = ctx.rng("classes").permutation(np.unique(y))[:3]
        if len(classes) < 3:
            raise InvalidInput("slice_map needs three classes")
        rows = [int(np.flatnonzero(y == c)[0]) for c in classes]
        origin, a, b = evidence.x[rows]
        first = (a - origin) / np.linalg.norm(a - origin)
        rest = (b - origin) - ((b - origin) @ first) * first
        ways = np.stack([first, rest / np.linalg.norm(rest)])
        corners = (evidence.x[rows] - origin) @ ways.T
        room = self.margin * np.ptp(corners, axis=0).max()
        plane = decompose([net.on_plane(origin, ways)], box(corners.min(axis=0) - room, corners.max(axis=0) + room))
        extras = {"corners": _short(corners), "classes": [int(c) for c in classes], **drawn(plane, None)}
        if extras.get("polygons"):
            extras["class_polygons"], extras["class_of"] = _classes(plane)
        return Value(value=float(len(plane)), direction="none", unit="cells", extras=extras)


class CellEvolution(Metric):
    """Cells in the box of the data while one replica learns, as a strip of pictures.

    Args:
        replica: Which replica.
    """

    def __init__(self, *, replica: Annotated[int, Field(ge=0)] = 0) -> None:
        self.replica = replica

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Cells at the end less those at the start, the mean over all replicas; the counts of each epoch in the extras."""
        if len(evidence.past) < 2 or evidence.nets[0].inputs != 2:
            raise NotApplicable("cell_evolution needs relu_replicas with snapshots: and two inputs; leave it out here")
        low, high = evidence.spec.low, evidence.spec.high
        planes = [decompose(nets, box([low, low], [high, high])) for _, nets in evidence.past]
        counts = np.array([p.counts(len(evidence.nets)) for p in planes])
        frames = []
        for epoch, nets in evidence.past:
            net = nets[min(self.replica, len(nets) - 1)]
            frames.append({"epoch": epoch, **drawn(decompose([net], box([low, low], [high, high])), _scalar(net))})
        return mean_value(
            counts[-1] - counts[0],
            unit="cells",
            of="replicas",
            epochs=[epoch for epoch, _ in evidence.past],
            counts=counts.tolist(),
            frames=frames,
        )


def _scalar(net: ReluNet) -> np.ndarray:
    """Weights of the outputs whose zero is drawn: the only one, or the second less the first."""
    pick = np.zeros(net.outputs)
    pick[0] = 1.0
    if net.outputs > 1:
        pick[:2] = (-1.0, 1.0)
    return pick


def drawn(plane: Plane, pick: np.ndarray | None) -> dict[str, Any]:
    """Polygons as [x0, y0, x1, y1, ...], how many units are on, the affine map, and the zero set as segments."""
    polygons = plane.polygons()
    if sum(p.size for p in polygons) > MAX_NUMBERS:
        return {"polygons": None}
    found: dict[str, Any] = {
        "polygons": [_short(p.ravel()) for p in polygons],
        "on": [int(v) for v in plane.bits().sum(axis=1)],
        "colour": [int(v) for v in (plane.bits().astype(np.int64) @ _primes(plane.units)) % 9973],
    }
    if pick is not None:
        slope, offset = np.einsum("n,pnk->pk", pick, plane.slope), plane.offset @ pick
        found["dual"] = [_short(row) for row in np.column_stack([slope, offset])]
        found["zero"] = _zero_set(polygons, slope, offset)
    return found


def _apart(plane: Plane, home: np.ndarray) -> dict[str, Any]:
    """Of each cell the bits in which it differs from that of a point, and the steps in the graph of neighbours between them."""
    hamming = (plane.bits() != home).sum(axis=1)
    cells = planar_cells(plane)
    if cells.nongeneric or int(hamming.min()) > 0:
        return {}
    steps = cells.distances(np.flatnonzero(hamming == 0)[:1])[0]
    return {"hamming": [int(v) for v in hamming], "steps": [int(v) for v in steps]} if np.isfinite(steps).all() else {}


def _primes(units: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 9973, units)


def _zero_set(polygons: list[np.ndarray], slope: np.ndarray, offset: np.ndarray) -> list[list[float]]:
    """The segments on which the affine maps of polygons are zero."""
    found = []
    for p, w, b in zip(polygons, slope, offset, strict=True):
        z = p @ w + b
        after, ahead = np.roll(p, -1, axis=0), np.roll(z, -1)
        cross = z * ahead < 0
        if cross.sum() == 2:
            t = (z / np.where(cross, z - ahead, 1.0))[cross, None]
            found.append(_short((p[cross] + t * (after[cross] - p[cross])).ravel()))
    return found


def _classes(plane: Plane) -> tuple[list[list[float]], list[int]]:
    """Polygons on which one output is the largest, exact: cells are cut where outputs are equal, if one wins not all corners."""
    rings, n = plane.rings, plane.slope.shape[1]
    maps = np.concatenate([plane.scale * plane.slope, (plane.offset + plane.slope @ plane.centre)[:, :, None]], axis=2)
    corners = np.einsum("vnk,vk->vn", maps[rings.owners], rings.points).argmax(axis=1)
    mixed = np.minimum.reduceat(corners, rings.starts) != np.maximum.reduceat(corners, rings.starts)
    whole, split = np.flatnonzero(~mixed), np.flatnonzero(mixed)
    parts, classes = [rings.take(whole)], corners[rings.starts[whole]].tolist()
    i, j = np.triu_indices(n, 1)
    found = cut(rings.take(split), unit_or_zero(maps[split][:, i] - maps[split][:, j]), 0, MAX_NUMBERS)
    if len(split) and found is not None:
        parts.append(found.rings)
        values = (maps[split][found.parent] @ found.rings.centres()[:, :, None])[:, :, 0]
        classes += values.argmax(axis=1).tolist()
    shown = replace(plane, rings=joined(parts))
    return [_short(p.ravel()) for p in shown.polygons()], [int(c) for c in classes]


def _short(values: np.ndarray) -> Any:
    found = np.asarray(values, dtype=np.float64)
    return [[float(f"{v:.5g}") for v in row] for row in found] if found.ndim == 2 else [float(f"{v:.5g}") for v in found]
