# SPDX-License-Identifier: Apache-2.0
"""Accuracy: clean, certified within a radius, and under attack."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Metric, Value

from ..attack import pgd_l2
from ..losses import margins, right
from ..task import NetworkOnClasses, SplitName

Radius = Annotated[float, Field(ge=0, allow_inf_nan=False)]
CURVE = 41
"""Radii of the curve of certified accuracy."""


class Accuracy(Metric):
    """Share of rows with the right class; one output of 0 or more says class 0.

    Args:
        split: `train` or `test`.
        threshold: `zero`, or `median` of the outputs on the training split, for networks whose loss does not see the threshold.
    """

    def __init__(self, *, split: SplitName = "test", threshold: Literal["zero", "median"] = "zero") -> None:
        self.split, self.threshold = split, threshold

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """In [0, 1], higher is better."""
        f, y = evidence.split(self.split).labelled()
        at = float(evidence.train.f.median()) if self.threshold == "median" and f.shape[1] == 1 else 0.0
        return _share(right(f, y, at), threshold=at)


def certified_radii(evidence: NetworkOnClasses, split: SplitName) -> Tensor:
    """(N,) radii of l2 balls in which the class cannot change, by the product bound K; negative where it is wrong.

    |f| / K for one output, (f_y - max of the others) / (sqrt 2 K) for several: a jointly K-Lipschitz f moves the difference of
    two outputs by sqrt 2 K at most.
    """
    f, y = evidence.split(split).labelled()
    return margins(f.double(), y) / evidence.bound()


class CertifiedAccuracy(Metric):
    """Share of test rows that are right in the whole l2 ball around them, proved by the network's product bound.

    Args:
        radius: Of the balls, in the raw unit of the data.
        split: `train` or `test`.
    """

    def __init__(self, *, radius: Radius = 0.1, split: SplitName = "test") -> None:
        self.radius, self.split = radius, split

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """In [0, 1], higher is better."""
        radii = certified_radii(evidence, self.split)
        return _share(radii > self.radius, radius=self.radius, bound=evidence.bound())


class CertifiedRadius(Metric):
    """Mean radius of the certified balls, 0 where the class is wrong; the curve of certified accuracy in the extras.

    Args:
        split: `train` or `test`.
    """

    def __init__(self, *, split: SplitName = "test") -> None:
        self.split = split

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """Higher is better."""
        radii = certified_radii(evidence, self.split)
        grid = torch.linspace(0, max(float(radii.max()), 1e-9), CURVE, dtype=torch.float64)
        share = (radii > grid[:, None]).double().mean(1)
        return Value(
            value=float(radii.clamp_min(0).mean()),
            direction="higher",
            unit="l2 radius",
            extras={"radii": [float(f"{r:.5g}") for r in grid.tolist()], "accuracy": [round(v, 5) for v in share.tolist()]},
        )


class AttackedAccuracy(Metric):
    """Share of rows that are right wherever projected gradient descent looks in the l2 ball: an upper bound on what is robust.

    Args:
        radius: Of the balls, in the raw unit of the data; they are not cut by its range.
        steps: Gradients for each row.
        rows: Most rows.
        split: `train` or `test`.
    """

    def __init__(
        self,
        *,
        radius: Radius = 0.1,
        steps: Annotated[int, Field(ge=1)] = 20,
        rows: Annotated[int, Field(ge=1)] = 1000,
        split: SplitName = "test",
    ) -> None:
        self.radius, self.steps, self.rows, self.split = radius, steps, rows, split

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """In [0, 1], higher is better; `broken` counts certified rows that the attack found wrong, which must be 0."""
        part = evidence.split(self.split)
        f, y = part.labelled()
        count = min(self.rows, len(f))
        held, _ = pgd_l2(
            evidence.module, part.x[:count], y[:count], self.radius, steps=self.steps, generator=ctx.generator("starts")
        )
        certified = certified_radii(evidence, self.split)[:count] > self.radius
        return _share(held, radius=self.radius, rows=count, broken=int((certified & ~held).sum()))


def _share(good: Tensor, **extras: float) -> Value:
    return Value(value=float(good.double().mean()), direction="higher", unit="share", extras=extras)
