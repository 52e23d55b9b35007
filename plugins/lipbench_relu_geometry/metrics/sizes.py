# SPDX-License-Identifier: Apache-2.0
"""How large the cells around points are."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lipbench.api import Context, Metric, NotApplicable, Value

from ..engine.balls import Ball, chebyshev, facet_distance, nearest_centre
from ..engine.boundary import Boundary, boundary_distance
from ..engine.network import ReluNet
from ..engine.programs import for_each
from ..task import Geometry
from .points import paired_auroc
from .values import mean_value, share

Box = Annotated[tuple[float, float], Field()]


class ChebyshevRadius(Metric):
    """Radius of the largest ball in the cell of a point and in a box.

    In many dimensions cells are unbounded, so the radius is a property of the box as much as of the network: it is in the
    unit's words. The centre of such a ball is not unique: the one that is nearest to the point is.

    Args:
        count: Points.
        box: Both ends of the box in all coordinates; null for the range of the data.
        of: The `radius`; the share of points whose ball a side of the box keeps small, `limited`; or the distance of the point from
            the nearest `centre` of such a ball, with that from the centre of the solver's choice in the extras.

    Source: Liu et al. 2023, Tables 6 and 7, which do not say which box they used.
    """

    def __init__(
        self,
        *,
        count: Annotated[int, Field(ge=1)] = 40,
        box: Box | None = None,
        of: Literal["radius", "limited", "centre"] = "radius",
    ) -> None:
        self.count, self.box, self.of = count, box, of

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over points."""
        low, high = self.box or (evidence.spec.low, evidence.spec.high)
        found = balls(evidence, evidence.x, self.count, low, high, "chebyshev_radius")
        if self.of == "limited":
            return share(np.array([b.limited for b in found]), unit="share")
        if self.of == "centre":
            return self._centres(evidence, found, low, high)
        radii = np.array([b.radius for b in found])
        return mean_value(radii, unit=f"radius in [{low:g}, {high:g}]^m", of="points", radii=[float(f"{r:.5g}") for r in radii])

    def _centres(self, evidence: Geometry, found: list[Ball], low: float, high: float) -> Value:
        net, some = evidence.net(""), evidence.x[: self.count]
        cell = net.cells(net.bits(some))

        def one(i: int) -> float:
            centre = nearest_centre(cell.rows[i], cell.bounds[i], found[i].radius, some[i], low, high)
            return float(np.linalg.norm(centre - some[i]))

        nearest: np.ndarray = np.array(for_each(one, range(len(some))))
        chosen = np.linalg.norm(np.array([b.centre for b in found]) - some, axis=1)
        return mean_value(
            nearest,
            unit=f"distance in [{low:g}, {high:g}]^m",
            of="points",
            solver_mean=float(chosen.mean()),
            largest_gap=float((chosen - nearest).max()),
        )


class RadiusAuroc(Metric):
    """The radius as a detector: attacked points against the clean ones; below 0.5 attacked points sit in smaller cells.

    Args:
        count: Points.
        by: The radius of the largest `ball` in cell and box, or the `distance` from the nearest facet.
    """

    def __init__(self, *, count: Annotated[int, Field(ge=2)] = 40, by: Literal["ball", "distance"] = "ball") -> None:
        self.count, self.by = count, by

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """AUROC with DeLong's interval."""
        net = evidence.net("radius_auroc")
        if self.by == "distance":
            clean, moved = facet_distance(net, evidence.clean), facet_distance(net, evidence.x)
        else:
            low, high = evidence.spec.low, evidence.spec.high
            clean, moved = (
                np.array([b.radius for b in balls(evidence, x, self.count, low, high, "radius_auroc")])
                for x in (evidence.clean, evidence.x)
            )
        return paired_auroc(evidence, clean, moved, "radius_auroc")


class FacetDistance(Metric):
    """Distance of a point from the nearest facet of its cell: the radius within which the network is affine; no box.

    Source: closed form, the smallest slack over the norm of its row.
    """

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over points."""
        found = facet_distance(evidence.net("facet_distance"), evidence.x)
        if not np.isfinite(found).all():
            raise NotApplicable("facet_distance: the cell of a point has no facet, the network is affine; leave it out here")
        return mean_value(found, unit="input units", of="points")


class BoundaryDistance(Metric):
    """How far a point is from the decision boundary of the network.

    `certified` is a lower bound: the smaller of the distances from the nearest facet and from where the affine map of the cell
    changes class. `inside` is the distance from the boundary within the point's own cell, an upper bound that is exact there, over
    the points whose cell it crosses; `crossed` is their share. `linear` follows the map beyond the cell and bounds nothing.

    Args:
        of: Which.
        count: Points.
    """

    def __init__(
        self,
        *,
        of: Literal["certified", "inside", "crossed", "linear"] = "certified",
        count: Annotated[int, Field(ge=1)] = 200,
    ) -> None:
        self.of, self.count = of, count

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over points."""
        net = evidence.net("boundary_distance")
        found: Boundary = evidence.once(("boundary", self.count), lambda: boundary_distance(net, evidence.x[: self.count]))
        crossed = np.isfinite(found.inside)
        if self.of == "crossed":
            return share(crossed, unit="share")
        values = found.inside[crossed] if self.of == "inside" else getattr(found, self.of)
        if not len(values):
            raise NotApplicable("the decision boundary crosses the cell of no point; leave inside out here")
        return mean_value(values[np.isfinite(values)], unit="input units", of="points")


def balls(evidence: Geometry, x: np.ndarray, count: int, low: float, high: float, who: str) -> list[Ball]:
    """The largest balls around the first points."""
    net: ReluNet = evidence.net(who)
    some = x[:count]

    def make() -> list[Ball]:
        cell = net.cells(net.bits(some))
        return for_each(lambda i: chebyshev(cell.rows[i], cell.bounds[i], low, high), range(len(some)))

    found: list[Ball] = evidence.once(("balls", low, high, count, x is evidence.x), make)
    return found
