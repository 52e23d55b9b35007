# SPDX-License-Identifier: Apache-2.0
"""The sentences about the claims of the source, on records made by hand."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from linear_map_records import (
    NETWORKS,
    auroc,
    controls,
    entry,
    matrix,
    nulls,
    pairs,
    published,
    record,
    worth,
)
from lipbench_linear_map.reports.verdicts import verdicts
from scipy import stats

from lipbench.api import Record, Table


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
