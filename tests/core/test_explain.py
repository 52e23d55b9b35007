# SPDX-License-Identifier: Apache-2.0
"""`lipbench explain` names whatever makes an id another one, each thing alone and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli

from lipbench.execution import devices
from lipbench.execution.devices import Machine

Suite = Callable[..., Path]


class Explained:
    """A suite of one cell that is recorded, and what `explain` says of the cell that another one has."""

    def __init__(self, cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
        (tmp_path / "numbers.txt").write_text("1\n2\n")
        self.cli, self.folder, self.toy = cli, tmp_path, tmp_path / f"own_{tmp_path.name}.py"
        shutil.copy(toy, self.toy)
        self.suite = suite(
            matrix=f"{{model: {{use: fixed, factor: 2.0}}, data: {{use: numbers, file: {tmp_path}/numbers.txt}}}}",
            metrics="[{use: mean, noise: 0.5}]",
        )
        self.words = [self.suite, "--plugin", self.toy, "--results", tmp_path]
        assert cli("run", *self.words).code == 0
        self.records = tmp_path / "toys" / "records.jsonl"
        (self.recorded,) = (json.loads(line)["cell"] for line in self.records.read_text().splitlines())

    def differences(self, *words: str) -> dict[str, str]:
        """What is named, the same from both sides."""
        planned = [json.loads(line) for line in self.cli("plan", *self.words, *words, "--json").out.splitlines()]
        (cell,) = [line["cell"] for line in planned]
        assert cell != self.recorded
        said = []
        for key in (cell, self.recorded):
            done = self.cli("explain", key, *self.words, *words)
            assert (done.code, done.err) == (0, "")
            head, *lines = done.out.splitlines()
            assert head.endswith("They differ in:")
            said.append(dict(line.strip().split(": ", 1) for line in lines))
        assert said[0] == said[1]
        return said[0]


@pytest.fixture
def explained(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> Explained:
    return Explained(cli, suite, toy, tmp_path)


SET = {
    "metric parameter": ("metrics.0.noise=0.25", {"params.metric.noise": "record 0.5, plan 0.25"}),
    "type of a parameter": ("matrix.model.factor=2", {"params.model.factor": "record 2.0, plan 2"}),
    "task parameter": ("task={use: multiply, power: 3}", {"params.task.power": "record 1, plan 3"}),
    "dataset parameter": ("matrix.data.count=3", {"params.data.count": "record 8, plan 3"}),
    "seed": ("seeds=[5]", {"seed": "record 0, plan 5"}),
    "threads": ("resources={cpus: 3}", {"resources.cpus": "record as the task says, plan 3"}),
    "threads and seed": (
        "resources={cpus: 3}&seeds=[5]",
        {"seed": "record 0, plan 5", "resources.cpus": "record as the task says, plan 3"},
    ),
}


@pytest.mark.parametrize("name", SET)
def test_a_changed_setting(name: str, explained: Explained) -> None:
    settings, expected = SET[name]
    words = [word for setting in settings.split("&") for word in ("--set", setting)]
    assert explained.differences(*words) == expected


def test_another_component(explained: Explained) -> None:
    # Two that share a class or a base differ in name, and in the parameters that only one has.
    assert explained.differences("--set", "task=shared_multiply")["task"] == "record 'multiply', plan 'shared_multiply'"
    found = explained.differences("--set", "metrics=[{use: wrong, how: raise}]")
    assert found["uses.metric"] == "record 'mean', plan 'wrong'"
    assert found["params.metric.noise"] == "record 0.5, plan nothing"
    assert found["params.metric.how"] == "record nothing, plan 'raise'"


def test_a_file_that_is_read(explained: Explained) -> None:
    (explained.folder / "numbers.txt").write_text("1\n3\n")
    assert set(explained.differences()) == {"data.data"}


def test_the_code(explained: Explained) -> None:
    explained.toy.write_text(explained.toy.read_text() + "\nADDED = 1\n")
    found = explained.differences()
    assert set(found) == {"code.task", "code.metric", "code.model", "code.data"}
    assert all(words.endswith(" (its sources, or those that they import)") for words in found.values())
    (facts,) = (explained.folder / "toys" / "runs").iterdir()
    run = json.loads(facts.read_text())
    run["plugins"][explained.toy.stem]["version"] = "0.9"
    facts.write_text(json.dumps(run))
    for words in explained.differences().values():
        assert words.endswith(f" (plugin {explained.toy.stem} was 0.9, is without one)")


def test_the_class_of_device(explained: Explained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "detect", lambda: Machine(gpus=("a",), cores=2))
    assert explained.differences() == {"device": "record 'cpu', plan 'cuda'"}
    found = explained.differences("--set", "resources={cpus: 3}")
    assert found == {"device": "record 'cpu', plan 'cuda'", "resources.cpus": "record as the task says, plan 3"}


def test_the_threads_of_a_record(explained: Explained) -> None:
    explained.records.unlink()
    assert explained.cli("run", *explained.words, "--set", "resources={cpus: 2}").code == 0
    (explained.recorded,) = (json.loads(line)["cell"] for line in explained.records.read_text().splitlines())
    assert explained.differences() == {"resources.cpus": "record 2, plan as the task says"}
    assert explained.differences("--set", "resources={cpus: 5}") == {"resources.cpus": "record 2, plan 5"}


def test_an_id_that_nothing_gives(explained: Explained) -> None:
    text = explained.records.read_text()
    explained.records.write_text(text.replace(explained.recorded, "0123456789abcdef"))
    explained.recorded = "0123456789abcdef"
    assert explained.differences() == {"form of the id": "record of another version of lipbench, plan of this one"}


def test_a_cell_that_failed(explained: Explained) -> None:
    record = json.loads(explained.records.read_text())
    for status, words in (("failed", "because it failed"), ("timeout", "because it took too long")):
        explained.records.write_text(json.dumps(record | {"status": status, "value": None}) + "\n")
        assert words in explained.cli("explain", explained.recorded, *explained.words).out
