# SPDX-License-Identifier: Apache-2.0
"""How often a comparison sees what is not there, and how often what is; the draws are fixed, so the outcome is too."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from compare_cases import both
from scipy import stats

from lipbench.leaderboard.compare import compare

ALPHA, PAIRS, METRICS, SEEDS = 0.05, 75, 8, 5
Draw = Callable[[np.random.Generator], float]

NOISE: dict[str, Draw] = {
    "normal": lambda rng: float(rng.normal(0.8, 0.02)),
    "skewed": lambda rng: float(rng.lognormal(0.0, 1.0)),
    "heavy tails": lambda rng: float(rng.standard_t(2)),
    "accuracy on 100 samples": lambda rng: float(rng.binomial(100, 0.97)) / 100,
    "mostly the same": lambda rng: float(rng.random() < 0.1),
}


def alarms(draw: Draw, others: bool, shift: float = 0.0) -> int:
    """In how many comparisons of two runs any metric is called better or worse, where one metric is shifted."""
    rng = np.random.default_rng(20260131)
    found = 0
    for _ in range(PAIRS):
        base = {f"m{i}": {s: draw(rng) for s in range(SEEDS)} for i in range(METRICS)}
        first = SEEDS if others else 0
        new = {f"m{i}": {s + first: draw(rng) + shift * (i == 0) for s in range(SEEDS)} for i in range(METRICS)}
        with tempfile.TemporaryDirectory() as place:
            one, other = both(Path(place), base, new)
            comparison = compare({"s": one / "s"}, {"s": other / "s"}, ALPHA)
        verdicts = {line.verdict for suite in comparison.suites for line in suite.lines}
        found += bool(verdicts & {"better", "worse"})
        assert comparison.fails("regression") == ("worse" in verdicts)
    return found


@pytest.mark.parametrize(
    ("noise", "others"), [*((noise, True) for noise in NOISE), ("normal", False), ("accuracy on 100 samples", False)]
)
def test_equal_code_raises_no_more_alarms_than_is_said(noise: str, others: bool) -> None:
    assert alarms(NOISE[noise], others) <= stats.binom.ppf(0.999, PAIRS, ALPHA)


@pytest.mark.parametrize("others", [True, False], ids=["other seeds", "shared seeds"])
def test_a_real_difference_is_found(others: bool) -> None:
    """One of eight metrics falls by six standard deviations, over five seeds: in at least nine of ten comparisons."""
    assert alarms(NOISE["normal"], others, -6 * 0.02) >= 0.9 * PAIRS
