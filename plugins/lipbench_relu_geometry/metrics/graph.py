# SPDX-License-Identifier: Apache-2.0
"""The graph of neighbouring cells against the Hamming distance of their bit vectors."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lipbench.api import Context, Metric, NotApplicable, Value

from ..engine.enumerate import CellComplex, enumerate_cells
from ..engine.network import ReluNet
from ..task import Geometry
from .values import mean_value


class GraphExcess(Metric):
    """Share of pairs of cells that are further apart in the dual graph than their bit vectors differ.

    Neighbours differ in one bit, so that the Hamming distance is a lower bound of the steps from cell to cell. With one hidden layer
    both are equal; in deeper networks a unit may have to change and change back.

    Args:
        where: Cells of the `whole` space, or those in the `box` of the data.
        sources: Cells of each network from which steps are counted.

    Source: Liu et al. 2023, section 2, which takes one for the other.
    """

    def __init__(self, *, where: Literal["whole", "box"] = "whole", sources: Annotated[int, Field(ge=1)] = 50) -> None:
        self.where, self.sources = where, sources

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over networks; steps, the longest way, neighbours of a cell and skipped networks in the extras."""
        low, high = (None, None) if self.where == "whole" else (evidence.spec.low, evidence.spec.high)
        rng, found = ctx.rng("sources"), []
        for net in evidence.nets:
            cells = generic(net, low, high, alone=len(evidence.nets) == 1)
            if cells is not None and len(cells) > 1:
                found.append(self._look(cells, rng))
        if not found:
            raise NotApplicable("graph_excess: all networks have units that share a hyperplane; leave it out here")
        shares, steps, longest, degree, most = (np.array(v) for v in zip(*found, strict=True))
        return mean_value(
            shares,
            unit="share of pairs",
            of="networks",
            steps=float(steps.mean()),
            longest=int(longest.max()),
            neighbours=float(degree.mean()),
            largest_excess=int(most.max()),
            skipped=len(evidence.nets) - len(found),
        )

    def _look(self, cells: CellComplex, rng: np.random.Generator) -> tuple[float, float, float, float, float]:
        some = rng.permutation(len(cells))[: self.sources]
        steps, bits = cells.distances(some), cells.bits()
        excess = steps - (bits[some][:, None] != bits[None]).sum(axis=2)
        pairs = np.isfinite(steps) & (steps > 0)
        degree = 2 * len(cells.neighbours()[0]) / len(cells)
        return (
            float((excess[pairs] > 0).mean()),
            float(steps[pairs].mean()),
            float(steps[pairs].max()),
            degree,
            float(excess[pairs].max()),
        )


def generic(net: ReluNet, low: float | None, high: float | None, *, alone: bool) -> CellComplex | None:
    """All cells with the graph of their neighbours.

    Where units share a hyperplane it is found from cell to cell, which is slow, and for one network only: None for others.
    """
    cells = enumerate_cells(net, low, high)
    if not cells.nongeneric or cells.edges is not None:
        return cells
    return enumerate_cells(net, low, high, engine="traversal") if alone else None
