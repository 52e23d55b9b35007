# SPDX-License-Identifier: Apache-2.0
"""Tests of differences between competitors that were measured with the same seeds, and the ranks that follow.

Sources: Student's paired t test; S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
Statistics 6:65-70, 1979; J. Cohen, Statistical power analysis for the behavioral sciences, 2nd edition, 1988 (effect size d, here of
the paired differences).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from lipbench.leaderboard.numbers import moments

ALPHA = 0.05
FEWEST_SEEDS = 3
"""A t test of fewer pairs has the right size but finds next to nothing."""
ROUNDING = 1e-9
"""A spread below this share of the values is that of their last digits."""
_SUSPICIOUS = 1e-9
"""Differences without spread have a smaller p; to look for them always would cost more than the tests."""
_SMALLEST = -1000
"""A power of two that can be divided by."""
MOST = 100
"""More competitors have thousands of pairs, over which Holm's correction leaves nothing to find."""

BySeed = Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Standings:
    """What the competitors of one contest come to, in the order in which they were given."""

    ranks: Sequence[int]
    """1 and the number of competitors that are found better."""
    effects: Sequence[float | None]
    """Paired Cohen's d of the best mean against each; None for itself, and where the differences do not vary."""
    tested: bool
    """Whether a test told competitors apart; otherwise their means did."""


def compete(competitors: Sequence[BySeed], means: Sequence[float], higher: bool) -> Standings:
    """Rank the competitors of one contest.

    Each pair is compared on the seeds that both have: by a paired t test where there are at least `FEWEST_SEEDS`, with Holm's
    correction over all pairs of the contest; by the means otherwise. All pairs count, because which one is best is known only
    after looking: comparisons with the best alone would find differences where there are none far more often than `ALPHA` says.
    """
    sign = 1.0 if higher else -1.0
    goodness = [sign * mean for mean in means]
    top = max(range(len(means)), key=goodness.__getitem__)
    effects = [None if i == top else effect(competitors[top], c, sign) for i, c in enumerate(competitors)]
    one_design = len({frozenset(c) for c in competitors}) == 1
    if len(competitors) > MOST or (one_design and len(competitors[0]) < FEWEST_SEEDS):
        return Standings(ranks=_by_mean(goodness), effects=effects, tested=False)
    ranks, tested = _by_test(competitors, sign)
    return Standings(ranks=ranks, effects=effects, tested=tested)


def _by_mean(means: Sequence[float]) -> list[int]:
    first: dict[float, int] = {}
    for place, mean in enumerate(sorted(means, reverse=True), 1):
        first.setdefault(mean, place)
    return [first[mean] for mean in means]


def _by_test(competitors: Sequence[BySeed], sign: float) -> tuple[list[int], bool]:
    import numpy as np

    seeds = sorted(set().union(*competitors))
    # Halves: t and p are the same, and no difference overflows.
    values = sign / 2 * np.array([[c.get(seed, math.nan) for seed in seeds] for c in competitors])
    one, other = np.triu_indices(len(competitors), 1)
    differences = values[one] - values[other]
    means, counts, p = paired_t(differences)
    if p.min() < _SUSPICIOUS:
        flat = _flat(values[one], values[other], differences) & (means != 0)
        p[flat] = np.ldexp(1.0, 1 - counts[flat])
    # Without a shared seed nothing is known of a difference, so neither is found better.
    better = (counts > 0) & (counts < FEWEST_SEEDS) & (means != 0)
    tested = counts >= FEWEST_SEEDS
    better[tested] = np.asarray(holm(p[tested].tolist())) <= ALPHA
    losers = np.where(means > 0, other, one)[better]
    return (1 + np.bincount(losers, minlength=len(competitors))).tolist(), bool(tested.any())


def _flat(one: Any, other: Any, differences: Any) -> Any:
    """Where values vary and their differences do not, as accuracies in whole percents may by chance.

    That makes nothing certain; the exact permutation test says how likely it is. Values that no seed changes are certain.
    """
    import numpy as np

    there = ~np.isnan(differences)

    def extent(lines: Any) -> Any:
        return np.where(there, lines, -np.inf).max(axis=1) - np.where(there, lines, np.inf).min(axis=1)

    least = ROUNDING * np.where(there, np.maximum(np.abs(one), np.abs(other)), 0.0).max(axis=1)
    return (np.maximum(extent(one), extent(other)) > least) & (extent(differences) <= least)


def paired_t(differences: Any) -> tuple[Any, Any, Any]:
    """Student's paired t test of many comparisons at once.

    Args:
        differences: Of shape (comparisons, seeds), NaN where a seed is not shared.

    Returns:
        Means, numbers of seeds and two-sided p. p is 0 of differences that do not vary, and 1 where they are zero.
    """
    import numpy as np
    from scipy.special import stdtr  # as scipy.stats, without the second that importing that takes

    there = ~np.isnan(differences)
    counts = there.sum(axis=1)
    d = np.where(there, differences, 0.0)
    # A power of two keeps squares within the range of numbers and changes no digit.
    scale = np.ldexp(1.0, np.maximum(np.frexp(np.abs(d).max(axis=1, initial=0.0))[1], _SMALLEST) - 1)
    d /= scale[:, None]
    count = np.maximum(counts, 1)
    # Seed after seed: a sum along an axis may be taken in another order on another machine.
    means = reduce(np.add, d.T) / count
    centred = np.where(there, d - means[:, None], 0.0)
    spread = np.sqrt(reduce(np.add, (centred * centred).T) / np.maximum(counts - 1, 1))
    low, high = np.where(there, d, np.inf).min(axis=1), np.where(there, d, -np.inf).max(axis=1)
    varies = (low < high) & (spread > 0)
    t = np.abs(means) / np.where(varies, spread, 1.0) * np.sqrt(count)
    p = np.where(varies, 2 * stdtr(np.maximum(counts - 1, 1), -t), np.where(means == 0, 1.0, 0.0))
    return means * scale, counts, p


def differences(one: BySeed, other: BySeed) -> list[float]:
    """Half of one less the other on each seed that both have: t, p and d are those of the whole, and nothing overflows."""
    return [value / 2 - other[seed] / 2 for seed, value in one.items() if seed in other]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm (1979), in the order in which they were given.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for done, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def effect(best: BySeed, other: BySeed, sign: float) -> float | None:
    """Paired Cohen's d: mean of the differences in standard deviations of them, positive where the best is ahead."""
    pairs = differences(best, other)
    if len(pairs) < 2:
        return None
    mean, spread = moments(pairs)
    size = sign * mean / spread if spread else math.nan
    return size if math.isfinite(size) else None
