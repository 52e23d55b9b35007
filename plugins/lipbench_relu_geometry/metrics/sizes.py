# SPDX-License-Identifier: Apache-2.0
"""How large the cells around points are."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lipbench.api import Context, Metric, Value

from ..engine.balls import Ball, chebyshev, facet_distance
from ..engine.network import ReluNet
from ..task import Geometry
from .points import paired_auroc
from .values import mean_value, share

Box = Annotated[tuple[float, float], Field()]


class ChebyshevRadius(Metric):
    """Radius of the largest ball in the cell of a point and in a box.

    In many dimensions cells are unbounded, so the radius is a property of the box as much as of the network: it is in the
    unit's words. The centre of such a ball is not unique.

    Args:
        count: Points.
        box: Both ends of the box in all coordinates; null for the range of the data.
        of: The `radius`, or the share of points whose ball a side of the box keeps small, `limited`.

    Source: Liu et al. 2023, Tables 6 and 7, which do not say which box they used.
    """

    def __init__(
        self, *, count: Annotated[int, Field(ge=1)] = 40, box: Box | None = None, of: Literal["radius", "limited"] = "radius"
    ) -> None:
        self.count, self.box, self.of = count, box, of

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over points."""
        low, high = self.box or (evidence.spec.low, evidence.spec.high)
        found = balls(evidence, evidence.x, self.count, low, high, "chebyshev_radius")
        if self.of == "limited":
            return share(np.array([b.limited for b in found]), unit="share")
        radii = np.array([b.radius for b in found])
        return mean_value(radii, unit=f"radius in [{low:g}, {high:g}]^m", of="points", radii=[float(f"{r:.5g}") for r in radii])


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
        return mean_value(found, unit="raw input units", of="points")


def balls(evidence: Geometry, x: np.ndarray, count: int, low: float, high: float, who: str) -> list[Ball]:
    """The largest balls around the first points."""
    net: ReluNet = evidence.net(who)
    some = x[:count]

    def make() -> list[Ball]:
        cell = net.cells(net.bits(some))
        return [chebyshev(cell.rows[i], cell.bounds[i], low, high) for i in range(len(some))]

    found: list[Ball] = evidence.once(("balls", low, high, count, x is evidence.x), make)
    return found
