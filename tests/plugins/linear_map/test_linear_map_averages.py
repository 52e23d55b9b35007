# SPDX-License-Identifier: Apache-2.0
"""Shares of variance, means, deviations and differences of values by pair and seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lipbench_linear_map.reports.averages import deviation, difference, less, over_seeds, shares
from lipbench_linear_map.reports.reading import Point
from scipy import stats


@given(
    st.integers(2, 5),
    st.integers(2, 6),
    st.integers(0, 10**6),
)
def test_shares_are_the_sums_of_squares_of_least_squares_with_dummy_variables(rows: int, columns: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(rows, columns))
    found = shares({(f"r{i}", f"c{j}"): float(values[i, j]) for i in range(rows) for j in range(columns)})
    assert found is not None
    total = ((values - values.mean()) ** 2).sum()
    for share, dummies in zip(found, (np.eye(rows).repeat(columns, 0), np.tile(np.eye(columns), (rows, 1))), strict=True):
        fit = dummies @ np.linalg.lstsq(dummies, values.ravel(), rcond=None)[0]
        assert share == pytest.approx(((fit - values.mean()) ** 2).sum() / total)
    assert sum(found) <= 1 + 1e-12


def test_shares_of_additive_cells_add_up_to_one_and_holes_have_none() -> None:
    cells = {(r, c): i + 10 * j for (i, r), (j, c) in itertools.product(enumerate("ab"), enumerate("xyz"))}
    found = shares(cells)
    assert found is not None
    assert sum(found) == pytest.approx(1)
    del cells["a", "x"]
    assert shares(cells) is None
    assert shares({("a", "x"): 1.0, ("a", "y"): 2.0}) is None


def test_a_mean_is_over_pairs_first_and_its_interval_over_seeds() -> None:
    found = {
        Point("t", s, seed): v for s, seed, v in (("a", 0, 0.7), ("b", 0, 0.9), ("a", 1, 0.6), ("b", 1, 0.8), ("a", 2, 0.9))
    }
    made = over_seeds(found)
    assert made is not None
    means = [0.8, 0.7, 0.9]
    low, high = stats.t.interval(0.95, 2, np.mean(means), stats.sem(means))
    assert (made.value, made.half) == pytest.approx((0.8, (high - low) / 2))
    assert str(over_seeds({Point("t", "s", 0): 0.5})) == "0.500"


def test_one_value_has_no_deviation_and_ddof_is_what_it_is_called() -> None:
    assert deviation([0.3]) is None
    assert deviation([0.3], ddof=0) is None
    values = [0.1, 0.4, 0.8]
    assert deviation(values) == pytest.approx(np.std(values, ddof=1))
    assert deviation(values, ddof=0) == pytest.approx(np.std(values))


def test_a_difference_is_judged_over_seeds_or_else_over_the_pairs_of_the_one_seed() -> None:
    values = {Point("t", s, seed): v for (s, seed), v in zip(itertools.product("abc", (0, 1)), (3, 1, 2, 4, 5, 6), strict=True)}
    over = difference(values)
    assert over is not None
    means = [10 / 3, 11 / 3]
    assert over.half == pytest.approx(stats.t.ppf(0.975, 1) * stats.sem(means))
    assert (over.side, over.one_seed, str(over)) == (1, False, f"3.500 ± {over.half:.3f}")
    first = difference({p: v for p, v in values.items() if p.seed == 0})
    assert first is not None
    assert first.half == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem([3, 2, 5]))
    assert (first.side, first.one_seed) == (0, True)
    assert f"over pairs {stats.sem([3, 2, 5]):.3f}" in str(first)
    alone = difference({Point("t", "a", 0): -2.0})
    assert alone is not None
    assert (alone.value, alone.half, alone.side, alone.one_seed) == (-2.0, None, 0, True)
    assert difference({}) is None


def test_equal_figures_that_differ_by_rounding_alone_are_not_told_apart() -> None:
    a, b = ({Point("t", "s", seed): v for seed in range(3)} for v in (0.1 + 0.2, 0.3))
    assert len({*a.values(), *b.values()}) == 2
    made = difference(less(a, b))
    assert made is not None
    assert made.side == 0
