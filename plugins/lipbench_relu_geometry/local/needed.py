# SPDX-License-Identifier: Apache-2.0
"""How many centres a network's local maps need."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lipbench.api import Context, Metric, Value

from .clusters import clustered, right
from .rows import classes
from .task import Local


class CentresNeeded(Metric):
    """The smallest number of centres for each output, of a list, that keeps a share of what the network itself has.

    Args:
        share: Of the network's accuracy; or, of `fidelity`, of the test points.
        of: `accuracy`, or `fidelity`, the test points with the same class as the network, which an untrained one has as well.
        ks: Numbers of centres that are tried, ascending; accuracy need not grow with them, and the first that is enough counts.
        assign: How a test point finds its centre, see `clustered_outputs`.
        starts: Of k-means.
    """

    def __init__(
        self,
        *,
        share: Annotated[float, Field(gt=0, le=1)] = 0.95,
        of: Literal["accuracy", "fidelity"] = "accuracy",
        ks: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 2, 5, 10, 20, 50, 100, 200, 500),
        assign: Literal["row", "input"] = "row",
        starts: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        self.share, self.of, self.ks, self.assign, self.starts = share, of, sorted(set(ks)), assign, starts

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """The number, not to be ranked where none is enough; all shares that were looked at are in the extras."""
        maps = evidence.own("centres_needed")
        wanted = evidence.test_labels if self.of == "accuracy" else classes(maps.test_outputs)
        goal = self.share * float(right(maps.test_outputs, wanted).mean())
        curve: list[float] = []
        for k in self.ks:
            outputs, _, _ = clustered(evidence, maps, k=k, assign=self.assign, rows="raw", starts=self.starts)
            curve.append(float(right(outputs, wanted).mean()))
            if curve[-1] >= goal:
                break
        enough = curve[-1] >= goal
        return Value(
            value=float(self.ks[len(curve) - 1]),
            direction="lower",
            unit="centres",
            unranked=None if enough else f"{self.ks[-1]} centres are not enough",
            extras={"goal": goal, "ks": self.ks[: len(curve)], "curve": curve, "enough": enough},
        )
