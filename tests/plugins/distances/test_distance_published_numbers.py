# SPDX-License-Identifier: Apache-2.0
"""The source's printed numbers: complete, consistent with each other, and met by cells of the suite."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from distance_cases import source

from lipbench.suite.references import load_references

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def entries() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = load_references(ROOT / "suites" / "references" / "distribution_distances.yaml")["entries"]
    return found


def printed(entries: list[dict[str, Any]], name: str) -> np.ndarray:
    """A printed Gram matrix."""
    found = {e["quantity"][-3:]: e["value"] for e in entries if e["quantity"].startswith(f"Gram matrix of {name}, entry")}
    return np.array([[found[f"{min(i, j)} {max(i, j)}"] for j in (1, 2, 3)] for i in (1, 2, 3)])


def value(entries: list[dict[str, Any]], quantity: str) -> float:
    (found,) = (e["value"] for e in entries if e["quantity"] == quantity)
    return float(found)


def test_printed_losses_are_those_of_the_printed_matrices(entries: list[dict[str, Any]]) -> None:
    loss = ((printed(entries, "X") - printed(entries, "Y")) ** 2).sum()
    assert value(entries, "Gatys loss of X and Y") == pytest.approx(loss, abs=1e-9)
    other = 9 * (value(entries, "Gram matrix of Z, all entries") - value(entries, "Gram matrix of W, all entries")) ** 2
    assert value(entries, "Gatys loss of W and Z") == pytest.approx(other, rel=2e-6)


@pytest.mark.parametrize("name", "XY")
def test_printed_matrices_are_samples_of_the_common_one(entries: list[dict[str, Any]], name: str) -> None:
    p = source(name)
    v, c, m = p.cov.diagonal().numpy(), p.cov.numpy(), p.mean.numpy()
    variance = np.outer(v, v) + c**2 + np.outer(m**2, v) + np.outer(v, m**2) + 2 * np.outer(m, m) * c
    error = np.abs(printed(entries, name) - p.gram.numpy())
    assert (error <= 4 * np.sqrt(variance / 10_000) + 1e-12).all()


def test_printed_costs_are_products_of_the_printed_sizes(entries: list[dict[str, Any]]) -> None:
    n = 224 * 224
    assert value(entries, "float32 distance matrix of two images in relu1_1, GB") == pytest.approx(
        64 * n**2 * 4 / 1e9, abs=0.05
    )
    assert value(entries, "exact transport given the matrix, 10^12 operations") == pytest.approx(n**3 / 1e12, abs=0.05)


def test_doubtful_numbers_have_a_verdict(entries: list[dict[str, Any]]) -> None:
    for quantity, words in (
        ("W2 of X and Y", "1.5135218981"),
        ("triples that violate the triangle inequality of squares", "not for its square"),
        ("float32 distance matrix of two images in relu1_1, GB", "10.07 GB"),
    ):
        (verdict,) = (e["verdict"] for e in entries if e["quantity"] == quantity)
        assert words in verdict


def test_every_number_meets_a_cell_of_the_suite(cli: Cli, entries: list[dict[str, Any]]) -> None:
    done = cli("plan", ROOT / "suites" / "distribution_distances.yaml", "--json", "--results", "none", "--device", "cpu")
    assert done.code == 0, done.err
    cells = [json.loads(line) for line in done.out.splitlines()]
    labels = {(*c["job"].split(" · ")[:2], c["metric"]) for c in cells}
    for entry in entries:
        where = entry["where"]
        names = [d for p, d, m in labels if p == where["pair"] and m == where["metric"]]
        assert any(fnmatchcase(name, where["distance"]) for name in names), entry["quantity"]
