# SPDX-License-Identifier: Apache-2.0
"""Numbers as they are shown, and the mean and the interval of some."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache

LEVEL = 0.95
_LARGEST, _LEAST = 1e140, 1e-280
"""Beyond these, squares would overflow or lose their digits; exact fractions, slower by far, do not."""
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


def moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation of at least two finite values, in whatever order they come.

    Sums are exact before they are rounded (`math.fsum`), so that no order and no machine changes the last digit.
    """
    low, high = min(values), max(values)
    if low == high:
        return low, 0.0
    if max(-low, high) < _LARGEST:
        count = len(values)
        rough = math.fsum(values) / count
        mean = rough + math.fsum([v - rough for v in values]) / count
        squares = math.fsum([(v - mean) * (v - mean) for v in values])
        if squares > _LEAST:
            return min(max(mean, low), high), math.sqrt(squares / (count - 1))
    return float(statistics.mean(values)), float(statistics.stdev(values))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of the 95 % t interval of at least two values."""
    mean, spread = moments(values)
    return mean, t_quantile(len(values) - 1) * spread / math.sqrt(len(values))


def format_mean(mean: float, half: float, digits: int) -> str:
    """`mean ± half-width`, the half-width with two digits.

    >>> format_mean(12.3456, 0.5678, 4)
    '12.35 ± 0.57'
    """
    return f"{format_number(mean, digits)} ± {format_number(half, 2)}"


def format_interval(value: float, low: float, high: float, digits: int) -> str:
    """`value [low, high]`; the value alone where all three print as one number.

    >>> format_interval(0.5, 0.41239, 0.6, 3), format_interval(2.0, 2.0 - 1e-9, 2.0, 3)
    ('0.500 [0.412, 0.600]', '2')
    """
    shown, *ends = (format_number(x, digits) for x in (value, low, high))
    return shown if {float(end) for end in ends} == {float(shown)} else f"{shown} [{', '.join(ends)}]"


@lru_cache(maxsize=1024)
def t_quantile(freedom: int) -> float:
    """Of Student's t: what leaves out `1 - LEVEL` on both sides together."""
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls, without the second that importing scipy.stats takes

    return float(stdtrit(freedom, (1 + LEVEL) / 2))
