# SPDX-License-Identifier: Apache-2.0
"""The audit: which values cannot all be right, on records made by hand."""

from __future__ import annotations

import math

import pytest
from linear_map_records import auroc, budgets, controls, matrix, nulls, record, sweep
from lipbench_linear_map.reports.sanity import sanity

from lipbench.api import Record


def test_plausible_records_do_not_contradict_each_other() -> None:
    assert list(sanity([*matrix((0, 1)), *controls((0, 1)), *nulls(), *sweep(), *budgets()])) == []


def of(value: float, who: str, target: str = "cnn48", source: str = "cnn48", /, **changes: object) -> Record:
    return record("native_auroc", value, target, source, params={"of": who}, **changes)


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ([auroc(1.0)], [auroc(1.0 + 1e-9)], ["outside [0, 1]", "mlp64 to cnn48"]),
        ([record("tpr_at_fpr", 0.0)], [record("tpr_at_fpr", -0.1)], ["tpr_at_fpr is -0.1"]),
        (
            [auroc(0.9, "cnn48", "cnn48"), of(0.9, "target")],
            [auroc(0.9, "cnn48", "cnn48"), of(math.nextafter(0.9, 1), "target")],
            ["diagonal", "0.9000000000000001"],
        ),
        (
            [of(0.9, "target", "cnn48", "mlp64"), of(0.9, "source", "res32", "cnn48", map="ridge_cv")],
            [of(0.9, "target", "cnn48", "mlp64"), of(0.9 + 1e-9, "source", "res32", "cnn48", map="ridge_cv")],
            ["the same detector", "mlp64 to cnn48", "cnn48 to res32"],
        ),
        (
            [record("perturbation", 0.1, params={"norm": "linf"}, extras={"largest": 0.125 + 1e-7})],
            [record("perturbation", 0.1, params={"norm": "linf"}, extras={"largest": 0.1251})],
            ["leaves the budget eps = 0.125"],
        ),
        (
            [
                record("map_mse", 0.25, params={"per": "element"}, extras={"width": 48}),
                record("map_mse", 12.0 * (1 + 1e-12), params={"per": "vector"}, extras={"width": 48}),
            ],
            [
                record("map_mse", 0.25, params={"per": "element"}, extras={"width": 48}),
                record("map_mse", 12.0001, params={"per": "vector"}, extras={"width": 48}),
            ],
            ["times 48 is 12.0"],
        ),
        (
            [auroc(0.8), of(0.9, "source", "cnn48", "mlp64"), record("transfer_gap", -0.1)],
            [auroc(0.8), of(0.9, "source", "cnn48", "mlp64"), record("transfer_gap", 0.1)],
            ["transfer_gap is 0.1"],
        ),
    ],
)
def test_each_contradiction_is_one_sentence(good: list[Record], bad: list[Record], words: list[str]) -> None:
    assert list(sanity(good)) == []
    (sentence,) = sanity(bad)
    assert all(word in sentence for word in words)
    assert len(list(sanity(bad[::-1]))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"attack": {"eps": None}},
        {"attack": {"eps_space": "normalised"}},
        {"task": {"quantise": 16}},
        {"params": {"norm": "l2"}},
    ],
)
def test_a_budget_binds_only_what_it_is_about(changes: dict[str, dict[str, object]]) -> None:
    wide = {"params": {"norm": "linf"}, "extras": {"largest": 0.5}}
    assert len(list(sanity([record("perturbation", 0.1, **wide)]))) == 1
    assert list(sanity([record("perturbation", 0.1, **{**wide, **changes})])) == []


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"attack": {"eps": 0.5}}, {"feature": "mfs"}, {"task": {"C": 2.0}}, {"data": "mnist"}, {"device": "cuda:0"}],
)
def test_own_detectors_of_other_seeds_attacks_or_features_may_differ(changes: dict[str, object]) -> None:
    assert list(sanity([of(0.9, "target"), of(0.8, "target", **changes)])) == []
    assert len(list(sanity([of(0.9, "target"), of(0.8, "target", task={"map_fit": "clean"})]))) == 1
