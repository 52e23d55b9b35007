# SPDX-License-Identifier: Apache-2.0
"""What a distance is: of the whole distributions, and of samples."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lipbench.api import Context, Interval, Metric, NotApplicable, Value

from ..base import Distribution
from ..task import Compared


class PopulationDistance(Metric):
    """The distance of the two distributions themselves, by their moments."""

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """Without rank: values of different distances have different units.

        Raises:
            NotApplicable: No formula is known for these two distributions.
        """
        value = known(evidence, evidence.distributions)
        return Value(value=value, direction="none", unit=evidence.distance.unit)


class OfSamples(Metric):
    """A metric of repeated samples.

    Args:
        rows: Of each sample.
        repeats: Fresh pairs of samples, of a family those of fresh members; where distances within are asked for, twice as many.
    """

    def __init__(self, *, rows: Annotated[int, Field(ge=1)] = 200, repeats: Annotated[int, Field(ge=2)] = 50) -> None:
        self.rows, self.repeats = rows, repeats


class SampleDistance(OfSamples):
    """The distance of two samples, one of each distribution: mean over repeats, with the band of the middle 90 %."""

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """The interval is where single samples fall, not where their mean lies."""
        found = evidence.repeated(self.rows, self.repeats).across
        low, high = (float(found.quantile(q)) for q in (0.05, 0.95))
        band = Interval(low=low, high=high, level=0.9, method="middle 90 % of the repeats")
        return Value(value=float(found.mean()), direction="none", unit=evidence.distance.unit, interval=band)


def known(evidence: Compared, two: tuple[Distribution, Distribution]) -> float:
    """The distance of two distributions.

    Raises:
        NotApplicable: No formula is known for it.
    """
    value = evidence.distance.population(*two)
    if value is None:
        name = type(evidence.distance).__name__
        raise NotApplicable(
            f"no formula is known for the {name} of these two distributions; leave the metric out of this block"
        )
    return value
