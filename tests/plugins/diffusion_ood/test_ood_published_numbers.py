# SPDX-License-Identifier: Apache-2.0
"""The reference file of the suite diffusion_ood: complete, consistent with itself, and comparable with what the suite measures."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lipbench_basics.statistics import hanley_mcneil
from lipbench_diffusion_ood.metrics import OODAuroc
from ood_cases import CTX, evidence
from scipy.stats import rankdata

from lipbench.contract.values import Record
from lipbench.leaderboard.grid import plan_from
from lipbench.leaderboard.references import reference_table
from lipbench.suite.references import load_references

FILE = Path(__file__).parents[3] / "suites" / "references" / "diffusion_ood.yaml"
MEAN = "mean over pairs"
COLOUR, GREY = ("cifar10", "cifar100", "svhn"), ("mnist", "kmnist", "fashion_mnist")
PAIRS = [(a, b) for group in (COLOUR, GREY) for a in group for b in group if a != b]
DETECTORS = [
    "likelihood", "input_complexity", "likelihood_regret", "pretrained_mahalanobis", "ae_mse", "ae_mahalanobis", "anogan", "lmd",
]  # fmt: skip
MASKS = ["checkerboard 4", "checkerboard 8", "checkerboard 16", "fixed 8", "center", "random patch"]
DISTANCES = ["lmd mse", "lmd ssim", "lmd", "lmd simclr"]
LIFTS = ["denoise 0.25", "denoise 0.5", "denoise 0.75", "checkerboard 8"]
# Which role tells the columns of a table apart, and their labels in the order in which they are printed.
COLUMNS = {"Table 1": ("detector", DETECTORS), "Table 3": ("detector", DISTANCES), "Table 4": ("lift", LIFTS)}
Published = dict[str, Any]


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return load_references(FILE)


@pytest.fixture(scope="module")
def entries(reference: dict[str, Any]) -> list[Published]:
    return reference["entries"]


def of(entries: list[Published], table: str, average: bool = False) -> list[Published]:
    """Numbers of a table, the averages in its last row apart."""
    found = [e for e in entries if e["note"].startswith(f"{table} ")]
    return [e for e in found if (e["where"]["in_dist"] == MEAN) == average]


def grid(entries: list[Published], table: str) -> np.ndarray:
    """Values by pair and column."""
    role, columns = COLUMNS[table]
    found = {(e["where"]["in_dist"], e["where"]["out_dist"], e["where"][role]): e["value"] for e in of(entries, table)}
    return np.array([[found[*pair, column] for column in columns] for pair in PAIRS])


def averages(entries: list[Published], table: str) -> list[float]:
    role, columns = COLUMNS[table]
    found = {e["where"][role]: e["value"] for e in of(entries, table, average=True)}
    return [found[column] for column in columns]


def test_every_table_is_complete(reference: dict[str, Any], entries: list[Published]) -> None:
    assert "10.3389/frai.2024.1255566" in reference["citation"]
    assert Counter((e["note"].partition(" ")[0], e["note"][6], e["where"]["in_dist"] == MEAN) for e in entries) == {
        ("Table", "1", False): 12 * 8, ("Table", "2", False): 6 * 3, ("Table", "3", False): 12 * 4, ("Table", "4", False): 12 * 4,
        ("Table", "1", True): 8, ("Table", "3", True): 4, ("Table", "4", True): 4,
    }  # fmt: skip


@pytest.mark.parametrize("table", COLUMNS)
def test_every_pair_and_column_stands_once(entries: list[Published], table: str) -> None:
    role, columns = COLUMNS[table]
    found = Counter((e["where"]["in_dist"], e["where"]["out_dist"], e["where"][role]) for e in of(entries, table))
    assert found == {(*pair, column): 1 for pair in PAIRS for column in columns}
    assert {e["where"][role] for e in of(entries, table, average=True)} == set(columns)


def test_every_mask_stands_once_for_three_pairs(entries: list[Published]) -> None:
    found = Counter((e["where"]["in_dist"], e["where"]["out_dist"], e["where"]["lift"]) for e in of(entries, "Table 2"))
    pairs = [("cifar10", "cifar100"), ("cifar10", "svhn"), ("mnist", "kmnist")]
    assert found == {(*pair, mask): 1 for pair in pairs for mask in MASKS}


def test_no_two_numbers_have_one_name_and_repeated_ones_agree(entries: list[Published]) -> None:
    assert len({(e["quantity"], e["note"]) for e in entries}) == len(entries)
    values = defaultdict(list)
    for entry in entries:
        values[json.dumps(entry["where"], sort_keys=True)].append(entry["value"])
    # The default stands in table 1 and again in 3 and 4 for each pair and the average, in table 2 for three pairs.
    assert Counter(map(len, values.values())) == {1: len(entries) - 3 * 13 - 3, 3: 10, 4: 3}
    assert all(len(set(found)) == 1 for found in values.values())


def test_places_are_written_in_the_labels_of_the_suite(entries: list[Published]) -> None:
    for entry in entries:
        where, named = entry["where"], re.fullmatch(r"Table [1-4] (?:(\w+) vs (\w+)|Average)", entry["note"])
        assert named
        assert where["metric"] == "auroc"
        assert entry["unit"] == OODAuroc().compute(evidence(), CTX).unit
        assert 0 <= entry["value"] <= 1
        assert where["detector"] in {*DETECTORS, *DISTANCES}
        # Reconstructions are what only LMD reads.
        assert ("lift" in where) == where["detector"].startswith("lmd")
        assert where.get("lift", "center") in {*MASKS, *LIFTS}
        if where["in_dist"] != MEAN:
            printed = tuple(name.lower().replace("fashion", "fashion_") for name in named.groups())
            assert (where["in_dist"], where["out_dist"]) == printed
            assert printed in PAIRS


@pytest.mark.parametrize("table", COLUMNS)
def test_printed_averages_are_those_of_the_rows_but_for_one(entries: list[Published], table: str) -> None:
    means, printed = grid(entries, table).mean(0), averages(entries, table)
    wrong = [COLUMNS[table][1][i] for i, (a, b) in enumerate(zip(means, printed, strict=True)) if abs(a - b) > 0.0005 + 1e-9]
    assert wrong == (["likelihood_regret"] if table == "Table 1" else [])
    if wrong:
        assert means[DETECTORS.index(wrong[0])] == pytest.approx(0.784, abs=0.0005)
        (entry,) = [e for e in of(entries, table, average=True) if e["where"]["detector"] == wrong[0]]
        assert ".784" in entry["verdict"]


def test_means_of_masks(entries: list[Published]) -> None:
    means = [np.mean([e["value"] for e in of(entries, "Table 2") if e["where"]["lift"] == mask]) for mask in MASKS]
    assert means == pytest.approx([0.835, 0.861, 0.858, 0.855, 0.676, 0.831], abs=0.0005 + 1e-9)


def test_ranks_wins_and_worst_pairs_of_detectors(entries: list[Published]) -> None:
    auroc = grid(entries, "Table 1")
    ranks = dict(zip(DETECTORS, rankdata(-auroc, axis=1).mean(0), strict=True))
    assert ranks == pytest.approx(
        {
            "lmd": 2.96, "pretrained_mahalanobis": 3.62, "input_complexity": 4.00, "likelihood_regret": 4.54,
            "ae_mahalanobis": 4.75, "ae_mse": 4.79, "likelihood": 5.67, "anogan": 5.67,
        },
        abs=0.0051,
    )  # fmt: skip
    assert int((auroc.argmax(1) == DETECTORS.index("lmd")).sum()) == 5
    assert dict(zip(DETECTORS, auroc.min(0), strict=True)) == pytest.approx(
        {
            "lmd": 0.568, "pretrained_mahalanobis": 0.543, "input_complexity": 0.468, "likelihood_regret": 0.431,
            "ae_mahalanobis": 0.073, "ae_mse": 0.025, "likelihood": 0.152, "anogan": 0.120,
        }
    )  # fmt: skip


def test_gains_that_the_text_claims_are_relative(entries: list[Published]) -> None:
    auroc = dict(zip(DETECTORS, grid(entries, "Table 1")[PAIRS.index(("cifar100", "svhn"))], strict=True))
    assert auroc["lmd"] / auroc["likelihood_regret"] == pytest.approx(1.10, abs=0.005)
    assert auroc["lmd"] - auroc["likelihood_regret"] == pytest.approx(0.089)
    mean = dict(zip(DETECTORS, averages(entries, "Table 1"), strict=True))
    assert mean["lmd"] / mean["input_complexity"] == pytest.approx(1.09, abs=0.005)
    assert mean["lmd"] - mean["input_complexity"] == pytest.approx(0.074)
    for words in ("8.9 points", "7.4 points"):
        (entry,) = [e for e in entries if words in e["verdict"]]
        assert entry["where"]["detector"] == "lmd"


def test_what_verdicts_say_of_masks_levels_and_distances(entries: list[Published]) -> None:
    table = {e["where"]["lift"]: e for e in of(entries, "Table 2") if e["where"]["in_dist"] == "mnist"}
    assert table["checkerboard 16"]["value"] > table["checkerboard 8"]["value"] == 0.984
    assert ".984" in table["checkerboard 16"]["verdict"]
    levels = grid(entries, "Table 4")
    assert int((levels[:, 1] > levels[:, 3]).sum()) == 4
    below = [e for e in entries if "pixel errors" in e["verdict"]]
    assert below
    assert all(e["value"] < 0.5 for e in below)
    assert hanley_mcneil(0.6, 10_000, 10_000) == pytest.approx(0.004, abs=0.0005)
    assert hanley_mcneil(0.992, 10_000, 10_000) == pytest.approx(0.0006, abs=0.00005)


def test_each_number_meets_the_record_that_measures_the_same(reference: dict[str, Any], entries: list[Published]) -> None:
    """Records that reproduce the source make a table without any difference; an average over pairs fits none of them."""
    records: dict[str, Record] = {}
    for entry in entries:
        roles = {"lift": "no_lift"} | {k: v for k, v in entry["where"].items() if k != "metric"}
        cell = json.dumps(roles, sort_keys=True)
        records[cell] = Record(
            cell=cell, suite="diffusion_ood", task="ood_detection", roles=roles, params={}, seed=0, uses={}, code={}, data={},
            metric="auroc", status="ok", value=entry["value"], unit="AUROC", extras={},
        )  # fmt: skip
    measured = [r for r in records.values() if r.roles["in_dist"] != MEAN]
    table = reference_table(plan_from(measured) | {"reference": reference}, measured)
    assert table is not None
    single = [e for e in entries if e["where"]["in_dist"] != MEAN]
    for row, entry in zip(table.rows, single, strict=True):
        _, published, ours, difference, *_ = row
        assert (published.value, ours.value, difference.value) == (entry["value"], entry["value"], 0)
