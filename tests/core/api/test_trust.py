# SPDX-License-Identifier: Apache-2.0
"""Suites, results, artifacts and leaderboards are data: hostile ones run nothing."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli

from lipbench.own_plugin import lipbench_formats

MODULE = "boom_of_test_trust"


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is there once hostile data have run something; a module that can be imported makes it too."""
    folder = tmp_path / "ran"
    code = tmp_path / "code"
    code.mkdir()
    (code / f"{MODULE}.py").write_text(f"import os\nos.makedirs({str(folder)!r}, exist_ok=True)\nclass Boom: pass\n")
    monkeypatch.syspath_prepend(code)
    monkeypatch.setenv("PYTHONPATH", str(code))  # for workers
    yield folder
    sys.modules.pop(MODULE, None)


def test_the_traps_work(marker: Path) -> None:
    pickle.loads(pickle.dumps(Trap(marker)))  # noqa: S301
    assert marker.is_dir()
    marker.rmdir()
    importlib.import_module(MODULE)
    assert marker.is_dir()


TAGS = {
    "apply": "!!python/object/apply:os.mkdir ['{marker}']",
    "new": "!!python/object/new:os.mkdir ['{marker}']",
    "module": f"!!python/module:{MODULE} ''",
    "name": f"!!python/name:{MODULE}.Boom ''",
    "object": f"!!python/object:{MODULE}.Boom {{{{}}}}",
}


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("place", ["suite", "setting", "reference"])
def test_yaml_tags(place: str, tag: str, marker: Path, suite: Any, cli: Cli, toy: Path, tmp_path: Path) -> None:
    value = TAGS[tag].format(marker=marker)
    words: list[str | Path] = [suite()]
    if place == "suite":
        words = [suite(title=value)]
    elif place == "setting":
        words += ["--set", f"title={value}"]
    else:
        (tmp_path / "numbers.yaml").write_text(f"lipbench_references: 1\nentries: {value}\n")
        words = [suite(reference="numbers.yaml")]
    for command in (["validate"], ["plan"], ["run", "--results", tmp_path / "out"]):
        done = cli(*command, *words, "--plugin", toy)
        assert done.code == 2, done.out
        assert "Traceback" not in done.err
    assert not marker.exists()


@pytest.fixture
def results(cli: Cli, suite: Any, toy: Path, tmp_path: Path) -> Path:
    """Results of the toy task with a fitted model."""
    (tmp_path / "trace").mkdir()
    matrix = f"{{model: {{use: learned, trace: {tmp_path / 'trace'}}}, data: numbers}}"
    assert cli("run", suite(matrix=matrix), "--plugin", toy, "--results", tmp_path / "out", "--no-plots").code == 0
    return tmp_path / "out"


def poisoned(data: Any, inside: bool = False) -> Any:
    """JSON in which what names a component, its code or its data names a module that must not be imported."""
    if isinstance(data, dict):
        return {key: poisoned(value, inside or key in ("uses", "use", "code", "data", "task")) for key, value in data.items()}
    if isinstance(data, list):
        return [poisoned(value, inside) for value in data]
    return f"{MODULE}:Boom" if isinstance(data, str) and (inside or re.fullmatch(r"[\w.]+:[\w.]+", data)) else data


def test_plans_records_and_facts_with_odd_factories(results: Path, marker: Path, cli: Cli, toy: Path, tmp_path: Path) -> None:
    folder = results / "toys"
    plan = json.loads((folder / "plan.json").read_text())
    more = {"factory": f"{MODULE}:Boom", "reports": [{"kind": "table", "name": "t", "factory": f"{MODULE}:Boom"}]}
    plan["jobs"] = [{**job, **more} for job in plan["jobs"]]
    (folder / "plan.json").write_text(json.dumps({**poisoned(plan), **more}))
    lines = (folder / "records.jsonl").read_text().splitlines()
    bad = [poisoned(json.loads(line)) for line in lines]
    assert any(MODULE in json.dumps(record) for record in bad)
    (folder / "records.jsonl").write_text("".join(json.dumps(record | more) + "\n" for record in bad))
    for facts in (folder / "runs").glob("*.json"):
        facts.write_text(json.dumps(poisoned(json.loads(facts.read_text()))))
    commands: list[list[str | Path]] = [["leaderboard", results, "--format", form.name] for form in lipbench_formats()]
    commands += [["compare", results, results], ["merge", results, "--output", tmp_path / "merged"]]
    commands += [["explain", lines and json.loads(lines[0])["cell"], tmp_path / "suite.yaml", "--results", results]]
    commands += [["plan", tmp_path / "suite.yaml", "--results", results]]
    for words in commands:
        assert "Traceback" not in cli(*words, "--plugin", toy).err, words
    assert not marker.exists()


def test_a_plan_made_of_tags_or_pickle(results: Path, marker: Path, cli: Cli, toy: Path) -> None:
    for content in (f'{{"jobs": {TAGS["apply"].format(marker=marker)}}}'.encode(), pickle.dumps(Trap(marker))):
        for name in ("plan.json", "records.jsonl"):
            file = results / "toys" / name
            before = file.read_bytes()
            file.write_bytes(content)
            assert "Traceback" not in cli("leaderboard", results, "--plugin", toy).err
            file.write_bytes(before)
    assert not marker.exists()


@pytest.mark.parametrize("with_digest", [True, False])
def test_a_pickle_in_place_of_an_artifact(
    with_digest: bool, results: Path, marker: Path, cli: Cli, suite: Any, toy: Path, tmp_path: Path
) -> None:
    artifacts = list(results.rglob("*.safetensors"))
    assert artifacts
    content = pickle.dumps(Trap(marker))
    for file in artifacts:
        file.write_bytes(content)
        facts = json.loads(file.with_suffix(".json").read_text())
        if with_digest:
            facts["sha256"] = hashlib.sha256(content).hexdigest()
        file.with_suffix(".json").write_text(json.dumps(facts))
        file.with_suffix(".partial").write_bytes(content)
    matrix = f"{{model: {{use: learned, trace: {tmp_path / 'trace'}}}, data: numbers}}"
    again = suite(matrix=matrix, metrics="[{use: mean, noise: 0.25, as: other}]")
    done = cli("run", again, "--plugin", toy, "--results", results, "--no-plots")
    assert "Traceback" not in done.err
    assert "1 cells computed" in done.out or "1 failed" in done.out + done.err
    assert not marker.exists()


PROBE = """
from dataclasses import dataclass

from lipbench.api import Component, Context, Dataset, Metric, Model, Task, Value, hookimpl


@dataclass(frozen=True)
class Seen:
    rows: int


def network():
    from torch import nn

    return nn.Linear(2, 2)


class Read(Task):
    fits = {"model": "data"}
    shared = True

    def evidence(self, model: Model, data: Dataset, ctx: Context) -> Seen:
        return Seen(len(data.split("test", ctx).inputs))


class Rows(Metric):
    def compute(self, evidence: Seen, ctx: Context) -> Value:
        return Value(value=float(evidence.rows), direction="none", unit="1")


@hookimpl
def lipbench_components():
    yield Component(kind="task", name="read_all", factory=f"{__name__}:Read", summary="reads")
    yield Component(kind="metric", name="rows", factory=f"{__name__}:Rows", summary="rows")
"""
HOSTILE_MODELS = {
    "exported": "{{use: exported, path: {0}}}",
    "cifar_network": "{{use: cifar_network, name: resnet18, outputs: 10, weights: {0}}}",
    "imported weights": "{{use: imported, factory: 'hostile_probe:network', weights: {0}}}",
    "relu_saved": "{{use: relu_saved, weights: {0}, layers: ['0']}}",
    "pretrained_features": "{{use: pretrained_features, path: {0}}}",
}
HOSTILE_DATASETS = {
    "npz": "{{use: npz, path: {0}.npz}}",
    "cifar10": "{{use: cifar10, root: {1}}}",
    "svhn": "{{use: svhn, root: {1}}}",
    "image_folder": "{{use: image_folder, path: {1}/images, size: 8}}",
    "mnist": "{{use: mnist, root: {1}}}",
}


def test_pickles_in_place_of_the_files_that_a_suite_names(marker: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "hostile_probe.py").write_text(PROBE)
    content, root = pickle.dumps(Trap(marker)), tmp_path / "data"
    batches = [f"cifar-10-batches-py/{name}" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")]
    idx = [f"MNIST/raw/{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    for name in (*batches, *idx, "SVHN/train_32x32.mat", "SVHN/test_32x32.mat", "images/a.png", "images/b.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    weights = tmp_path / "weights.pth"
    weights.write_bytes(content)
    np.savez(tmp_path / "weights.pth.npz", x=np.array([Trap(marker)], dtype=object))
    suites = []
    sides = [
        ("model", use, f"{{use: uniform_noise, shape: {[3, 32, 32] if name == 'cifar_network' else [2]}, count: 4}}")
        for name, use in HOSTILE_MODELS.items()
    ]
    sides += [("data", use, "linear") for use in HOSTILE_DATASETS.values()]
    for i, (role, use, other) in enumerate(sides):
        hostile = use.format(weights, root)
        model, data = (hostile, other) if role == "model" else (other, hostile)
        text = f"lipbench: 1\nsuite: hostile_{i}\ntask: read_all\nmatrix: {{model: {model}, data: {data}}}\nmetrics: [rows]\n"
        (tmp_path / f"{i}.yaml").write_text(text)
        suites.append(tmp_path / f"{i}.yaml")
    for file in suites:
        cli("validate", file, "--plugin", tmp_path / "hostile_probe.py")
    done = cli("run", *suites, "--plugin", tmp_path / "hostile_probe.py", "--results", tmp_path / "out", "--no-plots")
    lines = [(tmp_path / "out" / f"hostile_{i}" / "records.jsonl").read_text() for i in range(len(suites))]
    assert {json.loads(line)["status"] for line in lines} == {"failed"}, done.err
    assert "Traceback" not in done.err
    assert not marker.exists()
    sys.modules.pop("hostile_probe", None)
