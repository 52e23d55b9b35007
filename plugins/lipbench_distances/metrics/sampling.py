# SPDX-License-Identifier: Apache-2.0
"""Whether a distance tells a pair from two samples of one distribution, and how far samples are from the truth."""

from __future__ import annotations

import math
from typing import Any

import torch
from lipbench_basics.statistics import delong
from torch import Tensor

from lipbench.api import Context, Interval, Value

from ..task import LEVEL, Compared, Repeats
from .values import OfSamples, known


class Separation(OfSamples):
    """AUROC of the distance between samples of both distributions against that between two samples of one of them.

    The distances within are those of the first and of the second distribution in equal parts: a distance that cannot see the
    difference has 0.5 then, whichever of the two fluctuates more. Bands of both are in the extras.
    """

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """With DeLong's interval."""
        found = evidence.repeated(self.rows, self.repeats)
        area, low, high, _ = delong(found.within.numpy(), found.across.numpy())
        return Value(
            value=area,
            direction="higher",
            unit="AUROC",
            group=f"{self.rows} rows",
            interval=Interval(low=low, high=high, level=0.95, method="delong"),
            extras=_bands(found) | {"unit": evidence.distance.unit},
        )


class Power(OfSamples):
    """Power of the test at 5 %: how many distances of the pair exceed the 95 % quantile of those within."""

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """The threshold is estimated from the same repeats, so that it is itself uncertain."""
        found = evidence.repeated(self.rows, self.repeats)
        threshold = found.within.quantile(1 - LEVEL)
        share = float((found.across > threshold).double().mean())
        return Value(value=share, direction="higher", unit="share", group=f"{self.rows} rows")


class NoiseFloor(OfSamples):
    """Mean distance of two samples of one distribution, over that of the pair: 0 is no noise, 1 is noise alone."""

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """Squared distances are rooted first, so that all distances are compared alike."""
        found = evidence.repeated(self.rows, self.repeats)
        within, across = (float(_mean_root(d, evidence.distance.degree)) for d in (found.within, found.across))
        return Value(
            value=within / across if across > 0 else 1.0,
            direction="lower",
            unit="1",
            group=f"{self.rows} rows",
            extras={"within": within, "across": across},
        )


class Bias(OfSamples):
    """Mean distance of samples less the distance of the distributions, with the interval of the mean.

    Of a family each difference is that to the distance of its own member, and the truth of the extras is their mean.
    """

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """In the unit of the distance; its share of the truth, and the standard deviation, are in the extras.

        Raises:
            NotApplicable: The distance of the distributions is not known.
        """
        truths = torch.tensor([known(evidence, evidence.member(i)) for i in range(self.repeats)], dtype=torch.float64)
        differences = evidence.repeated(self.rows, self.repeats).across - truths
        truth, bias, spread = float(truths.mean()), float(differences.mean()), float(differences.std())
        half = 1.96 * spread / math.sqrt(self.repeats)
        return Value(
            value=bias,
            direction="none",
            unit=evidence.distance.unit,
            interval=Interval(low=bias - half, high=bias + half, level=0.95, method="normal over repeats"),
            extras={"truth": truth, "spread": spread, "share": bias / truth if truth else None},
        )


def _bands(found: Repeats) -> dict[str, Any]:
    """Mean and quantiles of both kinds of distances."""
    points = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    return {
        name: [float(f"{v:.6g}") for v in (d.mean(), *d.quantile(points))]
        for name, d in (("across", found.across), ("within", found.within))
    }


def _mean_root(distances: Tensor, degree: float) -> Tensor:
    """Mean of distances that are first order in the features; those of bounded kernels as they are."""
    return distances.clamp(min=0).pow(1 / degree if degree > 0 else 1.0).mean()
