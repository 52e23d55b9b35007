# SPDX-License-Identifier: Apache-2.0
"""`lipbench new-plugin`: what it makes installs, is discovered, runs, and passes its own tests, format, lint and types."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, new_environment

from lipbench import plugins
from lipbench.fingerprint import plugin_packages
from lipbench.scaffold.make import PARTS, make_plugin
from lipbench.testing.kit import registry_with

WHOLE = "everything_with_a_name_of_30_x"
LONE = {f"only_{part}": (part,) for part in PARTS}
TRIED = [f"only_{part}" for part in PARTS if part not in ("dataset", "task")]
"""Those that are run; of a dataset or a task alone the rest is the same as of a metric alone, as is tested."""
MADE = {WHOLE: PARTS, **LONE, "x": ()}
"""Name of a plugin to what is asked of it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of them, each once."""
    folder = tmp_path_factory.mktemp("made")
    for name, parts in MADE.items():
        make_plugin(name, folder / name, parts)
    return folder


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_environment(tmp_path_factory.mktemp("environment"))


def call(python: Path | str, folder: Path, *words: str) -> str:
    environment = {**os.environ, "LIPBENCH_CACHE": str(folder.parent / "cache")}
    done = subprocess.run([python, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def statuses(records: Path) -> list[str]:
    return [json.loads(line)["status"] for line in records.read_text().splitlines()]


def test_all_kinds_together_work_at_once(python: Path, made: Path) -> None:
    folder = made / WHOLE
    # Without the network: what it needs is here already.
    call(python, folder, "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-e", ".")
    assert f"lipbench-{WHOLE.replace('_', '-')}" in call(python, made, "lipbench", "list", "plugins")
    assert "7 passed" in call(python, folder, "pytest", "-q", "-p", "no:cacheprovider")  # that of the executor runs the suite


@pytest.fixture
def installed(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Some as pip would leave them, for this process and its workers."""
    sources = [str(made / name / "src") for name in TRIED]
    for name in TRIED:
        metadata = tmp_path / f"lipbench_{name}-0.1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: lipbench-{name.replace('_', '-')}\nVersion: 0.1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{name} = lipbench_{name}.plugin\n")
    for place in (str(tmp_path), *sources):
        monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sources]))
    for kept in (registry_with, plugin_packages):
        kept.cache_clear()
    yield made
    for kept in (registry_with, plugin_packages):
        kept.cache_clear()


def test_each_kind_alone_runs_and_passes_its_tests(installed: Path, cli: Cli, tmp_path: Path) -> None:
    suites = [installed / name / "suites" / f"{name}.yaml" for name in TRIED]
    done = cli("run", *suites, "--results", tmp_path / "out", "--no-plots", "--workers", "2")
    assert done.code == 0, done.err
    for name in TRIED:
        assert set(statuses(tmp_path / "out" / name / "records.jsonl")) == {"ok"}
    table = cli("leaderboard", tmp_path / "out", "--format", "only_format_table", "--suite", "only_format")
    assert table.out.splitlines()[0].startswith("data\t")
    # That of the executor starts processes, and ran above.
    tests = [
        str(path) for name in TRIED for path in sorted((installed / name / "tests").glob("*.py")) if "executor" not in path.name
    ]
    result = pytest.main(
        ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir", str(installed), "-c", os.devnull, *tests]
    )
    assert result == 0


def test_format_and_lint(made: Path) -> None:
    for words in (["check", "-q"], ["format", "-q", "--check"]):
        call(sys.executable, made, "ruff", *words, "--no-cache", ".")


def test_types(made: Path, pytestconfig: pytest.Config) -> None:
    """One run for all: most of its time goes into torch. A second one finds that in a cache."""
    packages = [word for name in MADE for word in ("-p", f"lipbench_{name}")]
    project = made / WHOLE / "pyproject.toml"
    project.write_text(project.read_text().replace('mypy_path = ["src"]', f"mypy_path = {[f'{made}/{n}/src' for n in MADE]}"))
    cache = pytestconfig.cache.mkdir("mypy") if pytestconfig.cache else made / "types"
    call(sys.executable, made / WHOLE, "mypy", "--cache-dir", str(cache), *packages)


def test_what_is_asked_is_there_and_what_a_suite_needs(made: Path) -> None:
    for part in PARTS:
        modules = {p.stem for p in (made / f"only_{part}" / "src").rglob("*.py")} - {"__init__", "plugin", "evidence"}
        assert modules == {part, "dataset", "task", "metric"}
    dataset, task, metric = (
        {
            str(p.relative_to(made / name)).replace(name, "x"): p.read_text()
            .replace(name, "x")
            .replace(name.replace("_", "-"), "x")
            for p in (made / name).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts
        }
        for name in ("only_dataset", "only_task", "only_metric")
    )
    assert dataset == task == metric
    assert {p.stem for p in (made / "x" / "src").rglob("*.py")} >= {"dataset", "task", "metric", "model", "method"}


def test_metadata(made: Path) -> None:
    project = tomllib.loads((made / "only_model" / "pyproject.toml").read_text())
    assert project["project"]["name"] == "lipbench-only-model"
    assert project["project"]["entry-points"]["lipbench"] == {"only_model": "lipbench_only_model.plugin"}
    for path in made.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert re.search(r"@[A-Z_]+@", path.read_text()) is None, path


def test_the_command(cli: Cli, tmp_path: Path) -> None:
    done = cli("new-plugin", "my_net", "--kind", "model", "--output", tmp_path / "x")
    assert done.code == 0
    assert "lipbench run suites/my_net.yaml" in done.out
    assert str(tmp_path / "x" / "src" / "lipbench_my_net" / "model.py") in done.out


@pytest.mark.parametrize("name", ["My-Net", "1net", "class", "", "a b"])
def test_a_bad_name_is_refused_in_one_line(name: str, tmp_path: Path, cli: Cli) -> None:
    done = cli("new-plugin", name, "--output", tmp_path / "x")
    assert done.code != 0
    assert done.err.count("\n") == 1
    assert "such as my_net" in done.err
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = cli("new-plugin", "my_net", "--output", tmp_path)
    assert done.code != 0
    assert "is there already" in done.err
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
