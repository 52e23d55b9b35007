# SPDX-License-Identifier: Apache-2.0
"""The tables, on records made by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from linear_map_records import (
    NETWORKS,
    auroc,
    budgets,
    controls,
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
from lipbench_linear_map.reports.head_accuracy import head_accuracy
from lipbench_linear_map.reports.overview import overview
from lipbench_linear_map.reports.sanity import sanity
from lipbench_linear_map.reports.verdicts import verdicts
from scipy import stats

from lipbench.api import Entry, Record, Table


def line(table: Table, row: int = 0) -> dict[str, Entry]:
    return {column.name: e for column, e in zip(table.columns, table.rows[row], strict=True)}


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
