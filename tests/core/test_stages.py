# SPDX-License-Identifier: Apache-2.0
"""Stages of a task: what jobs share is computed once, stored, found again, and never taken for something else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import Cli

from lipbench.api import Context, Dataset, Method, Model, Stage, Task
from lipbench.contract.errors import PluginError
from lipbench.signature import describe

STAGED = Path(__file__).parents[1] / "toys" / "staged.py"


class Case:
    """A suite of three models in all ordered pairs."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.cli, self.folder, self.tally = cli, folder, folder / "tally"
        self.results = folder / "results"

    def run(self, *words: str, task: str = "pairs", metrics: str = "[dot]", models: str = "[1, 2, 3]", seeds: int = 1) -> int:
        uses = ", ".join(
            f"{{use: factor, scale: {s}, broken: {'true' if s == '9' else 'false'}, tally: '{self.tally}', as: 'f{s}'}}"
            for s in models.strip("[]").split(", ")
        )
        (self.folder / "suite.yaml").write_text(
            f"lipbench: 1\nsuite: staged\ntask: {task}\nmatrix: {{left: [{uses}], right: [{uses}], data: rows}}\n"
            f"metrics: {metrics}\nseeds: {seeds}\n"
        )
        self.done = self.cli("run", self.folder / "suite.yaml", "--plugin", STAGED, "--results", self.results, *words)
        return self.done.code

    def counted(self) -> Counter[str]:
        lines = self.tally.read_text().splitlines() if self.tally.exists() else []
        self.tally.unlink(missing_ok=True)
        return Counter(lines)

    def values(self) -> dict[tuple[str, str, int], float]:
        lines = (self.results / "staged" / "records.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        return {(r["roles"]["left"], r["roles"]["right"], r["seed"]): r["value"] for r in found if r["status"] == "ok"}


@pytest.fixture
def case(cli: Cli, tmp_path: Path) -> Case:
    return Case(cli, tmp_path)


def test_every_model_is_fitted_and_viewed_once_for_all_pairs(case: Case) -> None:
    assert case.run(seeds=2) == 0, case.done.err
    assert len(case.values()) == 18
    expected = {f"fit {s}": 2 for s in (1, 2, 3)} | {f"view {s} 0 1 {seed}": 1 for s in (1, 2, 3) for seed in (0, 1)}
    assert case.counted() == expected


def test_values_do_not_depend_on_workers_or_on_what_is_stored(case: Case) -> None:
    case.run("--workers", "1")
    first = case.values()
    for artifact in (case.results / "artifacts").glob("*"):
        artifact.unlink()
    (case.results / "staged" / "records.jsonl").unlink()
    case.run("--workers", "2")
    assert case.values() == first
    (case.results / "staged" / "records.jsonl").unlink()
    case.counted()
    case.run()
    assert case.values() == first
    assert case.counted() == {}


def test_a_parameter_that_the_stage_does_not_read_shares_it_and_another_does_not(case: Case) -> None:
    case.run()
    case.counted()
    before = case.values()
    assert case.run(task="{use: pairs, weight: 2}") == 0, case.done.err
    assert case.counted() == {}
    assert case.values() == {k: pytest.approx(2 * v) for k, v in before.items()}
    case.run(task="{use: pairs, offset: 5}")
    assert case.counted() == {f"view {s} 5 1 0": 1 for s in (1, 2, 3)}


def test_a_parameter_chooses_between_stages(case: Case) -> None:
    assert case.run(task="{use: pairs, mirrored: true}") == 0, case.done.err
    values = case.values()
    assert values["f1", "f1", 0] == values["f1", "f2", 0] == values["f1", "f3", 0]


def test_a_lost_or_damaged_stage_is_made_again(case: Case) -> None:
    case.run()
    first = case.values()
    stored = sorted((case.results / "artifacts").glob("*.safetensors"))
    for path in stored:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    (case.results / "staged" / "records.jsonl").unlink()
    assert case.run() == 0, case.done.err
    assert case.values() == first


def test_a_failed_fit_fails_the_stages_and_jobs_behind_it_and_no_other(case: Case) -> None:
    assert case.run(models="[1, 9]") == 1
    assert set(case.values()) == {("f1", "f1", 0)}
    lines = (case.results / "staged" / "records.jsonl").read_text().splitlines()
    failed = [json.loads(line) for line in lines if json.loads(line)["status"] != "ok"]
    assert len(failed) == 3
    assert all("this model cannot be fitted" in r["error"]["message"] for r in failed)


@pytest.mark.parametrize("metric", ["spoil", "spoil_inner"])
def test_a_metric_that_writes_into_what_others_read_fails_and_they_read_the_true_one(case: Case, metric: str) -> None:
    case.run()
    clean = case.values()
    (case.results / "staged" / "records.jsonl").unlink()
    assert case.run("--workers", "1", metrics=f"[{metric}, dot]") == 1
    assert case.values() == clean
    assert "changed its evidence" in case.done.err


def test_a_metric_may_leave_something_for_others_to_share(case: Case) -> None:
    assert case.run(metrics="[remember, dot]") == 0, case.done.err


def test_the_plan_names_what_is_shared(case: Case) -> None:
    case.run("--select", "left=f1", "--select", "right=f1")
    plan = case.cli("plan", case.folder / "suite.yaml", "--plugin", STAGED, "--results", case.results)
    assert "view · f2 · rows · seed 0" in plan.out
    assert "4 of 6 shared steps to compute" in plan.out


def test_the_plan_counts_what_this_run_would_make(case: Case) -> None:
    case.run()
    for artifact in (case.results / "artifacts").iterdir():
        artifact.unlink()
    words = [case.folder / "suite.yaml", "--plugin", STAGED, "--results", case.results]
    # Fits and steps are gone, but nothing needs them any more.
    done = case.cli("plan", *words)
    assert done.out.endswith("0 to run (+), 9 done (=); 0 of 3 models to fit, 0 of 6 shared steps to compute; device cpu\n")
    assert not any(line.startswith(("fit", "view")) for line in done.out.splitlines())
    records = case.results / "staged" / "records.jsonl"
    records.write_text("".join(records.read_text().splitlines(keepends=True)[1:]))
    lost = case.cli("plan", *words).out.splitlines()[-1]
    assert "1 to run (+), 8 done (=); " in lost
    assert "0 of 3 models" not in lost
    assert "3 of 3 models" not in lost


class _Role(Method):
    pass


class _Net(Model):
    def build(self, spec: object, ctx: Context) -> None:
        pass


class _Base(Task):
    def __init__(self, *, size: int = 1) -> None:
        self.size = size

    def part(self, thing: _Role, ctx: Context) -> dict[str, object]:
        return {}

    def evidence(self, thing: _Role, data: Dataset, shared: object, ctx: Context) -> Case:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ({"other": Stage(method="part", inputs={"thing": "thing"})}, "evidence does not take stage 'other'"),
        ({"shared": Stage(method="parts", inputs={"thing": "thing"})}, "names method 'parts', which does not exist"),
        ({"shared": Stage(method="part", inputs={"thing": "thing", "x": "data"})}, "part must take ctx, thing, x"),
        ({"shared": Stage(method="part", inputs={"thing": "later"})}, "reads 'later', which is neither a role nor a stage"),
        (
            {"shared": Stage(method="part", inputs={"thing": "thing"}, params=("siz",))},
            "parameter 'siz', which the task does not",
        ),
        ({"shared": Stage(method="part", inputs={"thing": "thing"}, only={"big": (True,)})}, "parameter 'big'"),
    ],
)
def test_a_stage_that_cannot_work_is_refused_with_its_name(stages: dict[str, Stage], words: str) -> None:
    wrong = type("_Wrong", (_Base,), {"stages": stages, "__module__": __name__})
    with pytest.raises(PluginError, match=words):
        describe("task", wrong)
