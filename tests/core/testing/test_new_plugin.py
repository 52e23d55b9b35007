# SPDX-License-Identifier: Apache-2.0
"""`lipbench new-plugin`: what it makes installs, is discovered, runs, and passes its own tests, format, lint and types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import Cli, new_environment

KINDS = {
    "everything_with_a_name_of_30_x": (),
    "a_slope": ("metric", "model"),
}
"""Name of a plugin to the kinds that are asked of it."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_environment(tmp_path_factory.mktemp("environment"))


def call(python: Path, folder: Path, *words: str) -> str:
    environment = {**os.environ, "LIPBENCH_CACHE": str(folder.parent / "cache")}
    done = subprocess.run([python, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def test_it_works_at_once(python: Path, tmp_path: Path, cli: Cli) -> None:
    for name, kinds in KINDS.items():
        done = cli("new-plugin", name, *(word for kind in kinds for word in ("--kind", kind)), "--output", tmp_path / name)
        assert done.code == 0
        assert f"lipbench run suites/{name}.yaml" in done.out
        # Without the network: what it needs is here already.
        call(python, tmp_path / name, "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-e", ".")
    listed = call(python, tmp_path, "lipbench", "list", "plugins")
    for name in KINDS:
        assert f"lipbench-{name.replace('_', '-')}" in listed
        folder = tmp_path / name
        assert "0 failed" in call(python, folder, "lipbench", "run", f"suites/{name}.yaml", "--results", "out", "--no-plots")
        records = [json.loads(line) for line in (folder / "out" / name / "records.jsonl").read_text().splitlines()]
        assert {r["status"] for r in records} == {"ok"}
        assert "passed" in call(python, folder, "pytest", "-q", "-p", "no:cacheprovider")


@pytest.mark.parametrize("kinds", [(), ("dataset",), ("metric",), ("method", "dataset"), ("task", "model")])
@pytest.mark.parametrize("name", ["x", "everything_with_a_name_of_30_x"])
def test_format_and_lint(name: str, kinds: tuple[str, ...], tmp_path: Path, cli: Cli) -> None:
    cli("new-plugin", name, *(word for kind in kinds for word in ("--kind", kind)), "--output", tmp_path / "x")
    for words in (["ruff", "check", "-q", "."], ["ruff", "format", "-q", "--check", "."]):
        done = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path / "x", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_types(tmp_path: Path, cli: Cli) -> None:
    cli("new-plugin", "everything", "--output", tmp_path / "x")
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=tmp_path / "x", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_metadata(tmp_path: Path, cli: Cli) -> None:
    cli("new-plugin", "my_net", "--kind", "model", "--output", tmp_path / "x")
    project = tomllib.loads((tmp_path / "x" / "pyproject.toml").read_text())
    assert project["project"]["name"] == "lipbench-my-net"
    assert project["project"]["entry-points"]["lipbench"] == {"my_net": "lipbench_my_net.plugin"}
    assert "@" not in "".join(p.read_text() for p in (tmp_path / "x" / "src").rglob("*.py")).replace("@hookimpl", "")


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
