# SPDX-License-Identifier: Apache-2.0
"""KR against the exact W1, and the hinge against its floor."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lipbench.api import Context, Metric, Value

from ..losses import evaluate
from ..models.base import TrainedNetwork
from ..task import NetworkOnClasses
from ..transport import hinge_floor

FACTS = ("w1", "w1_l1_cost", "mean_gap", "closest")


class Kr(Metric):
    """KR(f): mean of f over class 0 less its mean over class 1, on training rows, as many of each; at most K W1.

    K is the product bound of the network, W1 the exact distance by l2 ground cost between the same rows. The extras have W1, W1
    by l1 cost, the distance of the means, and the curve over training.

    Args:
        relative: Report KR / W1 instead, which is at most K.
    """

    def __init__(self, *, relative: bool = False) -> None:
        self.relative = relative

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """Larger is closer to W1, for a 1-Lipschitz network."""
        first, second = evidence.pairs()
        f = evidence.train.f[:, 0].double()
        value = float(f[first].mean() - f[second].mean())
        facts = dict(zip(FACTS, evidence.transport["facts"].tolist(), strict=True))
        bound = evidence.bound()
        curve = _curve(evidence) if not self.relative else {}
        free = "not 1-Lipschitz, so KR may exceed W1" if bound > 1.01 else None
        return Value(
            value=value / facts["w1"] if self.relative else value,
            direction="higher",
            unit="KR / W1" if self.relative else "1",
            unranked=free,
            extras={**facts, "kr": value, "bound": bound, "rows": len(first), **curve},
        )


def _curve(evidence: NetworkOnClasses) -> dict[str, object]:
    network = evidence.network
    if not isinstance(network, TrainedNetwork) or not network.curves:
        return {}
    curves = network.curves
    return {"curve": {"step": curves["step"].tolist(), "kr": [round(v, 6) for v in curves["kr"].tolist()]}}


class W1(Metric):
    """The exact W1 between the two classes, a fact of the data.

    By l2 distances it bounds KR of a 1-Lipschitz network; by l1 distances it has nothing to do with one.

    Args:
        cost: `l2` or `l1`.
    """

    def __init__(self, *, cost: Literal["l2", "l1"] = "l2") -> None:
        self.cost = cost

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """Not ranked."""
        evidence.pairs()
        facts = dict(zip(FACTS, evidence.transport["facts"].tolist(), strict=True))
        return Value(value=facts["w1" if self.cost == "l2" else "w1_l1_cost"], direction="none", unit="1", extras=facts)


class Hinge(Metric):
    """Mean of max(0, margin - s f) on the training split, with the least that any 1-Lipschitz function can have.

    Args:
        margin: Of the hinge, in the convention of deel-lip 1.0.
        floor_rows: Most rows of each class for the floor, which is left out where there are more.
    """

    def __init__(
        self,
        *,
        margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
        floor_rows: Annotated[int, Field(ge=1)] = 1500,
    ) -> None:
        self.margin, self.floor_rows = margin, floor_rows

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """Lower is better."""
        f, y = evidence.train.labelled()
        extras: dict[str, float] = {"bound": evidence.bound()}
        if f.shape[1] == 1 and int(y.bincount().max()) <= self.floor_rows:
            x = evidence.train.x.flatten(1).double().numpy()
            classes = [x[np.flatnonzero(y.numpy() == c)] for c in (0, 1)]
            extras["floor"] = hinge_floor(classes[0], classes[1], self.margin)
        return Value(value=evaluate(f, y, self.margin)["hinge"], direction="lower", unit="1", extras=extras)
