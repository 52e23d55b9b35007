# SPDX-License-Identifier: Apache-2.0
"""Seconds of one distance, up to the size that the source calls infeasible."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from lipbench.api import Context, Interval, Metric, Value

from ..task import Compared

SOURCE_ROWS = 50_176
"""Positions of a 224x224 image in the first layer of VGG-19."""
_SMALLEST = 64
_GROWTH = 2
_NEAR = 1.6
_FITTED = 5
_LEVEL = 0.95
_FLOAT32 = 4


class Cost(Metric):
    """Seconds for one distance of two samples of as many rows as the source calls infeasible, measured or extrapolated.

    Sizes double from 64 rows on. Where the next one would take longer than `budget`, by the growth over the last three, a power
    law is fitted to the largest five and drawn on, with its interval of prediction; `measured` in the extras says the largest
    size that ran. Times are processor time on one thread of a CPU, which other programs change little, and wall time on a GPU;
    the least of three where they are short.

    Args:
        budget: Seconds that one evaluation may take.
        rows: The size that is asked for.
    """

    def __init__(
        self, *, budget: Annotated[float, Field(gt=0)] = 2.0, rows: Annotated[int, Field(ge=_SMALLEST)] = SOURCE_ROWS
    ) -> None:
        self.budget, self.rows = budget, rows

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """With the curve, the size of a matrix of all differences in float32, and the cube of the rows."""
        sizes, seconds = self._measure(evidence, ctx)
        value, exponent, low, high = _power_law(sizes[-_FITTED:], seconds[-_FITTED:], self.rows)
        measured = sizes[-1] == self.rows
        band = Interval(
            low=low, high=high, level=_LEVEL, method=f"prediction by a power law of {min(len(sizes), _FITTED)} sizes"
        )
        return Value(
            value=seconds[-1] if measured else value,
            direction="lower",
            unit="s",
            group=f"seconds, {self.rows} rows, {len(evidence.distributions[0].mean)} features" if measured else "",
            interval=None if measured or not math.isfinite(high) else band,
            extras={
                "measured": sizes[-1],
                "exponent": exponent,
                "sizes": sizes,
                "seconds": seconds,
                "features": len(evidence.distributions[0].mean),
                "matrix_gb": self.rows**2 * _FLOAT32 / 1e9 if evidence.distance.pairwise else 0.0,
                "cubed_rows": self.rows**3 / 1e12,
            },
        )

    def _measure(self, evidence: Compared, ctx: Context) -> tuple[list[int], list[float]]:
        doubled = range(int(math.log(self.rows / _SMALLEST, _GROWTH)) + 1)
        # The last doubling may be so near to the size that is asked for that it says nothing new.
        wanted = [*(n for k in doubled if (n := _SMALLEST * _GROWTH**k) <= self.rows / _NEAR), self.rows]
        rng = evidence.ctx.rng("cost")
        drawn = [p.draw(1, rng) for p in evidence.distributions]
        sizes: list[int] = []
        seconds: list[float] = []
        for n in wanted:
            if len(sizes) > 1 and seconds[-1] * (n / sizes[-1]) ** max(_slope(sizes[-3:], seconds[-3:]), 1.0) > self.budget:
                break
            drawn = [
                torch.cat([z, p.draw(n - len(z), rng)]) if n > len(z) else z
                for z, p in zip(drawn, evidence.distributions, strict=True)
            ]
            x, y = (z.to(ctx.device) for z in drawn)
            ctx.report(f"{n} rows")
            if not sizes:
                evidence.value(x, y)  # what is done once, such as an import, is no cost of the size
            sizes.append(n)
            clock = time.process_time if x.device.type == "cpu" else time.perf_counter
            seconds.append(min(_seconds(evidence, x, y, clock) for _ in range(1 if seconds and seconds[-1] > 0.1 else 3)))
        return sizes, seconds


def _seconds(evidence: Compared, x: torch.Tensor, y: torch.Tensor, clock: Callable[[], float]) -> float:
    start = clock()
    evidence.value(x, y)  # a number on the CPU: nothing of it is still under way
    # A clock that has not moved has a resolution of its own.
    return max(clock() - start, 1e-7)


def _slope(sizes: list[int], seconds: list[float]) -> float:
    """Growth from the first to the last, as a power."""
    return math.log(seconds[-1] / seconds[0]) / math.log(sizes[-1] / sizes[0])


def _power_law(sizes: list[int], seconds: list[float], rows: int) -> tuple[float, float, float, float]:
    """Seconds at so many rows by least squares of logarithms, the power, and the 95 % interval of prediction.

    The interval is infinite where a line through the sizes has no freedom left. Textbook regression, such as N. R. Draper,
    H. Smith, Applied Regression Analysis, 1998, section 3.1.
    """
    if len(sizes) < 2:
        return seconds[-1], 0.0, 0.0, math.inf
    from scipy.stats import linregress, t

    x, y, freedom = np.log(sizes), np.log(seconds), len(sizes) - 2
    line, at = linregress(x, y), math.log(rows)
    expected = line.intercept + line.slope * at
    value, slope = math.exp(expected), float(line.slope)
    if not freedom:
        return value, slope, 0.0, math.inf
    noise = float(((y - line.intercept - line.slope * x) ** 2).sum()) / freedom
    error = math.sqrt(noise * (1 + 1 / len(x) + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()))
    half = float(t.ppf((1 + _LEVEL) / 2, freedom)) * error
    return value, slope, math.exp(expected - half), math.exp(expected + half)
