# SPDX-License-Identifier: Apache-2.0
"""The tables, on records made by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear_map_records import (
    NETWORKS,
    auroc,
    budgets,
    controls,
    entry,
    failed,
    heads,
    matrix,
    nulls,
    pairs,
    published,
    published_heads,
    record,
    sweep,
    worth,
)
from lipbench_linear_map.reports.auroc_matrix import auroc_matrix
from lipbench_linear_map.reports.averages import deviation, difference, less, over_seeds, shares
from lipbench_linear_map.reports.head_accuracy import head_accuracy
from lipbench_linear_map.reports.overview import overview
from lipbench_linear_map.reports.reading import Point
from lipbench_linear_map.reports.sanity import sanity
from lipbench_linear_map.reports.verdicts import verdicts
from scipy import stats

from lipbench.api import Entry, Record, Table


def line(table: Table, row: int = 0) -> dict[str, Entry]:
    return {column.name: e for column, e in zip(table.columns, table.rows[row], strict=True)}


# --- averages --------------------------------------------------------------------------------------------------------


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


# --- overview --------------------------------------------------------------------------------------------------------


def test_a_row_of_the_overview_has_the_means_off_the_diagonal() -> None:
    table = overview([*matrix((0, 1)), *controls((0, 1))])
    (row,) = table.rows
    found = line(table)
    assert [e.text for e in row[:5]] == ["digits", "fgsm", "ols", "embedding", "20 x 2 seeds"]
    by_seed = [np.mean([worth(t, s, seed) for t, s in pairs() if t != s]) for seed in (0, 1)]
    assert found["AUROC mapped"].value == pytest.approx(np.mean(by_seed))
    half = stats.t.ppf(0.975, 1) * stats.sem(by_seed)
    assert found["AUROC mapped"].text == f"{np.mean(by_seed):.3f} ± {half:.3f}"
    native = np.mean(list(NETWORKS.values())) + 0.001
    assert found["native source"].value == found["native target"].value == pytest.approx(native)
    assert found["gap"].value == pytest.approx(np.mean(by_seed) - native)
    expected = {
        "clean false alarm": 0.06,
        "vs noise": 0.63,
        "adaptive AUROC": 0.12,
        "robust accuracy": 0.81,
        "R2": 0.64,
    }
    assert {k: found[k].value for k in expected} == pytest.approx(expected)
    assert found["rows/column"].text == "8.33 to 25"
    assert not table.notes


def test_native_values_come_from_the_diagonal_or_from_any_cell_that_measured_the_same() -> None:
    off = [r for r in matrix() if r.roles["source"] != r.roles["target"]]
    diagonal = [r for r in matrix() if r.roles["source"] == r.roles["target"]]
    native = [r for r in controls() if r.uses["metric"] == "native_auroc" and r.params["metric"]["of"] == "source"]
    elsewhere = {"map": "ridge_cv", "task": {"negatives": "native", "map_rows": 100}}
    borrowed = [auroc(r.value or 0, r.roles["target"], r.roles["source"], **elsewhere) for r in diagonal]
    average = np.mean(list(NETWORKS.values()))
    for others in (diagonal, native, borrowed):
        row = line(overview([*off, *others]))
        assert row["native source"].value == row["native target"].value == pytest.approx(average)
        assert row["gap"].value == pytest.approx((row["AUROC mapped"].value or 0) - average)
    foreign = [dataclasses.replace(r, seed=7) for r in diagonal]
    assert line(overview([*off, *foreign]))["native source"].text == ""


def test_the_own_detector_of_a_source_attacked_through_the_target_hangs_on_the_pair() -> None:
    task = {"crafted_on": "target"}
    own = [
        record("native_auroc", v, t, "mlp64", params={"of": "source"}, task=task) for t, v in (("cnn48", 0.6), ("res32", 0.8))
    ]
    table = overview([*own, *(auroc(0.5, t, "mlp64", task=task) for t in ("cnn48", "res32"))])
    assert line(table)["native source"].value == pytest.approx(0.7)


def test_metrics_are_found_by_component_and_parameters_not_by_label() -> None:
    def adaptive(auroc_: float, right: float, steps: int) -> list[Record]:
        params = {"weight": 1.0, "steps": steps}
        return [record("adaptive_auroc", auroc_, params=params), record("adaptive_robust_accuracy", right, params=params)]

    wrong = auroc(0.1, extras={"native": False})
    table = overview(
        [
            auroc(0.8, metric="native_auroc"),
            *adaptive(0.3, 0.5, 10),
            *adaptive(0.2, 0.7, 40),
            dataclasses.replace(wrong, metric="auroc", uses={**wrong.uses, "metric": "another"}),
        ]
    )
    row = line(table)
    assert row["AUROC mapped"].value == 0.8
    assert (row["adaptive AUROC"].value, row["robust accuracy"].value) == (0.2, 0.7)
    assert "Of several adaptive attacks" in table.caption


def test_task_parameters_that_vary_are_columns() -> None:
    table = overview([auroc(0.8), auroc(0.7, task={"map_fit": "adversarial", "quantise": 16})])
    assert [c.name for c in table.columns][4:6] == ["map_fit", "quantise"]
    assert [[e.text for e in row[4:6]] for row in table.rows] == [["both", "none"], ["adversarial", "16"]]


def test_what_failed_or_was_not_asked_is_told_apart() -> None:
    table = overview([auroc(0.8), failed("r2"), failed("r2", "res32"), failed("auroc", "res32", seed=1)])
    row = line(table)
    assert (row["R2"].text, row["vs noise"].text) == ("-", "")
    assert row["data"].note == 1
    text = "label of auroc failed (oom): MemoryError: no room; label of r2 failed (oom): MemoryError: no room (2 cells)"
    assert table.notes == [text]
    assert "no interval" in table.caption


def test_of_many_failures_a_few_are_spelt_out() -> None:
    faults = [failed("auroc", t, error={"class": "invalid", "message": f"{t} does not fit"}) for t in NETWORKS]
    (note,) = overview(faults).notes
    assert note.count("does not fit") == 3
    assert note.endswith("2 more cells failed")


def test_cells_that_are_missing_are_said() -> None:
    table = overview([auroc(0.8), auroc(0.8, "res32"), auroc(0.7, seed=1)])
    assert line(table)["pairs"].text == "2 x 2 seeds less 1"
    assert "Less: cells that are missing." in table.caption


def test_equal_labels_of_other_parameters_are_not_averaged() -> None:
    same = auroc(0.7)
    other = dataclasses.replace(same, params={**same.params, "map": {"ridge": 1.0}})
    assert len(overview([auroc(0.8), other]).rows) == 2


# --- matrix ----------------------------------------------------------------------------------------------------------


def test_the_matrix_is_that_of_the_setting_with_most_pairs_and_marks_the_diagonal() -> None:
    few = [auroc(0.4, "cnn48", "mlp64", attack={"use": "pgd"})]
    table = auroc_matrix([*few, *nulls((0, 1)), *matrix((0, 1)), *matrix((0, 1), map="ridge_cv", loss=0.1)])
    assert [c.name for c in table.columns] == ["target \\ source", *NETWORKS]
    assert [row[0].text for row in table.rows] == list(NETWORKS)
    for y, x in itertools.product(range(5), range(5)):
        target, source = list(NETWORKS)[y], list(NETWORKS)[x]
        entry_ = table.rows[y][x + 1]
        assert entry_.value == pytest.approx(np.mean([worth(target, source, seed) for seed in (0, 1)]))
        assert ("native" in entry_.text) == (x == y)
    assert table.caption.startswith("digits, fgsm, ols, embedding.")


def test_a_diagonal_that_was_not_asked_here_is_filled_and_holes_stay_empty() -> None:
    off = [r for r in matrix() if r.roles["source"] != r.roles["target"]][1:]
    table = auroc_matrix([*off, *(r for r in controls() if r.uses["metric"] == "native_auroc")])
    texts = [[e.text for e in row[1:]] for row in table.rows]
    assert [texts[i][i] for i in range(5)] == [f"{v:.3f} (native)" for v in NETWORKS.values()]
    assert sum(t == "" for row in texts for t in row) == 1


def test_two_labels_of_one_network_are_native() -> None:
    table = auroc_matrix([auroc(0.9, "cnn48", "alias", extras={"native": True}), auroc(0.8)])
    assert line(table)["alias"].text == "0.900 (native)"


# --- verdicts --------------------------------------------------------------------------------------------------------


def figures(table: Table, question: str) -> dict[str, str]:
    (row,) = (row for row in table.rows if question in row[0].text)
    return {column.name: e.text for column, e in zip(table.columns, row, strict=True)}


def test_the_decomposition_of_the_published_table_is_the_known_one() -> None:
    found = figures(verdicts(matrix(), published()), "limited")
    assert found["published"] == (
        "cifar10, fgsm, ols, embedding: source 62 % of the variance, target 27 %; correlation of source means with native "
        "AUROC of the source 0.98; correlation of target means with native AUROC of the target 0.79"
    )
    assert found["finding"].startswith("the source decides more")
    assert "5 x 5" in found["finding"]
    ours = np.array([[worth(t, s) for s in NETWORKS] for t in NETWORKS])
    share = 5 * ((ours.mean(0) - ours.mean()) ** 2).sum() / ((ours - ours.mean()) ** 2).sum()
    off = (ours.sum(0) - ours.diagonal()) / 4
    assert f"source {100 * share:.0f} % of" in found["figures"]
    assert f"native AUROC of the source {np.corrcoef(off, ours.diagonal())[0, 1]:.2f}" in found["figures"]


def test_a_target_that_decides_is_said() -> None:
    cells = [auroc(0.7 + 0.05 * i + 0.01 * j, t, s) for i, t in enumerate(NETWORKS) for j, s in enumerate(NETWORKS)]
    assert figures(verdicts(cells), "limited")["finding"].startswith("the target decides more")


def test_variance_of_single_pairs_is_said() -> None:
    cells = [auroc(0.9 if i == j else 0.7, t, s) for i, t in enumerate(NETWORKS) for j, s in enumerate(NETWORKS)]
    found = figures(verdicts(cells), "limited")
    assert found["finding"].startswith("neither: 100 % of the variance is due to single pairs")
    assert "source 0 % of the variance" in found["figures"]


def test_the_published_matrix_of_the_same_data_and_attack_stands_beside_ours() -> None:
    large = [
        *(entry("resnet152", s, v, data="image*") for s, v in (("resnet152", 0.9), ("vit", 0.7))),
        *(entry("vit", s, v, data="image*") for s, v in (("resnet152", 0.8), ("vit", 0.95))),
    ]
    mine = [auroc(worth(t, s), t, s, data="imagenet") for t, s in pairs()]
    table = verdicts(mine, [*(e for e in published() if e["where"]["data"] == "cifar10"), *large])
    assert figures(table, "limited")["published"].startswith("image, fgsm")
    assert figures(verdicts(matrix(), [*large, *published()]), "limited")["published"].startswith("cifar10")


def test_all_lines_have_the_figures_behind_them() -> None:
    table = verdicts([*matrix(), *controls(), *nulls()], published())
    assert len(table.rows) == 5
    noise = figures(table, "noisy")
    mapped = np.mean([worth(t, s) for t, s in pairs() if t != s])
    error = stats.sem([worth(t, s) for t, s in pairs() if t != s])
    assert noise["figures"] == (
        "adversarial vs noise 0.630; noise vs original 0.710; difference -0.080 (standard error over pairs 0.000); "
        f"pixels (svm) 0.970; best of pixels less mapped {0.97 - mapped:.3f} (standard error over pairs {error:.3f})"
    )
    assert noise["finding"].startswith("noise more than the attack")
    assert noise["finding"].endswith("; a detector on pixels alone does better (one seed)")
    evasion = figures(table, "survive")
    assert evasion["figures"] == (
        f"AUROC before {mapped:.3f}; after 0.120; accuracy of the source under the plain attack 0.420; under the adaptive one 0.810"
    )
    assert evasion["finding"].startswith("no:")
    assert evasion["finding"].endswith("right on 81 % of them")
    cost = figures(table, "cost")
    native = np.mean(list(NETWORKS.values()))
    apart = [worth(t, s) - worth(s, s) for t, s in pairs() if t != s]
    error = stats.sem(apart)
    assert cost["figures"] == (
        f"gap to the source's own detector {np.mean(apart):.3f} (standard error over pairs {error:.3f}); "
        f"direct {native - 0.003:.3f}; direct less mapped {native - 0.003 - mapped:.3f} (standard error over pairs {error:.3f}); "
        f"native source {native:.3f}"
    )
    assert cost["finding"].startswith("the map costs AUROC (one seed); a detector trained")
    assert cost["published"].endswith("detector -0.019")
    null = figures(table, "carries nothing")
    assert "random" in null["figures"]
    assert "n = 20" in null["figures"]
    assert "ols lies 0.3" in null["finding"]


def spread(metric: str, value: float, by: float, seeds: int = 3, **changes: Any) -> list[Record]:
    """The same value for two pairs, but for what it varies by over seeds (over pairs where there is one)."""
    offsets = [by * (seed - (seeds - 1) / 2) for seed in range(seeds)]
    made = []
    for (seed, offset), (i, target) in itertools.product(enumerate(offsets), enumerate(("cnn48", "res32"))):
        shift = offset if seeds > 1 else by * (i - 0.5)
        make = auroc(value + shift, target) if metric == "auroc" else record(metric, value + shift, target, **changes)
        made.append(dataclasses.replace(make, seed=seed))
    return made


@pytest.mark.parametrize(
    ("noise", "evaded", "words"),
    [
        (0.4, 0.95, ("the attack more", "yes: the AUROC is higher")),
        (0.9, 0.7, ("noise more", "in part")),
        (0.9, 0.1, ("noise more", "no:")),
        (0.6, 0.8, ("attack and noise alike: no difference that the seeds", "yes: the AUROC for images that were made to")),
        (0.6, 0.5, ("attack and noise alike: no difference that the seeds", "not shown")),
    ],
)
def test_figures_decide_the_findings(noise: float, evaded: float, words: tuple[str, str]) -> None:
    table = verdicts(
        [
            *spread("auroc", 0.8, 0.001),
            *spread("auroc_vs_noise", 0.6, 0.003, extras={"noise_vs_clean": noise}),
            *spread("adaptive_auroc", evaded, 0.002),
        ]
    )
    for question, start in zip(("noisy", "survive"), words, strict=True):
        assert figures(table, question)["finding"].startswith(start)
        assert "one seed" not in figures(table, question)["finding"]


@pytest.mark.parametrize(
    ("by", "seeds", "gap", "finding"),
    [
        (0.001, 3, -0.1, "the map costs AUROC"),
        (0.001, 3, 0.1, "the map gains AUROC"),
        (0.2, 3, -0.1, "the map makes no difference that the seeds confirm"),
        (0.2, 3, 0.1, "the map makes no difference that the seeds confirm"),
        (0.001, 1, -0.1, "the map costs AUROC (one seed)"),
        (0.2, 1, 0.1, "the map makes no difference that the pairs of the one seed confirm"),
    ],
)
def test_a_sign_that_the_interval_does_not_bear_out_is_no_finding(by: float, seeds: int, gap: float, finding: str) -> None:
    found = figures(verdicts([*spread("auroc", 0.8, 0, seeds), *spread("transfer_gap", gap, by, seeds)]), "cost")
    assert found["finding"] == finding


def test_one_pair_with_one_seed_confirms_nothing() -> None:
    found = figures(verdicts([auroc(0.8), record("transfer_gap", -0.3), record("direct_auroc", 0.9)]), "cost")
    assert found["finding"].count("no difference that one pair with one seed could confirm") == 2
    assert found["figures"] == "gap to the source's own detector -0.300; direct 0.900; direct less mapped 0.100"


@pytest.mark.parametrize(
    ("direct", "words"),
    [
        (0.9, "works better than the"),
        (0.7, "works less well than the"),
        (0.8, "works as well as the mapped one: no difference"),
    ],
)
def test_a_detector_without_a_map_is_compared_three_ways(direct: float, words: str) -> None:
    table = verdicts([*spread("auroc", 0.8, 0.001), *spread("direct_auroc", direct, 0.003)])
    assert words in figures(table, "cost")["finding"]


@pytest.mark.parametrize(
    ("pixels", "words"),
    [(0.95, "does better"), (0.8, "does as well: no difference that the seeds confirm"), (0.6, "does less well")],
)
def test_the_better_detector_on_pixels_is_part_of_the_finding(pixels: float, words: str) -> None:
    worse = spread("pixel_auroc", 0.55, 0.001, params={"by": "zeros"})
    table = verdicts([*spread("auroc", 0.8, 0.001), *spread("pixel_auroc", pixels, 0.002, params={"by": "svm"}), *worse])
    assert figures(table, "noisy")["finding"] == f"not measured against noise; a detector on pixels alone {words}"


def test_shares_of_variance_are_compared_over_seeds() -> None:
    by_source = [auroc(0.7 + 0.05 * j + 0.01 * i, t, s) for i, t in enumerate(NETWORKS) for j, s in enumerate(NETWORKS)]
    by_target = [auroc(0.7 + 0.05 * i + 0.01 * j, t, s) for i, t in enumerate(NETWORKS) for j, s in enumerate(NETWORKS)]
    again = [dataclasses.replace(r, seed=1) for r in by_source]
    other = [dataclasses.replace(r, seed=1) for r in by_target]
    assert figures(verdicts(by_source), "limited")["finding"].startswith("the source decides more (one seed);")
    assert figures(verdicts([*by_source, *again]), "limited")["finding"].startswith("the source decides more;")
    undecided = figures(verdicts([*by_source, *other]), "limited")["finding"]
    assert undecided.startswith("neither source nor target decides more by a difference that the seeds confirm")


def test_one_value_of_a_map_has_no_deviation() -> None:
    found = figures(verdicts([auroc(0.8), auroc(0.5, map="random")]), "carries nothing")
    assert found["figures"] == "ols 0.800 (n = 1); random 0.500 (n = 1); ols less the null maps on the same pairs 0.300"
    assert found["finding"].endswith("no difference that one pair with one seed could confirm")


def test_null_maps_are_compared_on_the_pairs_and_seeds_that_they_have() -> None:
    more = [dataclasses.replace(r, seed=1, value=0.1) for r in matrix()]
    found = figures(verdicts([*matrix(), *more, *nulls()]), "carries nothing")
    drawn = [r.value or 0 for r in nulls()]
    above = np.mean([worth(t, s) for t, s in pairs() if t != s]) - np.mean(drawn)
    assert found["finding"].startswith(
        f"ols lies {above:.3f} above the mean of the null maps, {above / np.std(drawn, ddof=1):.1f} of"
    )
    assert found["finding"].endswith("(one seed)")
    apart = verdicts([*(dataclasses.replace(r, seed=1) for r in matrix()), *nulls()])
    assert figures(apart, "carries nothing")["finding"] == "ols and the null maps have no pair in common"


def test_an_alarm_that_the_pairs_do_not_bear_out_is_none() -> None:
    tasks = [{"map_fit": "both"}, {"map_fit": "clean"}]
    records = [r for task in tasks for r in matrix(task=task)]
    away = [(t, s) for t, s in pairs() if t != s]
    records += [record("clean_false_alarm", 0.52 + 0.2 * (-1) ** i, t, s) for i, (t, s) in enumerate(away)]
    found = figures(verdicts(records), "alarm")["finding"]
    assert found.startswith("no: originals that were only mapped")
    assert found.endswith("no difference from chance that the pairs of the one seed confirm")
    records += [record("clean_false_alarm", 0.51, t, s, task=tasks[1]) for t, s in away]
    found = figures(verdicts(records), "alarm")["finding"]
    assert found.startswith("with map_fit clean, originals")
    assert found.endswith("AUROC 0.510 (one seed)")


def test_a_control_that_was_measured_elsewhere_says_where() -> None:
    elsewhere = {"map": "ridge_cv", "task": {"map_rows": 200}}
    table = verdicts([*matrix(), record("adaptive_auroc", 0.3, **elsewhere), record("adaptive_auroc", 0.1, map="random")])
    assert figures(table, "survive")["figures"] == "after 0.300; measured with map ridge_cv, map_rows 200"


def test_false_alarms_are_said_where_the_fit_or_the_negatives_vary() -> None:
    records = [*matrix(), *(r for r in controls() if r.uses["metric"] == "clean_false_alarm")]
    assert not [row for row in verdicts(records).rows if "alarm" in row[0].text]
    task = {"map_fit": "adversarial", "negatives": "mapped"}
    records += [*matrix(task=task, loss=0.2), *matrix(task={**task, "negatives": "native"}, loss=-0.05)]
    records += [record("clean_false_alarm", 0.867, t, s, task=task) for t, s in pairs() if t != s]
    found = figures(verdicts(records), "alarm")
    assert found["finding"].startswith("with map_fit adversarial, originals that were only mapped")
    assert found["finding"].endswith("0.867 (one seed)")
    assert "map_fit both, negatives mapped: attack 0.8" in found["figures"]
    assert "measured with" not in found["figures"]
    other = [
        dataclasses.replace(r, roles={**r.roles, "map": "l21"}) for r in records if r.roles["source"] in ("mlp64", "cnn48")
    ]
    most = [*matrix(), *other]
    assert figures(verdicts(most), "alarm")["figures"].endswith("measured with map l21")
    assert found["figures"].count("originals alone 0.867") == 2


def test_datasets_have_lines_of_their_own() -> None:
    table = verdicts([*matrix(), *matrix(data="mnist")])
    assert [row[1].text for row in table.rows if "limited" in row[0].text] == ["digits", "mnist"]


@pytest.mark.parametrize(
    "records",
    [
        [],
        [failed("auroc")],
        [auroc(0.9, "cnn48", "cnn48")],
        [auroc(0.8, extras={"histograms": None, "rows": None})],
        [record("map_mse", 0.2, params={"per": "element"})],
        [r for r in controls() if r.roles["source"] == r.roles["target"] == "cnn48"],
        list(nulls()),
        [failed(r.uses["metric"], r.roles["target"], r.roles["source"]) for r in controls()],
        [*sweep(), *budgets()],
        [record("head_accuracy", 0.4)],
        [record("head_accuracy", 0.4, "cnn48", "cnn48")],
        [failed("head_accuracy")],
    ],
)
def test_tables_of_little_are_well_formed(records: list[Record]) -> None:
    heads_ = (head_accuracy(records), head_accuracy(records, published_heads()))
    for table in (overview(records), auroc_matrix(records), verdicts(records, published()), *heads_):
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert all(e.note is None or 1 <= e.note <= len(table.notes) for row in table.rows for e in row)
        assert all(e.value is None or math.isfinite(e.value) for row in table.rows for e in row)
    assert list(sanity(records)) == []


def test_one_network_alone_still_has_a_row() -> None:
    row = line(overview([auroc(0.9, "cnn48", "cnn48")]))
    assert (row["pairs"].text, row["native target"].text, row["AUROC mapped"].text) == ("0", "0.900", "-")


# --- head accuracy ---------------------------------------------------------------------------------------------------


def test_a_row_of_head_accuracies_is_over_sources_with_the_deviation_of_a_population() -> None:
    table = head_accuracy(heads(seeds=(0, 1)))
    assert [c.name for c in table.columns] == [
        "data", "attack", "target", "own accuracy", "mapped accuracy", "sources", "sources' own accuracy", "published",
    ]  # fmt: skip
    assert [row[2].text for row in table.rows] == ["mlp64", "cnn48", "vit32"]
    row = line(table, 1)
    # Means over seeds first: 0.30 and 0.50 with a seed's shift of 0.02 between them.
    over = [0.31, 0.51]
    assert row["mapped accuracy"].value == pytest.approx(np.mean(over))
    assert row["mapped accuracy"].text == f"{np.mean(over):.3f} ± {np.std(over):.3f}" != f"0.410 ± {np.std(over, ddof=1):.3f}"
    assert (row["own accuracy"].value, row["sources' own accuracy"].value) == pytest.approx((0.25, 0.35))
    assert (row["sources"].text, row["published"].text) == ("2", "")
    assert "follow the source or the target?" in table.caption
    assert "Means over seeds come first." in table.caption
    assert "with ddof 0 alone" not in table.caption


def test_head_accuracies_are_those_of_the_fullest_setting_of_each_data_and_attack() -> None:
    few = [record("head_accuracy", 0.9, "cnn48", "mlp64", map="ridge_cv")]
    null = [dataclasses.replace(r, value=0.1) for r in heads(map="random")]
    table = head_accuracy([*few, *null, *heads(), *heads(attack={"use": "pgd"}), *heads(data="mnist")])
    places = [(row[0].text, row[1].text) for row in table.rows]
    assert list(dict.fromkeys(places)) == [("digits", "fgsm"), ("digits", "pgd"), ("mnist", "fgsm")]
    assert line(table, 1)["mapped accuracy"].text == "0.400 ± 0.100"
    assert table.caption.startswith("digits, fgsm, ols, embedding; digits, pgd, ols")


def test_one_source_has_no_deviation_and_an_own_accuracy_comes_from_the_diagonal() -> None:
    extras = {"target_adversarial": 0.7, "source_adversarial": 0.2}
    pair = record("head_accuracy", 0.4, extras=extras, task={"crafted_on": "source"})
    native = record(
        "head_accuracy", 0.3, "cnn48", "cnn48", extras=extras | {"target_adversarial": 0.3}, task={"crafted_on": "source"}
    )
    row = line(head_accuracy([pair, native]))
    assert (row["mapped accuracy"].text, row["own accuracy"].text, row["sources' own accuracy"].text) == (
        "0.400",
        "0.300",
        "0.200",
    )
    assert line(head_accuracy([pair]))["own accuracy"].text == "0.700"


def test_published_accuracies_of_the_same_target_stand_beside_ours() -> None:
    theirs = published_heads(data="dig*", target="cnn48")
    table = head_accuracy(heads(), theirs)
    assert [row[-1].text for row in table.rows] == ["", "0.406 ± 0.048 (40.55 ± 4.83 %)", ""]
    assert table.rows[1][-1].value == 0.4055
    assert not any(row[-1].text for row in head_accuracy(heads(attack={"use": "pgd"}), theirs).rows[:3])


def test_published_accuracies_of_other_targets_stand_below_ours() -> None:
    table = head_accuracy(heads(), published_heads())
    texts = [[e.text for e in row] for row in table.rows[3:]]
    assert texts == [
        ["cifar10", "fgsm", "resnet18", "0.441", "0.406 ± 0.048", "", "", "0.406 ± 0.048 (40.55 ± 4.83 %)"],
        ["imagenet", "fgsm", "resnet152", "", "0.523 ± 0.192", "", "", "0.523 ± 0.192 (52.30 ± 19.21 %)"],
        ["imagenet", "fgsm", "vgg19", "", "0.400", "", "", "0.400"],
    ]
    assert table.rows[4][-1].note == 1
    assert table.notes == ["VGG-19 alone pulls it down"]
    assert "with ddof 0 alone" in table.caption
    assert not head_accuracy([], published_heads()).rows
