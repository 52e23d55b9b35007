# SPDX-License-Identifier: Apache-2.0
"""What a change costs: parameters, source, data and artifacts that differ are computed again, and the rest is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cli
from run_cases import Suite, records, values


def test_one_parameter_recomputes_what_depends_on_it(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite()
    cli("run", path, "--plugin", toy, "--results", tmp_path)
    set_noise = ["--set", "metrics.1.noise=0.25"]
    assert "2 cells computed, 2 reused" in cli("run", path, "--plugin", toy, "--results", tmp_path, *set_noise).out
    set_factor = ["--set", "matrix.model.1.factor=3.0"]
    assert "2 cells computed, 2 reused" in cli("run", path, "--plugin", toy, "--results", tmp_path, *set_factor).out


def test_changed_source_recomputes(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    mine = tmp_path / "toy_changed.py"
    shutil.copy(toy, mine)
    path = suite()
    cli("run", path, "--plugin", mine, "--results", tmp_path)
    first = values(tmp_path)
    mine.write_text(mine.read_text().replace("* model.factor", "* model.factor + 1.0"))
    assert "4 cells computed, 0 reused" in cli("run", path, "--plugin", mine, "--results", tmp_path).out
    means: dict[str, list[float]] = {}
    for record in records(tmp_path):
        if record["metric"] == "mean":
            means.setdefault(record["roles"]["model"], []).append(record["value"])
    assert {model: pytest.approx(old + 1, abs=1e-5) == new for model, (old, new) in means.items()} == dict.fromkeys(means, True)
    assert len(first) == 4


def test_changed_data_file_recomputes(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    data = tmp_path / "numbers.txt"
    data.write_text("1\n2\n3\n")
    path = suite(matrix=f"{{model: fixed, data: {{use: numbers, file: {data}}}}}", metrics="[mean]")
    cli("run", path, "--plugin", toy, "--results", tmp_path)
    assert "0 cells computed, 1 reused" in cli("run", path, "--plugin", toy, "--results", tmp_path).out
    data.write_text("1\n2\n6\n")
    assert "1 cells computed" in cli("run", path, "--plugin", toy, "--results", tmp_path).out
    assert [r["value"] for r in records(tmp_path)] == [2.0, 3.0]
    data.unlink()
    done = cli("run", path, "--plugin", toy, "--results", tmp_path)
    assert done.code == 2
    assert "numbers.txt" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_explain_names_the_difference(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite()
    cli("run", path, "--plugin", toy, "--results", tmp_path)
    planned = cli(
        "plan", path, "--plugin", toy, "--results", tmp_path, "--json", "--set", "metrics.1.noise=0.25"
    ).out.splitlines()
    new = next(json.loads(x) for x in planned if json.loads(x)["state"] == "run")
    done = cli("explain", new["cell"], path, "--plugin", toy, "--results", tmp_path, "--set", "metrics.1.noise=0.25")
    assert "params.metric.noise: record 0.5, plan 0.25" in done.out
    same = records(tmp_path)[0]["cell"]
    assert "would not run again" in cli("explain", same[:12], path, "--plugin", toy, "--results", tmp_path).out


def in_a_process(suite: Path, results: Path) -> list[str]:
    """The command for a run in a process that has imported no plugin yet."""
    return [sys.executable, "-m", "lipbench", "run", str(suite), "--results", str(results)]


def test_another_checkout_of_a_plugin_is_another_plugin(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    words = [*in_a_process(suite(), tmp_path / "out"), "--no-plots", "--plugin"]
    means = []
    for name, add in (("a", ""), ("b", " + 100.0")):
        (tmp_path / name).mkdir()
        text = toy.read_text().replace("* model.factor", f"* model.factor{add}")
        (tmp_path / name / "toy.py").write_text(text)
        done = subprocess.run([*words, str(tmp_path / name / "toy.py")], capture_output=True, text=True, check=False)
        assert "4 cells computed, 0 reused" in done.stdout, done.stderr
        last = reversed(records(tmp_path / "out"))
        means.append(next(r["value"] for r in last if r["metric"] == "mean" and r["roles"]["model"] == "fixed"))
    assert means[1] == pytest.approx(means[0] + 100, abs=1e-3)


def test_a_helper_beside_a_plugin_counts(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "toy_helper.py").write_text("ADD = 1.0\n")
    text = (
        toy.read_text()
        .replace("* model.factor", "* model.factor + toy_helper.ADD")
        .replace("import numpy as np\n", "import numpy as np\nimport toy_helper\n")
    )
    (tmp_path / "toy_with_helper.py").write_text(text)
    words = [*in_a_process(suite(), tmp_path / "out"), "--plugin", "toy_with_helper.py"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for content, said in (
        ("ADD = 1.0\n", "4 cells computed, 0"),
        ("ADD = 2.0\n", "4 cells computed, 0"),
        ("ADD = 2.0\n", "0 cells computed, 4"),
    ):
        if (tmp_path / "toy_helper.py").read_text() != content:
            (tmp_path / "toy_helper.py").write_text(content)
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
        assert said in done.stdout, done.stderr


def test_a_changed_artifact_is_fitted_again(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "trace").mkdir()
    path = suite(matrix=f"{{model: {{use: learned, trace: {tmp_path / 'trace'}}}, data: numbers}}", metrics="[mean]")
    cli("run", path, "--plugin", toy, "--results", tmp_path)
    before = values(tmp_path)
    file = next((tmp_path / "artifacts").glob("*.safetensors"))
    raw = bytearray(file.read_bytes())
    raw[-2] ^= 16
    file.write_bytes(raw)
    (tmp_path / "toys" / "records.jsonl").unlink()
    cli("run", path, "--plugin", toy, "--results", tmp_path)
    assert values(tmp_path) == before
    assert len(list((tmp_path / "trace").iterdir())) == 2
