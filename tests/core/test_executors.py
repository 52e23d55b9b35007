# SPDX-License-Identifier: Apache-2.0
"""Executors as plugins: declared by a hook, chosen by name, given works and asked for events."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cli
from execution_cases import work

from lipbench.api import Resources, Work
from lipbench.execution.hands import Prepared

Suite = Callable[..., Path]

HERE = """
from pathlib import Path
from lipbench.api import Event, Executor, ExecutorDeclaration, LipbenchError, Worker, hookimpl

class Here(Executor):
    "Runs works one by one in the process that asks, with the function that remote workers use."
    @classmethod
    def device_class(cls, device, address):
        if address != "desk":
            raise LipbenchError(f"--address {address}: write --address desk")
        return "cpu"
    def execute(self, works, emit):
        worker = Worker(artifacts=self.setup.artifacts, device="cpu", cpus=1, places=self.setup.places)
        for work in works:
            emit(Event(kind="started", work=work, data={"device": "cpu"}))
            said = []
            worker.do(work.message(), said.append)
            assert said[-1]["say"] == "done"
            for message in said:
                assert message.pop("work") == work.id
                if message.pop("say") == "cell":
                    emit(Event(kind="cell", work=work, data={**message, "device": "cpu"}))
            emit(Event(kind="finished", work=work))

@hookimpl
def lipbench_executors():
    yield ExecutorDeclaration(name="here", factory=f"{__name__}:Here", summary="in this process")
    yield ExecutorDeclaration(name="gone", factory=f"{__name__}:Gone", summary="not there")
    yield ExecutorDeclaration(name="wrong", factory=f"{__name__}:Path", summary="no executor")
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    path = tmp_path / f"here_{tmp_path.name}.py"
    path.write_text(HERE)
    return path


def test_an_executor_of_a_plugin_gives_the_values_of_the_local_one(
    cli: Cli, suite: Suite, toy: Path, here: Path, tmp_path: Path
) -> None:
    path = suite(matrix=f"{{model: [fixed, {{use: learned, trace: {tmp_path}}}], data: numbers}}")
    words = ["run", path, "--plugin", toy, "--plugin", here, "--results"]
    found = []
    for name, options in (("own", ["--executor", "here", "--address", "desk"]), ("local", [])):
        done = cli(*words, tmp_path / name, *options)
        assert done.code == 0, done.err
        lines = (tmp_path / name / "toys" / "records.jsonl").read_text().splitlines()
        found.append({json.loads(line)["cell"]: json.loads(line)["value"] for line in lines})
    assert len(found[0]) == 4
    assert found[0] == found[1]


def test_executors_are_listed_with_their_plugin(cli: Cli, here: Path) -> None:
    rows = [json.loads(line) for line in cli("list", "executors", "--plugin", here, "--json").out.splitlines()]
    found = {row["name"]: row["plugin"] for row in rows}
    assert found["local"] == "core"
    assert found["here"] == here.stem


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        (2, ["--executor", "her"], "there is no executor 'her'; did you mean 'here'?"),
        (1, ["--executor", "gone"], "executor 'gone' of plugin"),
        (1, ["--executor", "wrong"], "is no subclass of lipbench.api.Executor"),
        (2, ["--executor", "here"], "--address None: write --address desk"),
        (2, ["--address", "desk"], "executor 'local' runs on this machine alone"),
    ],
)
def test_a_wrong_executor_is_one_line(
    cli: Cli, suite: Suite, toy: Path, here: Path, tmp_path: Path, code: int, options: list[str], said: str
) -> None:
    for command in ("run", "plan"):
        done = cli(command, suite(), "--plugin", toy, "--plugin", here, "--results", tmp_path / "out", *options)
        assert done.code == code
        assert said in done.err
        assert len(done.err.strip().splitlines()) == 1


def test_a_spare_worker_suits_only_works_that_would_load_all_that_it_has_loaded() -> None:
    def job(*names: str, cpus: int = 1) -> Work:
        uses = {name: {"name": name, "factory": f"module:{name}", "params": {}} for name in names}
        return replace(work("job", resources=Resources(cpus=cpus)), payload={"job": {"roles": uses}})

    spare = Prepared(cpus=1, factories=frozenset({"module:task", "module:metric"}))
    assert spare.suits(job("task", "metric", "model"))
    assert not spare.suits(job("task", "model"))
    assert not spare.suits(job("task", "metric", cpus=2))
