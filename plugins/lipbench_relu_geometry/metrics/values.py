# SPDX-License-Identifier: Apache-2.0
"""Means with their intervals, as values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import stdtrit

from lipbench.api import Direction, Interval, Value

LEVEL = 0.95


def t_interval(values: np.ndarray, of: str) -> Interval | None:
    """Student's interval of a mean; None of a single value."""
    if len(values) < 2:
        return None
    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    mean = float(values.mean())
    return Interval(low=mean - half, high=mean + half, level=LEVEL, method=f"t over {of}")


def mean_value(values: np.ndarray, *, unit: str, of: str, direction: Direction = "none", **extras: Any) -> Value:
    """The mean of what was measured for each replica, point or pair, with spread and ends in the extras."""
    v = np.asarray(values, dtype=np.float64)
    spread = {"sd": float(v.std(ddof=1)) if len(v) > 1 else 0.0, "min": float(v.min()), "max": float(v.max())}
    return Value(
        value=float(v.mean()),
        direction=direction,
        unit=unit,
        interval=t_interval(v, of),
        extras={"count": len(v), "median": float(np.median(v)), **spread, **extras},
    )


def share(right: np.ndarray, *, unit: str, direction: Direction = "none", **extras: Any) -> Value:
    """A share with the interval of Clopper and Pearson."""
    from lipbench_basics.statistics import clopper_pearson

    low, high = clopper_pearson(int(right.sum()), len(right), LEVEL)
    return Value(
        value=float(right.mean()),
        direction=direction,
        unit=unit,
        interval=Interval(low=low, high=high, level=LEVEL, method="Clopper-Pearson"),
        extras={"count": len(right), **extras},
    )
