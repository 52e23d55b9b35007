# SPDX-License-Identifier: Apache-2.0
"""Is a difference between two sets of seeds more than noise?

Seeds that both sides have are paired: the t test of their differences. Without such seeds it is Welch's t test. Where values show
no spread, t is infinite whatever the noise is, as with accuracies that are multiples of 1/100; the p value is then that of the
exact permutation test, `2 / 2**n` for n pairs and `2 / C(n + m, n)` for n and m values. All p values together are adjusted by
Holm (Scandinavian Journal of Statistics 6, 1979), so that the chance of any false alarm is bounded, not that of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lipbench.leaderboard.numbers import moments
from lipbench.leaderboard.paired import FEWEST_SEEDS, ROUNDING

_LARGE = 1e100
"""Squares of larger numbers, and of the inverse of smaller ones, are no float any more."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """New minus base, and how sure it is."""

    base: float
    """Mean of the base, over the paired seeds where there are such."""
    new: float
    paired: bool
    """Whether the same seeds are on both sides."""
    words: str
    """The test in words; empty where there can be none."""
    flat: bool = False
    """All differences are the same: there is no noise to test against."""
    t: float | None = None
    freedom: float = math.inf
    """Degrees of freedom of t; infinite for a normal distribution."""
    p: float | None = None
    """Two-sided p value where it needs no t."""

    @property
    def change(self) -> float:
        """New minus base."""
        return self.new - self.base


def difference(base: Mapping[int, float], new: Mapping[int, float]) -> Difference:
    """Compare values by seed; both sides have at least one.

    >>> d = difference({0: 1.0, 1: 2.0, 2: 4.0}, {0: 2.0, 1: 3.5, 2: 4.5})
    >>> d.words, round(d.t, 4), d.freedom
    ('paired t over 3 seeds', 3.4641, 2)
    """
    shared = sorted(base.keys() & new.keys())
    paired = bool(shared) and (len(shared) >= FEWEST_SEEDS or min(len(base), len(new)) < FEWEST_SEEDS)
    one = [base[s] for s in shared] if paired else list(base.values())
    other = [new[s] for s in shared] if paired else list(new.values())
    scale = max(map(abs, (*one, *other)))
    if scale == 0 or 1 / _LARGE < scale < _LARGE:
        scale = 1.0
    one, other = [v / scale for v in one], [v / scale for v in other]
    if min(len(one), len(other)) < FEWEST_SEEDS:
        found = Difference(base=moments(one)[0], new=moments(other)[0], paired=paired, words="")
    else:
        found = _paired(one, other) if paired else _welch(one, other)
    return found if scale == 1.0 else replace(found, base=found.base * scale, new=found.new * scale)


def _paired(one: Sequence[float], other: Sequence[float]) -> Difference:
    changes = [b - a for a, b in zip(one, other, strict=True)]
    count, (mean, spread) = len(changes), moments(changes)
    base, new = moments(one)[0], moments(other)[0]
    if spread <= ROUNDING * max(map(abs, (*one, *other))):
        p = 2.0 ** (1 - count) if mean else 1.0
        return Difference(base=base, new=new, paired=True, words=f"exact, {count} equal differences", flat=True, p=p)
    t = mean / (spread / math.sqrt(count))
    return Difference(base=base, new=new, paired=True, words=f"paired t over {count} seeds", t=t, freedom=count - 1)


def _welch(one: Sequence[float], other: Sequence[float]) -> Difference:
    sizes = len(one), len(other)
    means, spreads = zip(moments(one), moments(other), strict=True)
    errors = [spread**2 / size for spread, size in zip(spreads, sizes, strict=True)]
    words = f"{sizes[0]} and {sizes[1]} seeds"
    if math.sqrt(sum(errors)) <= ROUNDING * max(map(abs, (*one, *other))):
        p = 2.0 / math.comb(sum(sizes), sizes[0]) if means[0] != means[1] else 1.0
        return Difference(base=means[0], new=means[1], paired=False, words=f"exact, {words} without spread", flat=True, p=p)
    t = (means[1] - means[0]) / math.sqrt(sum(errors))
    freedom = sum(errors) ** 2 / sum(e**2 / (n - 1) for e, n in zip(errors, sizes, strict=True))
    return Difference(base=means[0], new=means[1], paired=False, words=f"Welch t, {words}", t=t, freedom=freedom)


def of_intervals(base: float, new: float, errors: tuple[float, float]) -> Difference:
    """Compare one value with another by the standard errors of both."""
    return Difference(
        base=base, new=new, paired=True, words="intervals of the metric", t=(new - base) / math.hypot(*errors), freedom=math.inf
    )  # fmt: skip


def standard_error(low: float, high: float, level: float) -> float:
    """Of a normal value, from the ends of its interval."""
    from scipy.special import ndtri

    return (high - low) / 2 / float(ndtri((1 + level) / 2))


def p_values(differences: Sequence[Difference]) -> list[float | None]:
    """Two-sided p values; None where there is no test."""
    tested = [(i, d.t, d.freedom) for i, d in enumerate(differences) if d.t is not None]
    found = [d.p for d in differences]
    if tested:
        import numpy as np
        from scipy.special import stdtr

        _, t, freedom = zip(*tested, strict=True)
        # Beyond 1e9 degrees of freedom it is the normal distribution to the last digit.
        values = 2 * stdtr(np.minimum(freedom, 1e9), -np.abs(t))
        for (i, _, _), p in zip(tested, values, strict=True):
            found[i] = float(p)
    return found
