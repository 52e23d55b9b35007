# SPDX-License-Identifier: Apache-2.0
"""The Lipschitz suite as a user runs it, on the blocks whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "suites" / "lipschitz.yaml"
# Exact constants on [-1, 1]^2 of the three random networks, to the digits that are known.
EXACT = {"relu 2-8-2": 2.090107, "relu 2-16-2": 1.540327, "relu 2-10-10-2": 0.958382}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "lipschitz" / "records.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("profile", [None, "quick", "paper"])
def test_every_profile_is_valid(profile: str | None, cli: Cli) -> None:
    done = cli("validate", SUITE, *(["--profile", profile] if profile else []))
    assert done.code == 0, done.err


def test_known_answers_and_the_same_bits_whatever_the_workers(cli: Cli, tmp_path: Path) -> None:
    words = ["run", SUITE, "--profile", "quick", "--select", "block=planar", "--select", "block=textbook", "--device", "cpu"]
    one = cli(*words, "--results", tmp_path / "one", "--workers", "1")
    assert one.code == 0, one.err
    two = cli(*words, "--results", tmp_path / "two", "--workers", "2", "--no-plots")
    assert two.code == 0, two.err
    assert "0 cells computed" in cli(*words, "--results", tmp_path / "two", "--no-plots").out
    first = {r["cell"]: r for r in records(tmp_path / "one")}
    second = {r["cell"]: r for r in records(tmp_path / "two")}
    assert first.keys() == second.keys()
    for cell, record in first.items():
        assert {k: record[k] for k in ("value", "interval", "extras", "unranked")} == {
            k: second[cell][k] for k in ("value", "interval", "extras", "unranked")
        }, (record["roles"], record["metric"])
        assert record["cost"]["forwards"] == second[cell]["cost"]["forwards"]

    def value(network: str, metric: str) -> dict[str, Any]:
        return next(r for r in first.values() if r["roles"]["network"] == network and r["metric"] == metric)

    for network, exact in EXACT.items():
        assert value(network, "regions")["value"] == pytest.approx(exact, abs=1e-6)
        for record in (r for r in first.values() if r["roles"]["network"] == network):
            if record["extras"]["kind"] == "lower":
                assert record["value"] <= exact * (1 + 1e-6), record["metric"]
            if record["extras"]["kind"] == "upper":
                assert record["value"] >= exact * (1 - 1e-6), record["metric"]
    staircase = value("staircase", "line_search published")
    assert staircase["value"] > 30
    assert staircase["unranked"].startswith("rounding noise")
    assert value("staircase", "line_search")["value"] == pytest.approx(1.0, abs=1e-3)
    assert value("needle", "line_search")["value"] == pytest.approx(1.0, abs=1e-3)
    board = cli("leaderboard", tmp_path / "one", "--format", "json")
    assert board.code == 0
    titles = [table["title"] for table in json.loads(board.out)["tables"]]
    assert len(titles) >= 2
    assert list((tmp_path / "one" / "lipschitz" / "plots").glob("*.svg"))


def test_kinds_scopes_and_units_are_never_left_out(cli: Cli, tmp_path: Path) -> None:
    words = ["run", SUITE, "--profile", "quick", "--select", "block=noise", "--no-plots", "--device", "cpu"]
    assert cli(*words, "--results", tmp_path).code == 0
    for record in records(tmp_path):
        extras = record["extras"]
        assert extras["kind"] in ("lower", "upper", "exact", "estimate")
        assert extras["norm"] == "l2"
        assert extras["scope"] in ("global", "box", "ball")
        assert record["value"] == pytest.approx(255 * extras["raw"], rel=1e-12)
        assert record["unit"] == "output / [0,1] input"
        assert record["group"].startswith(extras["kind"])
    published = next(r for r in records(tmp_path) if r["metric"] == "line_search published")
    assert published["unranked"]
    assert published["extras"]["inflation"] > 10
    assert published["extras"]["k_cert"] < published["extras"]["k_raw"] / 10
