# SPDX-License-Identifier: Apache-2.0
"""AUROC and its intervals against brute force, scikit-learn, published tables and the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_basics.statistics import (
    auroc,
    clopper_pearson,
    delong,
    delong_difference,
    hanley_mcneil,
    r2,
    score_interval,
    tpr_at_fpr,
)
from sklearn.metrics import r2_score, roc_auc_score

from lipbench.api import InvalidInput, NotApplicable, NotFinite

SCORES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=25)
RNG = np.random.default_rng


def placements(neg: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """1 where the positive (column) is above the negative (row), half for ties."""
    return (pos[None, :] > neg[:, None]) + 0.5 * (pos[None, :] == neg[:, None])


@settings(max_examples=60, deadline=None)
@given(neg=SCORES, pos=SCORES)
def test_property_auroc_is_the_share_of_pairs_in_order(neg: list[float], pos: list[float]) -> None:
    value = auroc(neg, pos)
    assert value == pytest.approx(placements(np.array(neg), np.array(pos)).mean(), abs=1e-15)
    labels = np.repeat([0, 1], [len(neg), len(pos)])
    assert value == pytest.approx(roc_auc_score(labels, neg + pos), abs=1e-14)
    assert auroc(pos, neg) == pytest.approx(1 - value, abs=1e-15)
    assert auroc(np.exp(neg), np.exp(pos)) == value  # any increasing function
    assert auroc(-np.array(neg), -np.array(pos)) == pytest.approx(1 - value, abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(scores=st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=25))
def test_property_delong_is_the_variance_of_brute_force_placements(scores: list[tuple[int, int]]) -> None:
    neg, pos = np.array(scores, dtype=float).T
    table = placements(neg, pos)
    below, above = table.mean(1), table.mean(0)
    n = len(neg)
    for paired, expected in (
        (False, below.var(ddof=1) / n + above.var(ddof=1) / n),
        (True, (below.var(ddof=1) + above.var(ddof=1) + 2 * np.cov(below, above)[0, 1]) / n),
    ):
        value, low, high, variance = delong(neg, pos, paired=paired)
        assert value == auroc(neg, pos)
        assert variance == pytest.approx(expected, abs=1e-14)
        assert 0 <= low <= value <= high <= 1
        assert high > low


def bootstrap(statistic: Callable[[np.ndarray, np.ndarray], float], n: int, m: int, paired: bool) -> float:
    rng = RNG(1)
    values = []
    for _ in range(1000):
        rows = rng.integers(n, size=n)
        values.append(statistic(rows, rows if paired else rng.integers(m, size=m)))
    return float(np.var(values, ddof=1))


def image_scores(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two detectors' scores of n originals and their copies, correlated within an image and between detectors."""
    rng = RNG(0)
    image = 1.5 * rng.standard_normal(n)
    common = rng.standard_normal((2, n))
    first = [image + c + 0.5 * rng.standard_normal(n) + shift for c, shift in zip(common, (0, 1), strict=True)]
    second = [image + c + rng.standard_normal(n) + shift for c, shift in zip(common, (0, 0.7), strict=True)]
    return first[0], first[1], second[0], second[1]


@pytest.mark.parametrize("paired", [False, True])
def test_delong_agrees_with_the_bootstrap(paired: bool) -> None:
    neg, pos, neg_b, pos_b = image_scores(200)
    one = bootstrap(lambda i, j: auroc(neg[i], pos[j]), 200, 200, paired)
    # The variance of 1000 values has a standard error of 4.5 %, and the bootstrap's own bias is of order 1 / 200.
    assert delong(neg, pos, paired=paired)[3] == pytest.approx(one, rel=0.18)
    gap = bootstrap(lambda i, j: auroc(neg[i], pos[j]) - auroc(neg_b[i], pos_b[j]), 200, 200, paired)
    assert delong_difference(neg, pos, neg_b, pos_b, paired=paired)[3] == pytest.approx(gap, rel=0.18)


def test_copies_of_the_same_images_are_known_better_than_other_images() -> None:
    neg, pos, *_ = image_scores(200)
    assert delong(neg, pos, paired=True)[3] < 0.5 * delong(neg, pos)[3]


def test_delong_covers_what_it_should() -> None:
    truth = 0.7602499389065233  # Phi(1 / sqrt 2)
    rng = RNG(3)
    hits = 0
    for _ in range(400):
        _, low, high, _ = delong(rng.standard_normal(60), rng.standard_normal(80) + 1)
        hits += low <= truth <= high
    assert abs(hits / 400 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 400)


def test_the_spread_of_meaningless_scores() -> None:
    assert math.sqrt((400 + 400 + 1) / (12 * 400 * 400)) == pytest.approx(0.0204, abs=5e-5)
    assert hanley_mcneil(0.5, 400, 400) == pytest.approx(0.0204, abs=5e-5)
    rng = RNG(0)
    values = [auroc(rng.standard_normal(400), rng.standard_normal(400)) for _ in range(500)]
    assert abs(np.mean(values) - 0.5) < 4 * 0.0204 / math.sqrt(500)
    assert np.std(values) == pytest.approx(0.0204, rel=4 / math.sqrt(1000))


@pytest.mark.parametrize(
    ("value", "n", "expected"),
    [
        (0.985, 400, 0.0043),
        (0.985, 3333, 0.0015),
        (0.985, 16667, 0.0007),
        (0.75, 400, 0.0172),
        (0.75, 3333, 0.0059),
        (0.75, 16667, 0.0027),
    ],
)
def test_hanley_mcneil_standard_errors(value: float, n: int, expected: float) -> None:
    assert hanley_mcneil(value, n, n) == pytest.approx(expected, abs=5e-5)


def test_a_perfect_score_is_not_certain() -> None:
    neg, pos = np.arange(10.0), np.arange(10.0) + 10
    for paired in (False, True):
        value, low, high, variance = delong(neg, pos, paired=paired)
        assert (value, high, variance) == (1.0, 1.0, 0.0)
        assert 0.6 < low < 0.9
        mirrored = delong(pos, neg, paired=paired)
        assert mirrored[:3] == pytest.approx((0.0, 0.0, 1 - low), abs=1e-9)
    many = delong(np.arange(1000.0), np.arange(1000.0) + 1000)
    assert 0.99 < many[1] < 1
    value, low, high, _ = delong(np.zeros(20), np.zeros(20))  # a detector that says the same of all
    assert value == 0.5
    assert low < 0.35
    assert high > 0.65
    assert delong([1.0], [2.0, 3.0])[1] < 0.5  # one negative says little


def test_the_score_interval_solves_its_equation_and_nears_hanley_mcneil() -> None:
    low, high = score_interval(0.9, 400, 400)
    for end in (low, high):
        assert abs(end - 0.9) == pytest.approx(1.959964 * hanley_mcneil(end, 400, 400), rel=1e-3)
    assert score_interval(1.0, 5, 7, level=0.99)[0] < score_interval(1.0, 5, 7)[0]


def test_the_difference_of_equal_orders_is_certain_and_of_other_orders_is_not() -> None:
    neg, pos, neg_b, pos_b = image_scores(50)
    assert delong_difference(neg, pos, 3 * neg + 1, 3 * pos + 1, paired=True) == (0.0, 0.0, 0.0, 0.0)
    value, low, high, variance = delong_difference(neg, pos, neg_b, pos_b, paired=True)
    assert value == pytest.approx(auroc(neg, pos) - auroc(neg_b, pos_b), abs=1e-15)
    assert low == pytest.approx(value - 1.959964 * math.sqrt(variance), abs=1e-6)
    assert high == pytest.approx(value + 1.959964 * math.sqrt(variance), abs=1e-6)
    far = np.arange(10.0)
    perfect = delong_difference(far, far + 100, far[::-1], far + 100)  # both perfect, in another order
    assert perfect[0] == 0
    assert perfect[1] < -0.1
    assert perfect[2] > 0.1
    opposite = delong_difference(far, far + 100, far, far - 100)
    assert opposite[0] == 1
    assert 0 < opposite[1] < 1
    assert opposite[2] == 1


@settings(max_examples=60, deadline=None)
@given(neg=SCORES, pos=SCORES, fpr=st.floats(0, 1))
def test_property_false_alarms_never_exceed_what_was_allowed(neg: list[float], pos: list[float], fpr: float) -> None:
    tpr, threshold, achieved = tpr_at_fpr(neg, pos, fpr)
    n, p = np.array(neg), np.array(pos)
    assert achieved == (n > threshold).mean() <= fpr
    assert tpr == (p > threshold).mean()
    lower = n[n < threshold]  # the next lower threshold would flag too many
    if len(lower):
        assert (n > lower.max()).mean() > fpr
    elif math.isfinite(threshold):
        assert fpr < 1


def test_the_allowance_is_counted_in_whole_negatives() -> None:
    neg, pos = np.arange(100.0), np.arange(100.0) + 50
    assert tpr_at_fpr(neg, pos, 0.05) == (0.55, 94.0, 0.05)
    assert tpr_at_fpr(neg, pos, 0.29)[2] == 0.29  # 0.29 * 100 is 28.999...
    assert tpr_at_fpr(neg, pos, 0.0) == (0.5, 99.0, 0.0)
    assert tpr_at_fpr(neg, pos, 1.0) == (1.0, -math.inf, 1.0)
    with pytest.raises(InvalidInput, match="lies in"):
        tpr_at_fpr(neg, pos, 1.5)


def test_clopper_pearson_is_exact() -> None:
    assert clopper_pearson(0, 20) == pytest.approx((0, 1 - 0.025 ** (1 / 20)), abs=1e-12)
    assert clopper_pearson(20, 20) == pytest.approx((0.025 ** (1 / 20), 1), abs=1e-12)
    assert clopper_pearson(8, 10) == pytest.approx((0.4439045, 0.9747893), abs=1e-6)
    with pytest.raises(InvalidInput, match="found 3 of 2"):
        clopper_pearson(3, 2)


def test_errors_of_predictions() -> None:
    rng = RNG(0)
    y, guess = rng.standard_normal((30, 4)) * [1, 2, 3, 4], rng.standard_normal((30, 4))
    a, b = torch.from_numpy(y), torch.from_numpy(guess)
    assert r2(a, b) == pytest.approx(r2_score(y, guess, multioutput="variance_weighted"), abs=1e-13)
    assert r2(a, a) == 1
    assert r2(a, a.mean(0).expand_as(a)) == pytest.approx(0, abs=1e-15)
    with pytest.raises(NotApplicable, match="all alike"):
        r2(torch.ones(3, 2), b[:3, :2])
    with pytest.raises(InvalidInput, match=r"\(30, 4\) and \(29, 4\)"):
        r2(a, b[1:])


def test_scores_that_cannot_be_ranked_are_refused() -> None:
    with pytest.raises(InvalidInput, match="negatives must be a vector of at least one"):
        auroc([], [1.0])
    with pytest.raises(InvalidInput, match="positives must be a vector"):
        auroc([1.0], [[1.0]])
    with pytest.raises(NotFinite, match="score 1 of the positives"):
        auroc([1.0], [1.0, math.nan])
    with pytest.raises(InvalidInput, match="found 1 negatives and 2 positives"):
        delong([1.0], [1.0, 2.0], paired=True)
    with pytest.raises(InvalidInput, match="same numbers"):
        delong_difference([1.0], [1.0, 2.0], [1.0], [1.0])
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        delong([1.0, 2.0], [1.0, 2.0], level=95)
    assert auroc([-math.inf], [math.inf]) == 1
