# SPDX-License-Identifier: Apache-2.0
"""Seconds of one distance, up to the size that the source calls infeasible."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field

from lipbench.api import Context, Metric, Value

from ..task import Compared

SOURCE_ROWS = 50_176
"""Positions of a 224x224 image in the first layer of VGG-19."""
_SMALLEST = 64
_GROWTH = 2
_FLOAT32 = 4


class Cost(Metric):
    """Seconds for one distance of two samples of as many rows as the source calls infeasible, measured or extrapolated.

    Sizes double from 64 rows on. Where the next one would take longer than `budget`, by the growth over the last three, the
    power law of these is drawn on; `measured` in the extras says the largest size that ran. Times are processor time on one
    thread of a CPU, which other programs change little, and wall time on a GPU; the least of three where they are short.

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
        exponent = _slope(sizes, seconds)
        measured = sizes[-1] == self.rows
        value = seconds[-1] if measured else seconds[-1] * (self.rows / sizes[-1]) ** exponent
        return Value(
            value=value,
            direction="lower",
            unit="s",
            group=f"seconds, {self.rows} rows, {len(evidence.distributions[0].mean)} features" if measured else "",
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
        first, second = evidence.distributions
        doubled = range(int(math.log(self.rows / _SMALLEST, _GROWTH)) + 1)
        wanted = sorted({*(_SMALLEST * _GROWTH**k for k in doubled), self.rows})
        sizes: list[int] = []
        seconds: list[float] = []
        for n in wanted:
            if len(sizes) > 1 and seconds[-1] * (n / sizes[-1]) ** max(_slope(sizes, seconds), 1.0) > self.budget:
                break
            rng = evidence.ctx.rng("cost")
            x, y = (p.draw(n, rng).to(ctx.device) for p in (first, second))
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
    """Growth over the last three sizes, as a power."""
    first = max(0, len(sizes) - 3)
    if len(sizes) - first < 2:
        return 0.0
    return math.log(seconds[-1] / seconds[first]) / math.log(sizes[-1] / sizes[first])
