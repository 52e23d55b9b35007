# SPDX-License-Identifier: Apache-2.0
"""The reference file of the suite linear_map: complete, consistent with itself, and comparable with what the metrics return."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lipbench_linear_map.evidence import Images, MappedEmbeddings, Prediction, Scores
from lipbench_linear_map.metrics.controls import Perturbation
from lipbench_linear_map.metrics.detection import Auroc, SvmAccuracy
from lipbench_linear_map.metrics.mapping import HeadAccuracy, MapMse

from lipbench.api import Context, Metric
from lipbench.contract.values import Record
from lipbench.leaderboard.grid import plan_from
from lipbench.leaderboard.references import reference_table
from lipbench.suite.references import load_references

FILE = Path(__file__).parents[3] / "suites" / "references" / "linear_map.yaml"
MEAN = "mean over sources"
CIFAR = ["efficientnet_b0", "resnet18", "vgg19", "mobilenet_v2", "googlenet"]
IMAGENET = ["resnet50", "resnet101", "resnet152", "vgg19", "inception_v3", "vit"]
NETWORKS = {"mnist": ["cnn", "ffnn"], "cifar10": CIFAR, "imagenet": IMAGENET}
ATTACKS = ["fgsm", "pgd", "damagenet", "cw_l2"]
METRICS: dict[str, Metric] = {
    "auroc": Auroc(),
    "mse_elem": MapMse(),
    "svm_accuracy": SvmAccuracy(),
    "head_accuracy": HeadAccuracy(),
    "perturbation_mse": Perturbation(norm="mse"),
}
Published = dict[str, Any]


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return load_references(FILE)


@pytest.fixture(scope="module")
def entries(reference: dict[str, Any]) -> list[Published]:
    return reference["entries"]


def place(entry: Published) -> str:
    """Table or section of an entry."""
    return re.findall(r"^(?:text on )?(?:Table|section) [\d.]+", entry["note"])[0]


def of(entries: list[Published], name: str) -> list[Published]:
    return [e for e in entries if place(e) == name]


def grid(entries: list[Published]) -> np.ndarray:
    """Values by target (row) and source (column) of CIFAR-10."""
    found = {(e["where"]["target"], e["where"]["source"]): e["value"] for e in entries}
    return np.array([[found[target, source] for source in CIFAR] for target in CIFAR])


def one(entries: list[Published], **where: str) -> Published:
    (found,) = [e for e in entries if where.items() <= e["where"].items()]
    return found


def test_every_table_is_complete(reference: dict[str, Any], entries: list[Published]) -> None:
    assert "10.3389/fcomp.2023.1274832" in reference["citation"]
    assert Counter(map(place, entries)) == {
        "Table 1": 26, "section 5.1": 4, "Table 2": 25, "Table 3": 25, "Table 4": 20, "Table 5": 24, "Table 6": 24,
        "Table 7": 14, "text on Table 7": 2, "Table 8": 48, "Table 9": 48, "section 6": 4,
    }  # fmt: skip


def test_no_two_numbers_claim_the_same_place(entries: list[Published]) -> None:
    assert len({json.dumps([e["where"], e["extra"]], sort_keys=True) for e in entries}) == len(entries)
    assert len({(e["quantity"], e["note"]) for e in entries}) == len(entries)


def test_places_are_written_in_the_labels_of_the_suite(entries: list[Published]) -> None:
    for where in (e["where"] for e in entries):
        protocol = {"imagenet": ["map_fit", "negatives"], "mnist": ["quantise"]}.get(where["data"], [])
        assert list(where) == ["data", *protocol, "source", "target", "attack", "map", "feature", "metric"]
        assert where["target"] in NETWORKS[where["data"]]
        assert where["source"] in [*NETWORKS[where["data"]], MEAN]
        assert where["attack"] in (ATTACKS if where["data"] == "imagenet" else ["fgsm"])
        assert where["map"] == "ols"
        assert where["feature"] in ("embedding", "mfs", "pfs")
        assert where["metric"] in METRICS


@pytest.mark.parametrize("table", ["Table 2", "Table 3"])
def test_grids_have_every_pair_once(entries: list[Published], table: str) -> None:
    pairs = Counter((e["where"]["source"], e["where"]["target"]) for e in of(entries, table))
    assert pairs == {(source, target): 1 for source in CIFAR for target in CIFAR}


@pytest.mark.parametrize(
    ("table", "target", "sources", "features"),
    [
        ("Table 4", "resnet152", [n for n in IMAGENET if n != "resnet152"], ["embedding"]),
        ("Table 5", "resnet152", IMAGENET, ["embedding"]),
        ("Table 6", "vit", IMAGENET, ["embedding"]),
        ("Table 8", "resnet152", IMAGENET, ["mfs", "pfs"]),
        ("Table 9", "vit", IMAGENET, ["mfs", "pfs"]),
    ],
)
def test_imagenet_tables_have_every_source_attack_and_feature_once(
    entries: list[Published], table: str, target: str, sources: list[str], features: list[str]
) -> None:
    found = of(entries, table)
    assert {e["where"]["target"] for e in found} == {target}
    wanted = {(s, a, f): 1 for s in sources for a in ATTACKS for f in features}
    assert Counter((e["where"]["source"], e["where"]["attack"], e["where"]["feature"]) for e in found) == wanted


def test_the_error_of_a_network_mapped_to_itself_is_zero(entries: list[Published]) -> None:
    errors = grid(of(entries, "Table 2"))
    assert np.array_equal(errors == 0, np.eye(5, dtype=bool))


def test_the_source_explains_more_of_table_3_than_the_target(entries: list[Published]) -> None:
    auroc = grid(of(entries, "Table 3"))
    total = ((auroc - auroc.mean()) ** 2).sum()
    source, target = (5 * ((auroc.mean(axis) - auroc.mean()) ** 2).sum() / total for axis in (0, 1))
    assert source == pytest.approx(0.62, abs=0.005)
    assert target == pytest.approx(0.27, abs=0.005)


def test_mapped_auroc_follows_the_native_auroc_of_the_source(entries: list[Published]) -> None:
    auroc = grid(of(entries, "Table 3"))
    native = np.diag(auroc)
    mapped = np.where(np.eye(5, dtype=bool), np.nan, auroc)
    by_source, by_target = (np.corrcoef(np.nanmean(mapped, axis), native)[0, 1] for axis in (0, 1))
    assert by_source == pytest.approx(0.98, abs=0.005)
    assert by_target == pytest.approx(0.79, abs=0.005)


def test_table_7_repeats_the_accuracies_of_table_1(entries: list[Published]) -> None:
    own = [e for e in of(entries, "Table 7") if e["where"]["source"] == e["where"]["target"]]
    assert len(own) == 7
    attacked = [e for e in of(entries, "Table 1") if e["extra"] == "target_adversarial"]
    for entry in own:
        assert one(attacked, **entry["where"])["value"] == entry["value"]


@pytest.mark.parametrize(("target", "others"), [("resnet152", 0.612), ("vit", 0.562)])
def test_vgg19_alone_pulls_the_means_of_table_7_down(entries: list[Published], target: str, others: float) -> None:
    mean = one(of(entries, "Table 7"), source=MEAN, target=target)
    outlier = one(of(entries, "text on Table 7"), source="vgg19", target=target)
    own = one(of(entries, "Table 7"), source=target, target=target)
    without = (5 * mean["value"] - outlier["value"]) / 4
    assert without == pytest.approx(others, abs=0.0005)
    assert str(others) in mean["verdict"]
    assert without < own["value"]
    # Only the standard deviation of a population leaves room for that outlier.
    spread = float(mean["note"].split("+- ")[1].split()[0]) / 100
    least = (outlier["value"] - mean["value"]) ** 2 + 4 * (without - mean["value"]) ** 2
    assert 4 * spread**2 < least <= 5 * spread**2


def test_percentages_stand_as_the_fraction_that_was_printed(entries: list[Published]) -> None:
    printed = [(e, re.search(r"printed as ([\d.]+)( \+- [\d.]+)? %$", e["note"])) for e in entries]
    assert all((e["unit"] == "accuracy") == (found is not None) for e, found in printed)
    assert all(e["value"] == pytest.approx(float(found[1]) / 100, abs=1e-9) for e, found in printed if found)
    assert all(0 < e["value"] < 1 for e in entries if e["unit"] in ("accuracy", "AUROC"))


def test_doubtful_numbers_have_a_verdict(entries: list[Published]) -> None:
    same = [e for e in of(entries, "Table 8") if e["where"]["source"] == "inception_v3" and e["where"]["attack"] == "pgd"]
    assert [e["value"] for e in same] == [0.514, 0.514]
    assert all("copying error" in e["verdict"] for e in same)
    wide = [e for e in entries if (e["where"]["data"], e["where"]["source"]) == ("imagenet", "vgg19") and not e["extra"]]
    assert all(e["verdict"] for e in wide if e["where"]["target"] != "vgg19")
    assert all(e["verdict"] for e in [*of(entries, "section 5.1"), *of(entries, "section 6")])
    rows, columns = 2 * 50_000 // 3, 25_088
    assert 1 + columns / (rows - columns - 1) == pytest.approx(4, abs=0.05)
    assert 1 + (columns // 2 + 1) / (rows - columns // 2 - 2) == pytest.approx(1.6, abs=0.05)


@pytest.fixture(scope="module")
def evidence() -> MappedEmbeddings:
    """Six images of two classes, looked at by one network of two features."""
    generator = torch.Generator().manual_seed(0)
    scores = Scores(**{k: torch.randn(6, generator=generator).double() for k in ("clean", "adversarial", "noise")})
    z = torch.randn(6, 2, generator=generator).double()
    size = torch.rand(6, generator=generator).double()
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    images = Images(
        labels=labels, guess_clean=labels, guess_adversarial=z.argmax(1), linf=size, l2=size, mse=size,
        pixel=(size, size), zeros=(size, size),
    )  # fmt: skip
    return MappedEmbeddings(
        native=True, mapped=scores, native_target=scores, native_source=scores, direct=scores, source=images, target=images,
        negatives=scores.clean, rows=6, columns=2, live=2, evade=lambda weight, steps: pytest.fail("nobody attacks here"),
        prediction=Prediction(clean=z, adversarial=z, true_clean=z, true_adversarial=z, head=lambda found: found),
    )  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_units_and_extras_are_those_of_the_metrics(entries: list[Published], evidence: MappedEmbeddings, name: str) -> None:
    value = METRICS[name].compute(evidence, Context(scope="test", seed=0))
    mine = [e for e in entries if e["where"]["metric"] == name]
    assert {e["unit"] for e in mine} == {"unknown" if name == "perturbation_mse" else value.unit}
    assert {e["extra"] for e in mine if e["extra"]} <= set(value.extras)


def test_each_number_meets_the_one_record_that_measures_the_same(reference: dict[str, Any], entries: list[Published]) -> None:
    """Records that reproduce the source make a table without any difference; a mean over sources fits none of them."""
    records: dict[str, Record] = {}
    for entry in entries:
        roles = {k: v for k, v in entry["where"].items() if k != "metric"}
        cell = json.dumps(entry["where"])
        empty = Record(
            cell=cell, suite="linear_map", task="linear_map_detection", roles=roles, params={}, seed=0, uses={}, code={}, data={},
            metric=entry["where"]["metric"], status="ok", value=-1.0, unit=entry["unit"], extras={},
        )  # fmt: skip
        record = records.setdefault(cell, empty)
        number = {"extras": {**record.extras, entry["extra"]: entry["value"]}} if entry["extra"] else {"value": entry["value"]}
        records[cell] = Record.from_json(record.to_json() | number)
    measured = [r for r in records.values() if r.roles["source"] != MEAN]
    table = reference_table(plan_from(measured) | {"reference": reference}, measured)
    assert table is not None
    single = [e for e in entries if e["where"]["source"] != MEAN]
    assert len(entries) - len(single) == 7
    for row, entry in zip(table.rows, single, strict=True):
        _, published, ours, difference, *_ = row
        assert (published.value, ours.value, difference.value) == (entry["value"], entry["value"], 0)
