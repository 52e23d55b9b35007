# SPDX-License-Identifier: Apache-2.0
"""Runs in MLflow: a local store, no network, and no mlflow where nobody asks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

Suite = Callable[..., Path]
# In processes of their own: mlflow warns while it is imported, and warnings are errors in this one.
READ = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
runs = [(e.name, r) for e in client.search_experiments() for r in client.search_runs([e.experiment_id])]
print(json.dumps([
    {"experiment": name, "id": r.info.run_id, "name": r.info.run_name, "status": r.info.status, "params": r.data.params,
     "metrics": r.data.metrics, "tags": r.data.tags}
    for name, r in runs
]))
"""
RUN = """
import socket, sys
real = socket.socket.connect
def local(self, address):
    # Processes of this machine talk through sockets of its file system.
    assert self.family == socket.AF_UNIX, f"something wants to reach {address}"
    return real(self, address)
socket.socket.connect = local
from lipbench.cli import main
main()
"""


def run(uri: str, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """`lipbench run`, unable to reach the network."""
    env = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_FILE_STORE": "true", **more}
    command = [sys.executable, "-c", RUN, "run", *map(str, words), "--no-plots"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def stored(uri: str) -> list[dict[str, Any]]:
    env = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run([sys.executable, "-c", READ, uri], capture_output=True, text=True, check=True, env=env)
    return json.loads(done.stdout)


def test_a_run_and_its_jobs_are_in_mlflow(suite: Suite, toy: Path, tmp_path: Path) -> None:
    uri, out = (tmp_path / "store").as_uri(), tmp_path / "out"
    labels = {"a/b(c)": 0.5, "a b(c)": 1.0, "a_b_c_": 2.0}
    metrics = ", ".join(
        ["mean", *(f"{{use: mean, noise: {v}, as: {k}}}" for k, v in labels.items()), "{use: wrong, how: raise}"]
    )
    matrix = "{model: fixed, data: numbers}"
    path = suite(matrix=matrix, metrics=f"[{metrics}]", extra="profiles: {two: {seeds: 2}}\n")
    done = run(uri, path, "--plugin", toy, "--results", out, "--profile", "two")
    assert done.returncode == 1, done.stderr
    assert "goes on without it" not in done.stderr
    records = [json.loads(line) for line in (out / "toys" / "records.jsonl").read_text().splitlines()]
    assert len(records) == 10
    found = stored(uri)
    assert {r["experiment"] for r in found} == {"lipbench toys"}
    (parent,) = [r for r in found if "mlflow.parentRunId" not in r["tags"]]
    facts = json.loads((out / "toys" / "runs" / f"{parent['name']}.json").read_text())
    assert parent["status"] == "FINISHED"
    assert (parent["params"]["suite"], parent["params"]["profile"], parent["params"]["cells"]) == ("toys", "two", "10")
    assert parent["params"]["torch"] == facts["packages"]["torch"]
    assert (parent["metrics"]["computed"], parent["metrics"]["failed"]) == (10, 2)
    assert parent["tags"].get("mlflow.source.git.commit") == (facts["git"] or {}).get("commit")
    jobs = sorted((r for r in found if r is not parent), key=lambda r: r["params"]["seed"])
    assert [j["name"] for j in jobs] == ["fixed · numbers · seed 0", "fixed · numbers · seed 1"]
    for seed, job in enumerate(jobs):
        assert job["tags"]["mlflow.parentRunId"] == parent["id"]
        assert job["status"] == "FAILED"
        assert job["tags"]["failed.wrong_how_raise_"].startswith("crash: RuntimeError: deliberate fault")
        expected = {
            "model": "fixed",
            "data": "numbers",
            "model.factor": "1.0",
            "task.power": "1",
            "data.count": "8",
            "device": "cpu",
        }
        assert expected.items() <= job["params"].items()
        values = {r["metric"]: r["value"] for r in records if r["seed"] == seed}
        names = {"mean": "mean", "a_b_c_": "a/b(c)", "a b_c_": "a b(c)", "a_b_c_ 2": "a_b_c_"}
        logged = {k: v for k, v in job["metrics"].items() if not k.endswith(".seconds")}
        assert logged == {key: values[label] for key, label in names.items()}
        assert job["metrics"]["mean.seconds"] > 0


def test_a_server_that_is_down_costs_no_cell(suite: Suite, toy: Path, tmp_path: Path) -> None:
    done = run("http://localhost:1", suite(), "--plugin", toy, "--results", tmp_path, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("plugin mlflow: lipbench_run_started raised ") == 1
    assert "something wants to reach" in done.stderr
    assert "4 cells computed, 0 reused, 0 failed" in done.stdout


def test_mlflow_is_left_alone_unless_it_is_asked_for(
    cli: Cli, suite: Suite, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # importing it fails
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    quiet = cli("run", suite(), "--plugin", toy, "--results", tmp_path / "a")
    assert quiet.code == 0
    assert "mlflow" not in quiet.err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///nowhere.db")
    done = cli("run", suite(), "--plugin", toy, "--results", tmp_path / "b")
    assert done.code == 0
    assert "plugin mlflow: lipbench_run_started raised MLFLOW_TRACKING_URI is set, but mlflow is not installed: " in done.err
    assert "4 cells computed" in done.out
    assert "mlflow" not in cli("run", suite(), "--plugin", toy, "--results", tmp_path / "c", "-p", "no:mlflow").err
