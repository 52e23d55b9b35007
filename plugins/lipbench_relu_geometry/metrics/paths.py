# SPDX-License-Identifier: Apache-2.0
"""What lies between two points: cells on the segment, exactly and by the published bisection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lipbench.api import Context, InvalidInput, Metric, Value

from ..engine.neighbours import nearest_euclid, nearest_hamming
from ..engine.segments import Bisected, Crossings, bisect, crossings
from ..task import Geometry
from .values import mean_value, share

Pairs = Literal["random", "euclid_nn", "hamming_nn"]
_SCATTERED = 500


@dataclass(frozen=True, kw_only=True)
class _Paths:
    start: np.ndarray
    end: np.ndarray
    exact: Crossings
    hamming: np.ndarray


class _OnPairs(Metric):
    """A metric on pairs of points."""

    def __init__(self, *, pairs: Pairs, count: int) -> None:
        self.pairs, self.count = pairs, count

    def paths(self, evidence: Geometry) -> _Paths:
        """The pairs, and what their segments cross; made once a job."""
        made: _Paths = evidence.once(("paths", self.pairs, self.count), lambda: self._paths(evidence))
        return made

    def _paths(self, evidence: Geometry) -> _Paths:
        net = evidence.net("a metric on segments")
        x = evidence.x
        rows = np.arange(min(self.count, len(x)))
        if self.pairs == "random":
            partner = (rows + 1 + evidence.rng("partners").integers(0, len(x) - 1, len(rows))) % len(x)
        elif self.pairs == "euclid_nn":
            partner = nearest_euclid(x, x, same=True).index[rows]
        else:
            bits = net.bits(x)
            partner = nearest_hamming(bits, bits, same=True).index[rows]
        start, end = x[rows], x[partner]
        apart = (start != end).any(axis=1)
        if not apart.any():
            raise InvalidInput("all pairs of points are the same point twice; use more points")
        start, end = start[apart], end[apart]
        return _Paths(
            start=start, end=end, exact=crossings(net, start, end), hamming=(net.bits(start) != net.bits(end)).sum(axis=1)
        )


class SegmentCells(_OnPairs):
    """Cells on the segment between two points, exact.

    Args:
        pairs: Which points: `random` ones, or each with its nearest neighbour by Euclid or by the Hamming distance.
        count: Pairs.
        of: `cells` on the segment, the `hamming` distance of its ends, or `excess`, the share of segments that cross more units
            than their ends differ in.

    Source: Liu et al. 2023, Table 5 and Figure 4; the method is that of Sotoudeh and Thakur 2019.
    """

    def __init__(
        self,
        *,
        pairs: Pairs = "euclid_nn",
        count: Annotated[int, Field(ge=1)] = 300,
        of: Literal["cells", "hamming", "excess"] = "cells",
    ) -> None:
        super().__init__(pairs=pairs, count=count)
        self.of = of

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over pairs."""
        paths = self.paths(evidence)
        counts = paths.exact.counts()
        if self.of == "hamming":
            return mean_value(paths.hamming, unit="bits", of="pairs")
        if self.of == "excess":
            return share(counts > paths.hamming, unit="share", odd=int(((counts - paths.hamming) % 2 != 0).sum()))
        return mean_value(
            counts + 1,
            unit="cells",
            of="pairs",
            scatter=[paths.hamming[:_SCATTERED].tolist(), counts[:_SCATTERED].tolist()],
            touched=paths.exact.touched,
        )


class BisectionMiss(_OnPairs):
    """Share of segments on which a bisection does not find all cells.

    Args:
        variant: `published`, or `repaired`: its right end is moved back after each hit.
        pairs: See `segment_cells`.
        count: Pairs.

    Source: Liu et al. 2023, Algorithm 2.
    """

    def __init__(
        self,
        *,
        variant: Literal["published", "repaired"] = "repaired",
        pairs: Pairs = "random",
        count: Annotated[int, Field(ge=1)] = 300,
    ) -> None:
        super().__init__(pairs=pairs, count=count)
        self.variant = variant

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """In [0, 1], lower is better; cells that are missed and stalled segments in the extras."""
        paths = self.paths(evidence)
        found: Bisected = bisect(evidence.net(""), paths.start, paths.end, self.variant)
        missed = paths.exact.counts() - found.counts
        return share(
            (missed != 0) | found.stalled,
            unit="share",
            direction="lower",
            stalled=float(found.stalled.mean()),
            missed_mean=float(missed.mean()),
            missed_max=int(missed.max()),
        )
