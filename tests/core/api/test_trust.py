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
