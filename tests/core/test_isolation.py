# SPDX-License-Identifier: Apache-2.0
"""What a job does wrong costs that job alone: its process tree is gone, the reason is recorded, the rest goes on."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest
from conftest import Cli
from execution_cases import Case


@pytest.fixture
def case(cli: Cli, tmp_path: Path) -> Case:
    return Case(cli, tmp_path)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lipbench.execution.dispatch.BACKOFF_S", 0.01)


def alive(trace: Path) -> list[int]:
    """Processes that jobs left behind and that still run, after a moment in which they may still be ending."""
    found = [int(path.name) for path in trace.iterdir() if path.name.isdigit()]
    assert len(found) >= 3
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        left = [pid for pid in found if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
        if not left:
            break
        time.sleep(0.05)
    return left


ENDS = {
    "returns": ("ok", ""),
    "segfault": ("failed", "ended by SIGSEGV"),
    "exit": ("failed", "left by itself with exit code 1"),
    "exit0": ("failed", "left by itself with exit code 0"),
    "closes": ("failed", "closed its pipe"),
    "scribbles": ("failed", "closed its pipe"),
    "lingers": ("failed", "left by itself with exit code 3"),
    "spin": ("timeout", "took longer than 1 s"),
    "hang": ("timeout", "took longer than 1 s"),
}


def test_children_orphans_and_sessions_are_gone_however_a_job_ends(case: Case) -> None:
    metrics = ", ".join(f"{{use: leaves, how: {how}, trace: TRACE, as: {how}}}" for how in ENDS)
    case.write(metrics=f"[{metrics}, world]", task="shared")
    # Enough for two processes of Python; what hangs is given less in a run of its own.
    assert case.run(
        "--timeout", "30", *(w for how in ENDS if ENDS[how][0] != "timeout" for w in ("--select", f"metric={how}"))
    ).code
    assert case.run("--timeout", "1", "--select", "metric=spin", "--select", "metric=hang").code == 1
    assert case.run("--select", "metric=world").code == 0
    found = {r["metric"]: r for r in case.records()}
    assert {how: found[how]["status"] for how in ENDS} == {how: status for how, (status, _) in ENDS.items()}
    for how, (_, said) in ENDS.items():
        assert said in ((found[how]["error"] or {}).get("message") or ""), found[how]
    assert found["world"]["status"] == "ok"
    assert alive(case.trace) == []


def test_the_reason_and_the_end_of_the_output_are_kept(case: Case) -> None:
    case.write(metrics="[{use: leaves, how: exit, trace: TRACE, size: 20000}, world]")
    assert case.run().code == 1
    failed, good = sorted(case.records(), key=lambda r: r["status"])
    assert good["status"] == "ok"
    message = failed["error"]["message"]
    assert "last words" in message
    assert "no more" in message
    assert len(message) < 600
    (log,) = (case.folder / "results" / "awkward" / "logs").iterdir()
    assert log.name in message
    assert log.stat().st_size > 100_000


def test_the_log_of_a_job_that_hangs_says_where(case: Case) -> None:
    case.write(task="brief", metrics="[{use: world, pause: 600}]")
    assert case.run().code == 1
    record = case.one()
    assert (record["status"], record["error"]["class"]) == ("timeout", "timeout")
    (log,) = (case.folder / "results" / "awkward" / "logs").iterdir()
    assert log.name in record["error"]["message"]
    assert "in compute" in log.read_text()


@pytest.mark.parametrize(
    ("task", "extra", "words", "limit"),
    [
        ("brief", "", [], "1.5"),
        ("brief", "timeout: 0.8\n", [], "0.8"),
        ("awkward", "timeout: 60\n", ["--timeout", "0.7"], "0.7"),
    ],
)
def test_time_limits_come_from_the_task_the_suite_or_the_command_line(
    case: Case, task: str, extra: str, words: list[str], limit: str
) -> None:
    case.write(task=task, metrics="[{use: world, pause: 600}]", extra=extra)
    assert case.run(*words).code == 1
    assert f"took longer than {limit} s" in case.one()["error"]["message"]


def test_a_job_that_waits_for_a_slow_fit_blocks_nobody(case: Case) -> None:
    case.write(model="[slow, {use: slow, steps: 2, pause: 1.0, as: slower}]", which="[0, 1, 2]")
    assert case.run("--workers", "2").code == 0
    assert [r["roles"]["model"] for r in case.records()] == ["slow"] * 3 + ["slower"] * 3


def test_jobs_that_share_workers_stay_with_their_model(case: Case) -> None:
    models = "[{use: slow, steps: 1, as: a}, {use: slow, steps: 2, as: b}]"
    case.write(task="shared", model=models, which=str(list(range(12))), metrics="[{use: world, pause: 0.02}]")
    assert case.run("--workers", "2").code == 0
    used = [(r["extras"]["pid"], r["roles"]["model"]) for r in case.records()]
    assert len({pid for pid, _ in used}) == 2
    changes = sum(
        before != after
        for pid in {p for p, _ in used}
        for before, after in zip([m for p, m in used if p == pid], [m for p, m in used if p == pid][1:], strict=False)
    )
    # Each begins with one model; at the end one of them helps the other out.
    assert changes <= 3


def test_an_idle_worker_that_dies_costs_nothing(case: Case) -> None:
    case.write(task="shared", model="[slow, {use: slow, steps: 2, pause: 0.8, as: slower}]", which="[0, 1]")
    killed = []

    def kill() -> None:
        limit = time.monotonic() + 60
        while not (case.file.exists() and case.file.read_bytes().count(b"\n") == 2) and time.monotonic() < limit:
            time.sleep(0.02)
        for pid in {record["extras"]["pid"] for record in case.records()}:
            psutil.Process(pid).kill()
            killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    done = case.run("--workers", "2", "--retries", "0")
    killer.join()
    assert done.code == 0, done.err
    assert len(case.records()) == 4
    assert killed


HUNGRY = {
    "asks": ("{use: hungry, fits: 3}", "ok", 2, 0.125),
    "one row is too many": ("{use: hungry, fits: 0}", "failed", None, 1 / 16),
    "does not ask": ("{use: hungry, ask: false}", "failed", None, None),
    "gpu": ("{use: hungry, device: true, fits: 8}", "ok", 8, 0.5),
}


@pytest.mark.parametrize("name", HUNGRY)
def test_memory_that_runs_out_halves_the_batch_where_a_component_asks_for_one(case: Case, name: str) -> None:
    use, status, rows, scale = HUNGRY[name]
    case.write(metrics=f"[{use}, world]")
    case.run()
    records = {r["metric"]: r for r in case.records()}
    world = records.pop("world")
    (found,) = records.values()
    assert found["status"] == status
    assert found["extras"].get("rows") == rows
    assert found["cost"].get("batch_scale") == scale
    if status == "failed":
        assert found["error"]["class"] == "oom"
    assert (world["status"], world["cost"].get("batch_scale"), world["cost"].get("retries")) == ("ok", None, None)


def test_what_may_pass_is_tried_again_and_what_will_not_is_not(case: Case) -> None:
    hows = {"stale": 1, "refused": 2, "killed": 2, "full": 1, "value": 1, "device": 1}
    metrics = ", ".join(f"{{use: flaky, how: {how}, times: {n}, trace: TRACE, as: {how}}}" for how, n in hows.items())
    case.write(metrics=f"[{metrics}, world]")
    assert case.run().code == 1
    found = {r["metric"]: r for r in case.records()}
    tries = {how: len(list(case.trace.glob(f"{how}-*"))) for how in hows}
    assert tries == {"stale": 2, "refused": 3, "killed": 3, "full": 1, "value": 1, "device": 1}
    assert {how: found[how]["status"] for how in hows} == {
        "stale": "ok", "refused": "ok", "killed": "ok", "full": "failed", "value": "failed", "device": "failed",
    }  # fmt: skip
    assert {how: found[how]["cost"].get("retries") for how in hows if found[how]["status"] == "ok"} == {
        "stale": 1, "refused": 2, "killed": 2,
    }  # fmt: skip
    assert found["world"]["status"] == "ok"


def test_what_does_not_pass_in_the_set_number_of_times_has_failed(case: Case) -> None:
    case.write(metrics="[{use: flaky, how: refused, times: 9, trace: TRACE}]")
    assert case.run("--retries", "1").code == 1
    assert len(list(case.trace.iterdir())) == 2
    assert (case.one()["status"], case.one()["cost"]) == ("failed", case.one()["cost"] | {"retries": 1})
