# SPDX-License-Identifier: Apache-2.0
"""Models of which each use picks a part: one fit serves all parts and seeds, and each job gets its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cli

from lipbench.api import DataSpec, Model
from lipbench.contract.context import Context
from lipbench.contract.errors import PluginError
from lipbench.signature import describe

PICKED = Path(__file__).parents[1] / "toys" / "picked.py"


def suite(folder: Path, seeds: str = "2") -> Path:
    uses = ", ".join(f"{{use: parts, part: {i}, tally: '{folder / 'tally'}', as: part {i}}}" for i in range(3))
    path = folder / "suite.yaml"
    path.write_text(
        f"lipbench: 1\nsuite: picked\ntask: show\nmatrix: {{model: [{uses}], data: noise}}\nmetrics: [ratio]\nseeds: {seeds}\n"
    )
    return path


def values(folder: Path) -> dict[tuple[str, int], float]:
    lines = [json.loads(line) for line in (folder / "results" / "picked" / "records.jsonl").read_text().splitlines()]
    return {(r["roles"]["model"], r["seed"]): r["value"] for r in lines if r["status"] == "ok"}


def test_parts_and_seeds_share_a_fit_and_each_job_reads_its_own(cli: Cli, tmp_path: Path) -> None:
    words = [suite(tmp_path), "--plugin", PICKED, "--results", tmp_path / "results"]
    assert "1 of 1 models to fit" in cli("plan", *words).out
    assert cli("run", *words).code == 0
    expected = {(f"part {i}", seed): pytest.approx(10.0**i, rel=1e-6) for i in range(3) for seed in (0, 1)}
    assert values(tmp_path) == expected
    assert (tmp_path / "tally").read_text() == "part 0 seed 0\n"

    # A lost fit is made again, by whichever job needs it, and is the same.
    for artifact in (tmp_path / "results" / "artifacts").glob("*"):
        artifact.write_bytes(b"")
    (tmp_path / "results" / "picked" / "records.jsonl").unlink()
    assert cli("run", *words).code == 0
    assert values(tmp_path) == expected
    assert set((tmp_path / "tally").read_text().splitlines()) == {"part 0 seed 0"}


def test_a_seed_that_the_fit_does_not_have_costs_its_jobs_alone(cli: Cli, tmp_path: Path) -> None:
    done = cli("run", suite(tmp_path, "[1, 2]"), "--plugin", PICKED, "--results", tmp_path / "results")
    assert done.code == 1
    assert {seed for _, seed in values(tmp_path)} == {1}


class _Model(Model):
    def __init__(self, *, part: int = 0, needed: int) -> None:
        pass

    def build(self, spec: DataSpec, ctx: Context) -> None:
        pass


class _Seed(Model):
    picks = ("seed",)

    def __init__(self, *, seed: int = 0) -> None:
        pass

    def build(self, spec: DataSpec, ctx: Context) -> None:
        pass


def test_what_cannot_be_picked_is_refused() -> None:
    for picks, words in (
        (("other",), "no parameter with a default"),
        (("needed",), "no parameter with a default"),
        ("part", "tuple"),
    ):
        broken = type("Broken", (_Model,), {"picks": picks})
        with pytest.raises(PluginError, match=words):
            describe("model", broken)
    with pytest.raises(PluginError, match="that of the job"):
        describe("model", _Seed)
