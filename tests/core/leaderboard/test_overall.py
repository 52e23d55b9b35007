# SPDX-License-Identifier: Apache-2.0
"""Average ranks over datasets: against published figures and scipy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from board_cases import failed, job, plan, record
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lipbench.contract.values import Table
from lipbench.leaderboard.critical_difference import diagrams, runs
from lipbench.leaderboard.overall import FEWEST_DATASETS, Overall, critical_difference, wilcoxon
from lipbench.leaderboard.plots import draw
from lipbench.leaderboard.table import tables

NAMES = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
# Areas under the curve on 14 datasets: Demsar (2006), table 6.
DEMSAR = np.array([
    [.763, .768, .771, .798], [.599, .591, .590, .569], [.954, .971, .968, .967], [.628, .661, .654, .657],
    [.882, .888, .886, .898], [.936, .931, .916, .931], [.661, .668, .609, .685], [.583, .583, .563, .625],
    [.775, .838, .866, .875], [1.00, 1.00, 1.00, 1.00], [.940, .962, .965, .962], [.619, .666, .614, .669],
    [.972, .981, .975, .975], [.957, .978, .946, .970],
])  # fmt: skip


def judged(scores: Any, names: Any = NAMES, lost: Any = (), **changes: Any) -> tuple[list[Table], list[Overall]]:
    """Rows of networks over data with one metric; networks compete."""
    places = list(itertools.product(range(len(scores)), range(len(names))))
    jobs = [job({f"{d}-{n}": "auc"}, network=names[n], data=f"data {d:02}") for d, n in places]
    records = [
        (failed if (d, n) in lost else record)(
            f"{d}-{n}", "auc", *(() if (d, n) in lost else (float(scores[d][n]),)),
            roles={"network": names[n], "data": f"data {d:02}"}, group="", **changes,
        )
        for d, n in places
    ]  # fmt: skip
    return tables(plan(*jobs, rank=["network"], rank_by=["auc"]), records)


def test_the_example_of_demsar() -> None:
    (_, below), (overall,) = judged(DEMSAR)
    found = dict(zip(overall.names, overall.average_ranks, strict=True))
    expected = stats.rankdata(-DEMSAR, axis=1).mean(axis=0)
    assert [found[name] for name in NAMES] == pytest.approx(expected.tolist(), rel=1e-5)
    assert overall.critical == pytest.approx(1.25, abs=5e-3)  # as published
    # "Even the difference between the best and the worst" is no difference by Nemenyi's test at 5 %.
    assert set(overall.ranks) == {1}
    assert runs(overall) == [(0, 3)]
    assert overall.friedman == pytest.approx(stats.friedmanchisquare(*DEMSAR.T).pvalue, rel=1e-5)
    assert [row[1].text for row in below.rows] == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    assert all(row[3].best for row in below.rows)
    assert "auc: Friedman p = 0.0120, critical difference 1.25." in below.caption


@pytest.mark.parametrize(("competitors", "quantile"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_values_are_those_of_the_tables(competitors: int, quantile: float) -> None:
    # Demsar (2006), table 5a.
    expected = quantile * np.sqrt(competitors * (competitors + 1) / (6 * 20))
    assert critical_difference(competitors, 20) == pytest.approx(expected, rel=5e-4)


def test_clear_differences_are_found_and_drawn(tmp_path: Any) -> None:
    draw_ = np.random.default_rng(0)
    scores = draw_.normal(size=(20, 3)) * 0.01 + np.array([0.9, 0.7, 0.5])
    (_, below), (overall,) = judged(scores, ("a", "b", "c$"))
    assert list(zip(overall.names, overall.ranks, strict=True)) == [("a", 1), ("b", 2), ("c$", 3)]
    assert [(row[3].best, row[3].second) for row in below.rows] == [(True, False), (False, True), (False, False)]
    assert overall.superiority == [0.5, 1.0, 1.0]
    files = [draw(tmp_path / name, [], [], (), lambda: diagrams([overall])) for name in ("one", "two")]
    assert [f.name for f in files[0]] == ["ranks-auc.png", "ranks-auc.svg"]
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]


def test_lower_may_be_better() -> None:
    scores = np.linspace(0.1, 0.2, 8)[:, None] + np.array([0.0, 0.5, 1.0])
    assert judged(scores, ("a", "b", "c"), direction="lower")[1][0].names[0] == "a"
    assert judged(scores, ("a", "b", "c"))[1][0].names[0] == "c"


def test_of_two_the_signed_rank_test_decides() -> None:
    scores = np.array([[0.5 + i / 100, 0.4] for i in range(FEWEST_DATASETS)])
    overall = judged(scores, ("a", "b"))[1][0]
    assert (overall.friedman, overall.critical, list(overall.ranks)) == (None, None, [1, 2])
    assert overall.p_first[1] == pytest.approx(2 / 2**FEWEST_DATASETS)


def test_too_few_datasets_are_no_test() -> None:
    assert judged(DEMSAR[: FEWEST_DATASETS - 1])[1] == []


def test_datasets_with_a_failure_are_left_out_and_counted() -> None:
    (_, below), (overall,) = judged(DEMSAR, lost={(0, 1), (3, 2)})
    assert (overall.datasets, overall.incomplete) == (12, 2)
    assert "2 datasets left out, where a competitor has no value" in below.caption


def test_competitors_that_were_hardly_measured_are_named() -> None:
    (_, below), (overall,) = judged(DEMSAR, lost={(d, 1) for d in range(10)})
    assert list(overall.left_out) == ["C4.5+m"]
    assert overall.datasets == 14
    assert "left out, with values on fewer than half of the datasets: C4.5+m" in below.caption


def test_rows_that_differ_in_parameters_alone_are_one_dataset() -> None:
    cells = [(d, n, p) for d in range(7) for n in "ab" for p in (1, 2)]
    jobs = [job({f"{d}{n}{p}": "auc"}, network=n, data=f"d{d}", power=p) for d, n, p in cells]
    records = [
        record(f"{d}{n}{p}", "auc", d + (n == "a") * 1.0, roles={"network": n, "data": f"d{d}"}, task_params={"power": p})
        for d, n, p in cells
    ]
    _, (overall,) = tables(plan(*jobs, rank=["network"]), records)
    assert overall.datasets == 7


def test_metrics_compete_over_rows() -> None:
    jobs = [job({f"{d}low": "low", f"{d}high": "high"}, data=f"d{d}") for d in range(6)]
    records = [
        record(f"{d}{m}", m, v + d, roles={"network": "mlp", "data": f"d{d}"})
        for d in range(6)
        for m, v in (("low", 1), ("high", 2))
    ]
    made, (overall,) = tables(plan(*jobs), records)
    assert (overall.names[0], overall.family.words) == ("high", "lower")
    assert "What holds over all rows stands below." in made[0].caption


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.data())
def test_neither_order_of_records_nor_of_jobs_changes_a_statistic(data: st.DataObject) -> None:
    cells = [(f"{d}{n}{s}", d, n, s) for d in range(6) for n in "abc" for s in range(2)]
    values = data.draw(st.lists(st.floats(-1e9, 1e9), min_size=len(cells), max_size=len(cells)))
    jobs = [job({c: "auc"}, seed=s, network=n, data=f"d{d}") for c, d, n, s in cells]
    records = [
        record(c, "auc", v, seed=s, roles={"network": n, "data": f"d{d}"})
        for (c, d, n, s), v in zip(cells, values, strict=True)
    ]
    spec: dict[str, Any] = {"rank": ["network"]}
    first = tables(plan(*jobs, **spec), records)
    assert tables(plan(*jobs, **spec), data.draw(st.permutations(records))) == first
    assert tables(plan(*data.draw(st.permutations(jobs)), **spec), records)[1] == first[1]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=9))
def test_the_signed_rank_test_is_that_of_scipy(differences: list[int]) -> None:
    found = wilcoxon(np.array(differences, float), np.zeros(len(differences)))
    if not any(differences):
        assert found == 1.0
        return
    every = stats.PermutationMethod(n_resamples=2 ** len(differences))
    expected = stats.wilcoxon(np.array(differences, float), zero_method="zsplit", method=every).pvalue
    assert found == pytest.approx(min(1.0, expected))
