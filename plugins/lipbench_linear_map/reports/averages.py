# SPDX-License-Identifier: Apache-2.0
"""Means over pairs and seeds, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .reading import Found, Point

LEVEL = 0.95
_ROUNDING = 1e-9
"""Equal figures differ by less: an interval without width around them leaves out 0 by rounding alone."""


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over pairs within each seed, and then over seeds."""

    value: float
    half: float | None
    """Half-width of the 95 % t interval over seeds; None for one seed."""

    def __str__(self) -> str:
        """Three digits behind the point.

        >>> str(Mean(value=0.78345, half=0.0123)), str(Mean(value=0.78345, half=None))
        ('0.783 ± 0.012', '0.783')
        """
        return f"{self.value:.3f}" + ("" if self.half is None else f" ± {self.half:.3f}")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean of a difference, over pairs and seeds, that is to be told from 0."""

    value: float
    half: float | None
    """Half-width of the 95 % t interval over seeds; over pairs where there is one seed; None for a single value."""
    error: float | None
    """Standard error over pairs where there is one seed with several pairs, else None."""

    @property
    def one_seed(self) -> bool:
        """Whether there are no other seeds to judge it by."""
        return self.half is None or self.error is not None

    @property
    def side(self) -> int:
        """1 above and -1 below 0 where the interval leaves out 0, else 0."""
        if self.half is None or abs(self.value) <= self.half + _ROUNDING:
            return 0
        return 1 if self.value > 0 else -1

    def __str__(self) -> str:
        """Three digits behind the point.

        >>> str(Difference(value=-0.105, half=0.022, error=None)), str(Difference(value=0.1, half=0.02, error=0.01))
        ('-0.105 ± 0.022', '0.100 (standard error over pairs 0.010)')
        """
        if self.error is not None:
            return f"{self.value:.3f} (standard error over pairs {self.error:.3f})"
        return str(Mean(value=self.value, half=self.half))


def mean(values: Iterable[float]) -> float:
    """The mean of at least one number, in whatever order they come."""
    found = list(values)
    return math.fsum(found) / len(found)


def deviation(values: Iterable[float], ddof: int = 1) -> float | None:
    """The standard deviation; None for fewer than two numbers, which have no spread to speak of.

    Args:
        values: Any numbers.
        ddof: What the number of values is lessened by: 1 for a sample, 0 for a whole population.
    """
    found = list(values)
    if len(found) < 2:
        return None
    middle = mean(found)
    return math.sqrt(math.fsum((v - middle) ** 2 for v in found) / (len(found) - ddof))


def over_seeds(found: Found) -> Mean | None:
    """Mean over pairs within a seed, then mean and t interval over seeds; None where there is nothing."""
    if not found:
        return None
    seeds: dict[int, list[float]] = {}
    for point, value in found.items():
        seeds.setdefault(point.seed, []).append(value)
    means = [mean(values) for values in seeds.values()]
    return Mean(value=mean(means), half=_half(means))


def difference(found: Found) -> Difference | None:
    """The mean of paired differences with what there is to judge it by; None where there is nothing.

    Args:
        found: Differences at the same points, such as `less` gives.
    """
    made = over_seeds(found)
    if made is None:
        return None
    if made.half is not None:
        return Difference(value=made.value, half=made.half, error=None)
    values = list(found.values())
    spread = deviation(values)
    error = None if spread is None else spread / math.sqrt(len(values))
    return Difference(value=made.value, half=_half(values), error=error)


def by_pair(found: Found) -> dict[tuple[str, str], float]:
    """Mean over seeds of each (target, source), in the order of the points."""
    pairs: dict[tuple[str, str], list[float]] = {}
    for point, value in found.items():
        pairs.setdefault(point[:2], []).append(value)
    return {pair: mean(values) for pair, values in pairs.items()}


def within(found: Found, points: Iterable[Point]) -> dict[Point, float]:
    """The values at these points, where there are any."""
    return {p: found[p] for p in points if p in found}


def less(a: Found, b: Found) -> dict[Point, float]:
    """Differences where both have a value."""
    return {p: v - b[p] for p, v in a.items() if p in b}


def correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Pearson's; None for fewer than three pairs, or where one side does not vary."""
    if len(x) < 3:
        return None
    a, b = ([v - mean(values) for v in values] for values in (x, y))
    scale = math.sqrt(math.fsum(v * v for v in a) * math.fsum(v * v for v in b))
    return math.fsum(v * w for v, w in zip(a, b, strict=True)) / scale if scale > 0 else None


def shares(cells: Mapping[tuple[str, str], float]) -> tuple[float, float] | None:
    """Shares of variance of rows and of columns: two-way analysis of variance with one value a cell, main effects alone.

    Args:
        cells: (row, column) to value, a full rectangle.

    Returns:
        Sum of squares of the row means and of the column means over the total, each with its number of cells; None where
        there are fewer than two rows or columns, a cell is missing, or all values are equal.
    """
    rows, columns = (list(dict.fromkeys(cell[i] for cell in cells)) for i in (0, 1))
    if min(len(rows), len(columns)) < 2 or len(cells) != len(rows) * len(columns):
        return None
    grand = mean(cells.values())
    total = math.fsum((v - grand) ** 2 for v in cells.values())
    if total == 0:
        return None
    along = [
        [mean(v for cell, v in cells.items() if cell[i] == name) for name in names] for i, names in ((0, rows), (1, columns))
    ]
    of_rows, of_columns = (math.fsum((v - grand) ** 2 for v in means) for means in along)
    return len(columns) * of_rows / total, len(rows) * of_columns / total


def _half(values: Sequence[float]) -> float | None:
    """Half-width of the t interval of a mean; None for fewer than two numbers."""
    from scipy.special import stdtrit

    spread = deviation(values)
    return None if spread is None else float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * spread / math.sqrt(len(values))
