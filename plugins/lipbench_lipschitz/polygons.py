# SPDX-License-Identifier: Apache-2.0
"""The linear pieces of a network with two inputs: convex polygons, cut by one neuron after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lipbench.api import NotApplicable

# A cut closer than this to a vertex, in diameters of the domain, goes through it: pieces that are thinner are not seen.
RESOLUTION = 1e-12


@dataclass(frozen=True, kw_only=True)
class Affine:
    """A step x -> W x + b of a network."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Kink:
    """A step that multiplies each coordinate by one slope below zero and by another above."""

    below: float
    above: float


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Polygons on which a network is affine, with their affine maps."""

    polygons: Sequence[np.ndarray]
    """Each (k, 2) vertices in order."""
    slopes: np.ndarray
    """(R, m, 2) Jacobians."""
    grazed: int
    """Cuts that were taken to go through a vertex although they pass within the resolution of it."""

    def interior(self) -> np.ndarray:
        """(R, 2) a point inside each polygon."""
        return np.stack([p.mean(0) for p in self.polygons])

    def areas(self) -> np.ndarray:
        """(R,) areas by the shoelace formula."""
        turned = [np.roll(p, -1, 0) for p in self.polygons]
        pairs = zip(self.polygons, turned, strict=True)
        return np.array([abs(np.sum(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])) / 2 for p, q in pairs])


def linear_pieces(steps: Sequence[Affine | Kink], domains: Sequence[np.ndarray], limit: int) -> Pieces:
    """Cut convex polygons into the pieces on which a network is affine.

    Args:
        steps: The network, its first step with 2 inputs.
        domains: Convex polygons (k, 2), vertices in order.
        limit: Largest number of pieces.

    Raises:
        NotApplicable: There are more pieces than `limit`.
    """
    polygons = [np.asarray(d, dtype=np.float64) for d in domains]
    tolerance = RESOLUTION * max(float(np.ptp(d, axis=0).max()) for d in polygons)
    slopes = np.tile(np.eye(2), (len(polygons), 1, 1))
    offsets = np.zeros((len(polygons), 2))
    grazed = 0
    for step in steps:
        if isinstance(step, Affine):
            slopes, offsets = step.weight @ slopes, offsets @ step.weight.T + step.bias
            continue
        polygons, parents, touched = _cut_all(polygons, slopes, offsets, tolerance, limit)
        grazed += touched
        slopes, offsets = slopes[parents], offsets[parents]
        inside = np.stack([p.mean(0) for p in polygons])
        value = np.einsum("rni,ri->rn", slopes, inside) + offsets
        slope = np.where(value > 0, step.above, step.below)
        slopes, offsets = slopes * slope[:, :, None], offsets * slope
    return Pieces(polygons=polygons, slopes=slopes, grazed=grazed)


def clip_to_box(polygon: np.ndarray, low: float, high: float) -> np.ndarray:
    """The part (k', 2) of a convex polygon (k, 2) that lies in [low, high]^2; some of its interior must."""
    for axis in (0, 1):
        for sign, edge in ((1.0, low), (-1.0, high)):
            distance = sign * (polygon[:, axis] - edge)
            if distance.min() < 0:
                polygon = _halves(np.hstack([polygon, distance[:, None]]))[0]
    return polygon


def _cut_all(
    polygons: Sequence[np.ndarray], slopes: np.ndarray, offsets: np.ndarray, tolerance: float, limit: int
) -> tuple[list[np.ndarray], np.ndarray, int]:
    """Cut each polygon along the zero lines of its affine maps: the pieces, and which polygon each is from."""
    length = np.linalg.norm(slopes, axis=2)
    steep = np.where(length > 0, length, 1.0)
    pieces: list[np.ndarray] = []
    parents: list[int] = []
    grazed = 0
    for r, polygon in enumerate(polygons):
        distance = (polygon @ slopes[r].T + offsets[r]) / steep[r]
        distance[:, length[r] == 0] = 1.0  # constant on this polygon: there is no line
        found, touched = _cut(polygon, distance, tolerance)
        grazed += touched
        pieces += found
        parents += [r] * len(found)
        if len(pieces) > limit:
            raise NotApplicable(
                f"the network has more than {limit} linear regions; raise limit, or use interval_jacobian or schur"
            )
    return pieces, np.array(parents), grazed


def _cut(polygon: np.ndarray, distance: np.ndarray, tolerance: float) -> tuple[list[np.ndarray], int]:
    """Cut one polygon (k, 2) by all lines, given the signed distances (k, q) of its vertices from them.

    The distances are affine in the point, so they are cut along with the vertices and never computed anew.
    """
    waiting, done, grazed = [np.hstack([polygon, distance])], [], 0
    while waiting:
        lifted = waiting.pop()
        d = lifted[:, 2:]
        near = np.abs(d) <= tolerance
        snapped = np.where(near, 0.0, d)
        crossing = (snapped.min(0) < 0) & (snapped.max(0) > 0)
        grazed += int(((d.min(0) < 0) & (d.max(0) > 0) & ~crossing & ~near.all(0)).sum())
        lifted = np.hstack([lifted[:, :2], snapped[:, crossing]])
        if crossing.any():
            waiting += _halves(lifted)
        else:
            done.append(lifted[:, :2])
    return done, grazed


def _halves(lifted: np.ndarray) -> list[np.ndarray]:
    """The two parts (k', 2 + q - 1) of a polygon on either side of the first of its q lines."""
    d, after = lifted[:, 2], np.roll(lifted, -1, 0)
    crosses = d * after[:, 2] < 0
    t = np.where(crosses, d / np.where(crosses, d - after[:, 2], 1.0), 0.0)
    cuts = lifted + t[:, None] * (after - lifted)
    cuts[:, 2] = 0.0
    ring = np.stack([lifted, cuts], 1).reshape(-1, lifted.shape[1])
    ring = ring[np.stack([np.ones_like(crosses), crosses], 1).ravel()]
    side = ring[:, 2]
    kept = np.delete(ring, 2, 1)
    return [kept[side >= 0], kept[side <= 0]]
