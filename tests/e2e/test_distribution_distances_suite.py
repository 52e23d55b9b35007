# SPDX-License-Identifier: Apache-2.0
"""The suite distribution_distances as a user runs it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from conftest import Cli

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "suites" / "distribution_distances.yaml"
SMALL = """
lipbench: 1
suite: small
task: distribution_distance
matrix:
  pair: [marron, {use: equal_gram, d: 3, as: equal Gram}]
  distance: [gram_loss, gaussian_w2, wasserstein, {use: sliced_wasserstein, projections: 10, as: sliced}]
metrics:
  - {use: separation, rows: 30, repeats: 6, as: AUROC}
  - {use: axiom_violations, rows: 10, rounds: 5, as: triangle}
  - {use: matching, rows: 20, steps: 10, as: matching}
seeds: 2
leaderboard: {rank: none}
"""


def records(results: Path, suite: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (results / suite / "records.jsonl").read_text().splitlines()]


def test_the_suite_is_valid(cli: Cli) -> None:
    done = cli("validate", SUITE)
    assert done.code == 0, done.err
    assert [line.partition(": ok")[0].rpartition("/")[2] for line in done.out.splitlines()] == [
        "distribution_distances.yaml", *(f"distribution_distances.yaml (profile {name})" for name in ("quick", "large", "paper")),
    ]  # fmt: skip


def test_a_small_suite_runs_and_values_do_not_depend_on_the_workers(cli: Cli, tmp_path: Path) -> None:
    suite = tmp_path / "small.yaml"
    suite.write_text(SMALL)
    found = []
    for workers in ("1", "2"):
        words = ["run", suite, "--results", tmp_path / workers, "--device", "cpu", "--no-plots", "--workers", workers]
        done = cli(*words)
        assert done.code == 0, done.err
        made = records(tmp_path / workers, "small")
        assert Counter((r["status"], r["metric"]) for r in made) == {("ok", m): 16 for m in ("AUROC", "triangle", "matching")}
        found.append({r["cell"]: (r["value"], r["interval"], r["extras"]) for r in made})
        assert f"0 cells computed, {len(made)} reused, 0 failed" in cli(*words).out
    assert found[0] == found[1]
    other = {(r["roles"]["pair"], r["roles"]["distance"], r["metric"], r["seed"]): r["value"] for r in made}
    assert other["marron", "gaussian_w2", "matching", 0] != other["marron", "gaussian_w2", "matching", 1]


def test_the_source_block_meets_the_printed_numbers(cli: Cli, tmp_path: Path) -> None:
    done = cli("run", SUITE, "--results", tmp_path, "--device", "cpu", "--no-plots", "--select", "block=source")
    assert done.code == 0, done.err
    values = {(r["roles"]["pair"], r["roles"]["distance"]): r["value"] for r in records(tmp_path, "distribution_distances")}
    assert len(values) == 24
    assert abs(values["X, Y", "Gaussian W2 published"] - 1.5135220191046239) < 1e-9
    assert abs(values["X, Y", "Gaussian W2"] - 1.513521898094788) < 1e-10
    board = (tmp_path / "distribution_distances" / "leaderboard.md").read_text()
    assert "| W2 of X and Y (distance: Gaussian W2) | 1.513522019104624 feature unit" in board


def test_a_metric_that_cannot_read_a_pair_fails_in_one_sentence(cli: Cli, tmp_path: Path) -> None:
    suite = tmp_path / "small.yaml"
    suite.write_text(
        SMALL.replace("{use: matching, rows: 20, steps: 10, as: matching}", "style_transfer").replace("seeds: 2", "seeds: 1")
    )
    done = cli("run", suite, "--results", tmp_path, "--device", "cpu", "--no-plots", "--select", "metric=style_transfer")
    assert done.code == 1
    for record in records(tmp_path, "small"):
        assert record["error"] == {"class": "invalid", "message": "a style transfer needs photographs; write pair: photographs"}


def test_a_wrong_parameter_is_named_with_its_line(cli: Cli, tmp_path: Path) -> None:
    suite = tmp_path / "small.yaml"
    suite.write_text(SMALL.replace("projections: 10", "projections: 0"))
    done = cli("validate", suite)
    assert done.code == 2
    assert "small.yaml:7" in done.err + done.out
    assert "projections" in done.err + done.out
