# SPDX-License-Identifier: Apache-2.0
"""Numbers as they are shown, and the interval of a mean."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache

LEVEL = 0.95
_PLAIN_BELOW = 6
"""Numbers below 10^6 are written out however few digits are asked for."""


def format_number(value: float, digits: int) -> str:
    """A finite number with so many significant digits; whole numbers that fit are written without a point.

    >>> format_number(12.3456, 4), format_number(17.0, 4), format_number(1.0000001, 4)
    ('12.35', '17', '1.000')
    >>> format_number(1234567.0, 4), format_number(0.0000123456, 4)
    ('1.235e6', '1.235e-5')
    """
    if value == math.trunc(value) and abs(value) < 10.0**digits:
        return str(int(value))
    rounded = f"{value:.{digits - 1}e}"
    mantissa, _, power = rounded.partition("e")
    exponent = int(power)
    if -4 <= exponent < max(digits, _PLAIN_BELOW):
        return f"{float(rounded):.{max(digits - 1 - exponent, 0)}f}"
    return f"{mantissa}e{exponent}"


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of the 95 % t interval of at least two values, in whatever order they come.

    The sums are exact fractions inside (`statistics`), so that no order and no machine changes the last digit.
    """
    mean = float(statistics.mean(values))
    return mean, _quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def format_mean(mean: float, half: float, digits: int) -> str:
    """`mean ± half-width`, the half-width with two digits.

    >>> format_mean(12.3456, 0.5678, 4)
    '12.35 ± 0.57'
    """
    return f"{format_number(mean, digits)} ± {format_number(half, 2)}"


@lru_cache(maxsize=1024)
def _quantile(freedom: int) -> float:
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls, without the second that importing scipy.stats takes

    return float(stdtrit(freedom, (1 + LEVEL) / 2))
