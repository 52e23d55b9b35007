# SPDX-License-Identifier: Apache-2.0
"""A run as a user sees it: what is recorded, what is reused, what a fault costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from filelock import FileLock
from run_cases import Suite, records, values


def test_records_say_all_that_a_reader_needs(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    done = cli("run", suite(seeds="2"), "--plugin", toy, "--results", tmp_path)
    assert done.code == 0, done.err
    found = records(tmp_path)
    assert len(found) == 8
    one = found[0]
    needed = "cell suite task roles params seed metric status value unit direction interval extras cost device error run"
    assert set(needed.split()) <= set(one)
    assert one["status"] == "ok"
    assert set(one["cost"]) >= {"seconds", "forwards", "peak_bytes"}
    assert one["cost"]["forwards"] == 8
    assert one["cost"]["peak_bytes"] > 10**7
    run = json.loads((tmp_path / "toys" / "runs" / f"{one['run']}.json").read_text())
    assert run["suite"]["suite"] == "toys"
    assert {"python", "packages", "platform", "command"} <= set(run)
    assert "8 cells computed" in done.out
    assert str(tmp_path / "toys" / "records.jsonl") in done.out


def test_second_run_computes_nothing_and_a_deleted_line_comes_back(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite()
    cli("run", path, "--plugin", toy, "--results", tmp_path)
    before = (tmp_path / "toys" / "records.jsonl").read_text()
    done = cli("run", path, "--plugin", toy, "--results", tmp_path)
    assert "0 cells computed, 4 reused" in done.out
    assert (tmp_path / "toys" / "records.jsonl").read_text() == before
    lines = before.splitlines(keepends=True)
    (tmp_path / "toys" / "records.jsonl").write_text("".join(lines[:1] + lines[2:]))
    assert "1 cells computed, 3 reused" in cli("run", path, "--plugin", toy, "--results", tmp_path).out
    assert values(tmp_path) == {json.loads(x)["cell"]: json.loads(x)["value"] for x in lines}


def test_values_do_not_depend_on_workers_or_order(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite(seeds="3", metrics="[{use: mean, noise: 1.0, as: a}, {use: mean, noise: 1.0, as: b}, mean]")
    # Twins but for their label are the same cell, so give the second another parameter.
    path.write_text(path.read_text().replace("noise: 1.0, as: b", "noise: 2.0, as: b"))
    cli("run", path, "--plugin", toy, "--results", tmp_path / "one", "--workers", "1")
    cli("run", path, "--plugin", toy, "--results", tmp_path / "four", "--workers", "4")
    text = path.read_text().replace("[fixed, {use: fixed, factor: 2.0}]", "[{use: fixed, factor: 2.0}, fixed]")
    path.write_text(text.replace("task: multiply", "task: multiply\ntimeout: 100"))
    cli("run", path, "--plugin", toy, "--results", tmp_path / "turned", "--workers", "2")
    one = values(tmp_path / "one")
    assert len(one) == 18
    assert len(set(one.values())) == 18
    assert values(tmp_path / "four") == one
    assert values(tmp_path / "turned") == one


def test_shared_workers_give_the_same_values(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    cli("run", suite(seeds="4"), "--plugin", toy, "--results", tmp_path / "own")
    cli("run", suite(seeds="4", task="shared_multiply"), "--plugin", toy, "--results", tmp_path / "shared", "--workers", "1")

    def key(r: dict[str, Any]) -> tuple[Any, ...]:
        return (r["roles"]["model"], r["metric"], r["seed"])

    own = {key(r): r["value"] for r in records(tmp_path / "own") if r["metric"] == "mean"}
    shared = {key(r): r["value"] for r in records(tmp_path / "shared") if r["metric"] == "mean"}
    assert own == shared


def test_a_fault_costs_its_cell_alone(
    cli: Cli, suite: Suite, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipbench.execution.dispatch.BACKOFF_S", 0.01)
    ways = ["raise", "nan", "segfault", "kill", "exit", "hang", "garbage", "type", "inapplicable", "children", "memory"]
    ways += ["mutate", "surrogate", "direction", "extras"]
    metrics = ", ".join(f"{{use: wrong, how: {how}}}" for how in ways)
    done = cli("run", suite(metrics=f"[mean, {metrics}, {{use: mean, noise: 0.1, as: last}}]", timeout="2",
                            matrix="{model: fixed, data: numbers}"), "--plugin", toy, "--results", tmp_path)  # fmt: skip
    assert done.code == 1
    assert "Traceback" not in done.err
    found = {r["metric"]: r for r in records(tmp_path)}
    assert len(found) == len(ways) + 2
    status = {
        how: (found[f"wrong(how={how})"]["status"], (found[f"wrong(how={how})"]["error"] or {}).get("class")) for how in ways
    }
    assert status == {
        "raise": ("failed", "crash"),
        "nan": ("failed", "nan"),
        "segfault": ("failed", "crash"),
        "kill": ("failed", "crash"),
        "exit": ("failed", "crash"),
        "hang": ("timeout", "timeout"),
        "garbage": ("ok", None),
        "type": ("failed", "invalid"),
        "inapplicable": ("failed", "invalid"),
        "children": ("ok", None),
        "memory": ("failed", "oom"),
        "mutate": ("failed", "crash"),
        "surrogate": ("failed", "crash"),
        "direction": ("failed", "invalid"),
        "extras": ("failed", "invalid"),
    }
    assert "read-only" in found["wrong(how=mutate)"]["error"]["message"]
    assert "direction='up'" in found["wrong(how=direction)"]["error"]["message"]
    assert found["last"]["status"] == "ok"
    assert "SIGSEGV" in found["wrong(how=segfault)"]["error"]["message"]
    assert "exit code 7" in found["wrong(how=exit)"]["error"]["message"]
    assert "deliberate fault" in found["wrong(how=raise)"]["error"]["message"]
    assert "failed" in (tmp_path / "toys" / "leaderboard.md").read_text()


def test_failed_cells_are_tried_again(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite(metrics="[mean, {use: wrong, how: raise}]")
    cli("run", path, "--plugin", toy, "--results", tmp_path)
    done = cli("run", path, "--plugin", toy, "--results", tmp_path)
    assert "2 cells computed, 2 reused, 2 failed" in done.out


def test_nan_in_the_data_is_named(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite(matrix="{model: fixed, data: [numbers, {use: numbers, bad: true}]}", metrics="[mean]")
    done = cli("run", path, "--plugin", toy, "--results", tmp_path)
    assert done.code == 1
    assert "row 3 holds NaN" in done.err
    assert sorted(r["status"] for r in records(tmp_path)) == ["failed", "ok"]


def test_a_model_is_fitted_once(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.mkdir()
    path = suite(matrix=f"{{model: {{use: learned, trace: {trace}}}, data: numbers, power: [1, 2, 3]}}", seeds="2")
    done = cli("run", path, "--plugin", toy, "--results", tmp_path / "out", "--workers", "3")
    assert "12 cells computed" in done.out, done.err
    assert len(list(trace.iterdir())) == 2
    stored = sorted((tmp_path / "out" / "artifacts").glob("*.safetensors"))
    assert len(stored) == 2
    facts = json.loads(stored[0].with_suffix(".json").read_text())
    assert facts["model"]["name"] == "learned"
    before = values(tmp_path / "out")
    (tmp_path / "out" / "toys" / "records.jsonl").unlink()
    stored[0].write_bytes(b"torn")
    cli("run", path, "--plugin", toy, "--results", tmp_path / "out")
    assert values(tmp_path / "out") == before
    assert stored[0].stat().st_size > 10


def test_a_failed_fit_fails_what_waits_for_it(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    learned = f"{{use: learned, trace: {tmp_path}, fail: true}}"
    path = suite(matrix=f"{{model: [fixed, {learned}], data: numbers}}", metrics="[mean]")
    done = cli("run", path, "--plugin", toy, "--results", tmp_path)
    assert done.code == 1
    assert "the fit exploded" in done.err
    assert sorted(r["status"] for r in records(tmp_path)) == ["failed", "ok"]


def test_select_runs_a_part(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite()
    done = cli("run", path, "--plugin", toy, "--results", tmp_path, "--select", "metric=noisy", "--select", "model=fixed(*")
    assert "1 cells computed" in done.out
    assert "4 cells: 3 to run (+), 1 done" in cli("plan", path, "--plugin", toy, "--results", tmp_path).out
    assert "3 cells computed, 1 reused" in cli("run", path, "--plugin", toy, "--results", tmp_path).out


def test_an_audit_fails_the_run(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite(matrix="{model: {use: fixed, factor: 1000.0}, data: numbers}", metrics="[mean]")
    done = cli("run", path, "--plugin", toy, "--results", tmp_path)
    assert done.code == 1
    assert "contradiction: mean of fixed(factor=1000.0)" in done.err
    assert cli("leaderboard", tmp_path, "--plugin", toy).code == 1


def test_a_torn_line_is_dropped_and_runs_again(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite()
    cli("run", path, "--plugin", toy, "--results", tmp_path)
    file = tmp_path / "toys" / "records.jsonl"
    whole = values(tmp_path)
    file.write_bytes(file.read_bytes()[:-40])
    assert "1 cells computed, 3 reused" in cli("run", path, "--plugin", toy, "--results", tmp_path).out
    assert values(tmp_path) == whole


def test_a_damaged_line_is_named(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite()
    cli("run", path, "--plugin", toy, "--results", tmp_path)
    file = tmp_path / "toys" / "records.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], "garbage\n", *lines[1:]]))
    done = cli("run", path, "--plugin", toy, "--results", tmp_path)
    assert done.code == 1
    assert f"{file}:2: this line is no record" in done.err


def test_a_held_folder_says_who_holds_it(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / ".holder.json").write_text('{"pid": 77, "host": "there"}')
    with FileLock(tmp_path / "toys" / ".lock"):
        done = cli("run", suite(), "--plugin", toy, "--results", tmp_path)
    assert done.code == 1
    assert "held by another run (process 77 on there)" in done.err


def test_a_results_folder_that_cannot_be_written(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = cli("run", suite(), "--plugin", toy, "--results", tmp_path / "file")
    assert done.code == 2
    assert "cannot be written" in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_what_was_finished_survives_a_kill(sign: signal.Signals, cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite(metrics="[mean, {use: wrong, how: hang}]", seeds="3")
    words = [
        sys.executable,
        "-m",
        "lipbench",
        "run",
        str(path),
        "--plugin",
        str(toy),
        "--results",
        str(tmp_path),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    file = tmp_path / "toys" / "records.jsonl"
    limit = time.monotonic() + 300
    while (not file.exists() or not file.read_bytes()) and time.monotonic() < limit:
        time.sleep(0.05)
    os.kill(process.pid, sign)
    if sign == signal.SIGINT:
        time.sleep(0.5)
        os.kill(process.pid, sign)
    code = process.wait(30)
    assert code == (130 if sign == signal.SIGINT else -9)
    first = values(tmp_path)
    assert len(first) >= 1
    done = cli("run", path, "--plugin", toy, "--results", tmp_path, "--select", "metric=mean")
    assert f"{len(first)} reused" in done.out
    assert first.items() <= values(tmp_path).items()


def test_blocks_that_share_a_point_lose_nothing(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    same = "matrix: {model: fixed, data: numbers}"
    blocks = f"{{one: {{{same}, metrics: [mean]}}, two: {{{same}, metrics: [{{use: mean, noise: 1.0}}]}}}}"
    path = suite(matrix=None, metrics=None, blocks=blocks)
    assert "2 cells computed" in cli("run", path, "--plugin", toy, "--results", tmp_path).out
    assert "2 cells: 0 to run (+), 2 done" in cli("plan", path, "--plugin", toy, "--results", tmp_path).out


def test_a_process_forked_by_a_metric_speaks_for_nobody(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite(
        task="shared_multiply", matrix="{model: fixed, data: numbers}", metrics="[{use: wrong, how: fork}, mean]", seeds="3"
    )
    done = cli("run", path, "--plugin", toy, "--results", tmp_path, "--workers", "1")
    assert "6 cells computed" in done.out, done.err
    found = records(tmp_path)
    assert len({r["cell"] for r in found}) == len(found) == 6


def test_a_terminated_run_leaves_no_process_behind(suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite(metrics="[{use: wrong, how: children}, {use: wrong, how: hang}]", matrix="{model: fixed, data: numbers}")
    words = [sys.executable, "-m", "lipbench", "run", str(path), "--plugin", str(toy), "--results", str(tmp_path)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    file = tmp_path / "toys" / "records.jsonl"
    limit = time.monotonic() + 300
    while (not file.exists() or not file.read_bytes()) and time.monotonic() < limit:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 130
    time.sleep(0.2)
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert not [x for x in lines if str(tmp_path) in x]
