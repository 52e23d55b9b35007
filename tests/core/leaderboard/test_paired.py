# SPDX-License-Identifier: Apache-2.0
"""Paired tests over seeds: against scipy, by hand, and how often they cry wolf."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lipbench.leaderboard.numbers import moments
from lipbench.leaderboard.paired import ALPHA, MOST, compete, effect, holm, paired_t

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=10)


def seeds(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def ranks(*competitors: dict[int, float], higher: bool = True) -> list[int]:
    means = [math.fsum(c.values()) / len(c) for c in competitors]
    return list(compete(competitors, means, higher).ranks)


def test_holm_by_hand() -> None:
    # Holm (1979): 3 * 0.01, then 2 * 0.03, then 1 * 0.04, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@settings(deadline=None, derandomize=True)
@given(VALUES, st.integers(0, 2**32 - 1))
def test_p_is_that_of_scipy(values: list[float], seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=len(values))
    one, other = np.asarray(values), np.asarray(values) + noise
    _, counts, p = paired_t((one - other)[None])
    assert counts.tolist() == [len(values)]
    assert p[0] == pytest.approx(stats.ttest_rel(one, other).pvalue, rel=1e-6)


def test_pairs_without_a_partner_take_no_part() -> None:
    means, counts, p = paired_t(np.array([[1.0, 2.0, np.nan, 4.5]]))
    assert (means[0], counts[0]) == (2.5, 3)
    assert p[0] == pytest.approx(stats.ttest_1samp([1.0, 2.0, 4.5], 0).pvalue)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_the_size_of_the_unit_does_not_matter(scale: float) -> None:
    _, _, p = paired_t(np.array([[1.0, 2.0, 4.5]]) * scale)
    assert p[0] == pytest.approx(stats.ttest_1samp([1.0, 2.0, 4.5], 0).pvalue)


def test_differences_that_do_not_vary_are_certain() -> None:
    _, _, p = paired_t(np.array([[0.1, 0.1, 0.1], [0.0, 0.0, 0.0]]))
    assert p.tolist() == [0.0, 1.0]


def test_equal_differences_of_values_that_vary_prove_little() -> None:
    # Differences of 1/100 each, which floats have up to their last digit; by the exact test p is 1/4 of three and 1/32 of six.
    one, other = [0.91, 0.93, 0.88, 0.90, 0.94, 0.89], [0.90, 0.92, 0.87, 0.89, 0.93, 0.88]
    assert ranks(seeds(*one[:3]), seeds(*other[:3])) == [1, 1]
    assert ranks(seeds(*one), seeds(*other)) == [1, 2]
    assert ranks(seeds(0.91, 0.91, 0.91), seeds(0.90, 0.90, 0.90)) == [1, 2], "no seed changes these"


def test_equal_competitors_are_seldom_told_apart_by_whole_numbers() -> None:
    draw = np.random.default_rng(0)
    trials = 200
    drawn = np.rint(3 * draw.normal(size=(trials, 10, 3))).tolist()
    assert sum(max(ranks(*(seeds(*v) for v in table))) > 1 for table in drawn) / trials <= 0.05


def test_ranks_are_shared_where_no_difference_is_found() -> None:
    best, close, far = seeds(5.0, 5.1, 4.9, 5.0), seeds(4.9, 5.2, 4.8, 5.0), seeds(1.0, 1.1, 0.9, 1.05)
    assert stats.ttest_rel(list(best.values()), list(close.values())).pvalue > ALPHA
    assert ranks(best, far, close) == [1, 3, 1]
    assert ranks(best, far, close, higher=False) == [2, 1, 2]


def test_correction_is_over_all_pairs() -> None:
    # p is 0.0341 for one pair, which is below 5 %, but not three times.
    one, other = seeds(1.0, 1.2, 0.9, 1.4), seeds(0.8, 1.1, 0.5, 1.0)
    p = stats.ttest_rel(list(one.values()), list(other.values())).pvalue
    assert ALPHA / 3 < p < ALPHA
    assert ranks(one, other) == [1, 2]
    assert ranks(one, other, one) == [1, 1, 1]


def test_only_shared_seeds_count() -> None:
    # Over its own seeds the second has the higher mean; on the shared ones the first is ahead by much the same each time.
    assert ranks({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.5, 1: 1.5, 2: 2.4, 3: 99.0}) == [1, 2]
    assert ranks({0: 1.0, 1: 1.0}, {2: 5.0, 3: 5.0}) == [1, 1]  # none is shared


def test_few_seeds_are_ranked_by_their_means_without_a_tie() -> None:
    standings = compete([seeds(1.0, 2.0), seeds(1.1, 1.8), seeds(1.0, 2.0)], [1.5, 1.45, 1.5], True)
    assert (list(standings.ranks), standings.tested) == ([1, 3, 1], False)


def test_a_crowd_is_not_tested() -> None:
    crowd = [seeds(float(i), i + 1.0, i + 2.0) for i in range(MOST + 1)]
    standings = compete(crowd, [i + 1.0 for i in range(MOST + 1)], True)
    assert (standings.ranks[-1], standings.ranks[0], standings.tested) == (1, MOST + 1, False)


def test_the_effect_is_cohens_d_of_the_differences() -> None:
    best, other = seeds(3.0, 5.0, 4.0), seeds(1.0, 2.0, 3.0)  # differences 2, 3, 1: mean 2, standard deviation 1
    assert effect(best, other, 1.0) == pytest.approx(2.0)
    assert effect(other, best, -1.0) == pytest.approx(2.0)  # lower is better
    assert effect(best, best, 1.0) is None
    assert effect(best, {0: 1.0}, 1.0) is None


@pytest.mark.parametrize(("competitors", "count"), [(2, 3), (5, 3), (5, 10), (10, 5)])
def test_equal_competitors_are_seldom_told_apart(competitors: int, count: int) -> None:
    draw = np.random.default_rng(0)
    trials = 600
    false = sum(max(ranks(*(seeds(*v) for v in draw.normal(size=(competitors, count)).tolist()))) > 1 for _ in range(trials))
    # Four standard deviations above 5 % of the trials.
    assert false / trials <= ALPHA + 4 * math.sqrt(ALPHA * (1 - ALPHA) / trials)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=8), st.randoms())
def test_moments_do_not_depend_on_the_order(values: list[float], shuffle: object) -> None:
    other = list(values)
    shuffle.shuffle(other)  # type: ignore[attr-defined]
    assert moments(values) == moments(other)


@settings(deadline=None, derandomize=True)
@given(st.floats(-1e308, 1e308), st.integers(2, 9))
def test_equal_values_have_no_spread(value: float, count: int) -> None:
    assert moments([value] * count) == (value, 0.0)


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1.0, 1e130, 1e200])
def test_moments_of_any_size(scale: float) -> None:
    mean, spread = moments([1.0 * scale, 2.0 * scale, 6.0 * scale])
    assert mean == pytest.approx(3 * scale, rel=1e-14)
    assert spread == pytest.approx(math.sqrt(7) * scale, rel=1e-14)
