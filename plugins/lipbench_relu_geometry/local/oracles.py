# SPDX-License-Identifier: Apache-2.0
"""Planar networks set by hand, and what is known of them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lipbench.api import Context, DataSpec, InvalidInput, Metric, NotApplicable, Value

from ..engine.network import ReluNet, net_of
from ..engine.plane import box, decompose
from ..models.base import ReluNets
from .planar import distinct, grid, grid_maps, positive_area, scalar_maps, zero_loops, zero_segments
from .task import Local

Kind = Literal["exclusive_or", "hexagon", "corner"]


class LocalOracle(ReluNets):
    """A planar network with one output, set by hand.

    Args:
        kind: `exclusive_or`: the source's two units, three cells, positive where |x + y| < 1/2. `hexagon`: 0.55 less three
            units around the origin, which tell disc and annulus apart. `corner`: two units, then one, with a bounded cell:
            width 2 closes cells, though no decision.

    Source: Sattelberg et al. 2023, eq. 2, for the first.
    """

    def __init__(self, *, kind: Kind = "exclusive_or") -> None:
        self.kind = kind

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Set the weights.

        Raises:
            InvalidInput: The data has not two inputs.
        """
        if tuple(spec.shape) != (2,):
            raise InvalidInput(f"local_oracle has 2 inputs, the data has shape {spec.shape}")
        self.nets = (oracle(self.kind),)


def oracle(kind: Kind) -> ReluNet:
    """The network of a kind."""
    if kind == "exclusive_or":
        return net_of([(np.ones((2, 2)), np.array([1.0, 0.0])), (np.array([[2.0, -4.0]]), np.array([-1.0]))])
    if kind == "hexagon":
        angle = np.deg2rad([90.0, 210.0, 330.0])
        ways = np.column_stack([np.cos(angle), np.sin(angle)])
        return net_of([(ways, np.zeros(3)), (-np.ones((1, 3)), np.array([0.55]))])
    return net_of([(np.eye(2), np.zeros(2)), (-np.ones((1, 2)), np.ones(1)), (np.ones((1, 1)), np.array([-0.5]))])


class PlanarTruth(Metric):
    """What is measured of a planar network less what is known of it: 0 where all is well.

    Args:
        of: `cells` of the whole plane, `bounded_cells`, `grid_maps` (distinct maps on a 101 x 101 grid of the box),
            `positive_share` of the box's area, `loops` (closed curves on which the output is zero), `right` (test points on
            the right side of zero).
        truth: The known number.
    """

    def __init__(
        self,
        *,
        of: Literal["cells", "bounded_cells", "grid_maps", "positive_share", "loops", "right"],
        truth: float,
    ) -> None:
        self.of, self.truth = of, truth

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """The difference.

        Raises:
            NotApplicable: It is no single planar network with one output.
        """
        if len(evidence.nets) != 1 or evidence.nets[0].inputs != 2 or evidence.nets[0].outputs != 1:
            raise NotApplicable("planar_truth reads one planar network with one output, such as local_oracle")
        found = float(self._measured(evidence, evidence.nets[0]))
        return Value(
            value=found - self.truth, direction="none", unit="difference", extras={"measured": found, "truth": self.truth}
        )

    def _measured(self, evidence: Local, net: ReluNet) -> float:
        low, high = evidence.spec.low, evidence.spec.high
        if self.of in ("cells", "bounded_cells"):
            plane = decompose([net])
            return float(len(plane) if self.of == "cells" else plane.bounded.sum())
        if self.of == "grid_maps":
            return float(distinct(grid_maps(net, grid(low, high, 101))[0], 9))
        if self.of == "right":
            x, y = evidence.raw_test, evidence.test_labels.numpy()
            return float(((net(x)[:, 0] > 0) == (y == 1)).sum())
        plane = decompose([net], box([low, low], [high, high]))
        maps, polygons = scalar_maps(plane, np.ones(1)), plane.polygons()
        if self.of == "positive_share":
            return positive_area(polygons, maps) / (high - low) ** 2
        return float(zero_loops(zero_segments(polygons, maps), high - low))
