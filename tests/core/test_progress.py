# SPDX-License-Identifier: Apache-2.0
"""What a run shows while it runs, and the log of its events."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from lipbench.api import Record, Run
from lipbench.cli import event_log, progress
from lipbench.cli.estimate import Estimate, span
from lipbench.cli.event_log import EventLog
from lipbench.contract.execution import Event, Work
from lipbench.execution import dispatch

Suite = Callable[..., Path]


def job(number: int, *metrics: str) -> Work:
    cells = [{"id": f"{number}{m}", "metric": {"label": m}} for m in metrics]
    return Work(id=f"job{number}", title="", payload={"job": {"cells": cells}}, cells=tuple(c["id"] for c in cells))


def fit(name: str) -> Work:
    return Work(id=name, title=name, payload={"fit": {}})


def record(metric: str, seconds: float | None) -> Record:
    cost = {} if seconds is None else {"seconds": seconds}
    return Record(
        cell="",
        suite="",
        task="",
        roles={},
        params={},
        seed=0,
        metric=metric,
        uses={},
        code={},
        data={},
        status="ok",
        cost=cost,
    )


def test_an_estimate_weighs_cells_by_their_metric() -> None:
    estimate = Estimate([job(i, "quick", "slow") for i in range(4)], {})
    assert estimate.seconds_left(100.0, 2) is None
    assert estimate.words(100.0, 2) == ""
    estimate.cell(record("quick", 1.0))
    estimate.cell(record("slow", 9.0))
    # A quarter of the weight took 30 s.
    assert estimate.seconds_left(30.0, 2) == pytest.approx(90.0)
    assert re.fullmatch(r"about 1 min left, until .*\d\d:\d\d", estimate.words(30.0, 2))
    estimate.cell(record("slow", 9.0))
    # 19 of 40.
    assert estimate.seconds_left(38.0, 2) == pytest.approx(42.0)


def test_an_estimate_begins_with_earlier_runs() -> None:
    estimate = Estimate([job(i, "quick", "slow", "new") for i in range(4)], {"quick": 1.0, "slow": 9.0})
    # What nobody has measured takes as long as a cell usually does, here 5 s; two run at once.
    assert estimate.seconds_left(0.1, 2) == pytest.approx(4 * (1 + 9 + 5) / 2)


def test_an_estimate_survives_cells_that_take_no_time() -> None:
    estimate = Estimate([job(0, "m"), job(1, "m")], {"m": 0.0})
    estimate.cell(record("m", None))
    assert estimate.seconds_left(5.0, 1) == pytest.approx(5.0)
    assert estimate.seconds_left(5.0, 0) == pytest.approx(5.0)
    assert Estimate([job(0, "m")], {"m": 3.0}).seconds_left(5.0, 0) is None


def test_an_estimate_owns_that_it_knows_no_fit() -> None:
    estimate = Estimate([fit("a"), fit("b"), job(0, "m"), job(1, "m")], {"m": 10.0})
    assert estimate.words(1.0, 1) == "at least 20 s left"
    estimate.work(fit("a"), 40.0)
    assert estimate.words(1.0, 1).startswith("about 1 min left, until ")
    estimate.work(fit("b"), None)
    estimate.cell(record("m", None))
    assert estimate.seconds_left(100.0, 1) == pytest.approx(100 * 10 / 50)


def test_spans_have_two_units() -> None:
    assert [span(s) for s in (0, 59.9, 60, 3599, 7260, 86400 * 3 + 3600 * 5)] == [
        "0 s", "59 s", "1 min", "59 min", "2 h 1 min", "3 d 5 h",
    ]  # fmt: skip


def test_plain_lines_say_how_far_it_is(
    cli: Cli, suite: Suite, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = suite(metrics="[mean, {use: wrong, how: raise}]", seeds="3")
    words = ["run", path, "--plugin", toy, "--workers", "1", "--results"]
    last = r"\[toys: 12/12 cells, 6 failed, \d+ (s|min)\] fixed\(factor=2.0\) · numbers · seed 2"
    for pause, count in ((0.0, 6), (60.0, 1)):
        monkeypatch.setattr(progress, "QUIET_S", pause)
        monkeypatch.setattr(progress, "QUIETEST_S", pause)
        err = cli(*words, tmp_path / str(count)).err
        lines = [line for line in err.splitlines() if line.startswith("[")]
        assert len(lines) == count
        assert re.fullmatch(last, lines[-1])
        assert "\x1b" not in err
    assert cli(*words, tmp_path / "1", "--select", "metric=mean").err == ""


def test_a_failed_fit_is_said_at_once(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite(matrix=f"{{model: {{use: learned, trace: {tmp_path}, fail: true}}, data: numbers}}", metrics="[mean]")
    err = cli("run", path, "--plugin", toy, "--results", tmp_path).err
    assert re.search(r"^\[toys: \d/1 cells, .*\] FAILED fit learned\(.*\) on numbers · seed 0: crash: .+$", err, flags=re.M)


def test_silence_is_broken(cli: Cli, suite: Suite, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SILENCE_S", 0.3)
    path = suite(matrix="{model: fixed, data: numbers}", metrics="[{use: wrong, how: hang}]", timeout="1.5")
    err = cli("run", path, "--plugin", toy, "--results", tmp_path).err
    assert re.search(r"^\[toys: 0/1 cells, .*\] 1 running, for \d s fixed · numbers · seed 0$", err, flags=re.M)


def test_a_terminal_shows_what_runs_where(suite: Suite, toy: Path, tmp_path: Path) -> None:
    path = suite(matrix="{model: fixed, data: numbers}", metrics="[mean, {use: wrong, how: hang}]", seeds="2", timeout="20")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "lipbench", "run", path, "--plugin", toy, "--results", tmp_path, "--workers", "1"]
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL, stderr=theirs, env=env)
    os.close(theirs)
    wanted = re.compile(r"toys ━+.* 1/4 cells, \d+ s.*\n  cpu +[1-9] s fixed · numbers · seed 0\n +1 waiting")
    seen, found = b"", None
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
            text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode(errors="replace")).replace("\r", "")
            if found is None and (found := wanted.search(text)):
                process.terminate()
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(ours)
    assert process.wait(30) == 130
    assert found, text


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_log_has_an_event_a_line(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "trace").mkdir()
    models = f"[fixed, {{use: learned, trace: {tmp_path / 'trace'}}}]"
    path = suite(matrix=f"{{model: {models}, data: numbers}}", metrics="[mean, {use: wrong, how: raise}]")
    log = tmp_path / "log.jsonl"
    words = ["run", path, "--plugin", toy, "--results", tmp_path / "out", "--workers", "1", "--log-json", log]
    start = time.time()
    assert cli(*words).code == 1
    found = events(log)
    kinds = [e["event"] for e in found]
    assert (kinds[0], kinds[-1]) == ("run_started", "run_finished")
    assert sorted(kinds[1:-1]) == ["record_written"] * 4 + ["work_finished"] * 3 + ["work_started"] * 3
    assert {(e["suite"], e["run"], e["total"]) for e in found} == {("toys", found[0]["run"], 4)}
    assert (tmp_path / "out" / "toys" / "runs" / f"{found[0]['run']}.json").exists()
    assert [e["done"] for e in found if e["event"] == "record_written"] == [1, 2, 3, 4]
    from datetime import datetime

    assert start - 1 < datetime.fromisoformat(found[0]["time"]).timestamp() < time.time() + 1
    records = [json.loads(x) for x in (tmp_path / "out" / "toys" / "records.jsonl").read_text().splitlines()]
    told = [e for e in found if e["event"] == "record_written"]
    for name in ("cell", "status", "value", "metric", "roles", "error", "cost"):
        assert [e[name] for e in told] == [r[name] for r in records]
    fits = [e for e in found if e.get("title", "").startswith("fit ")]
    assert [(e["event"], e.get("cells"), e.get("device")) for e in fits] == [
        ("work_started", [], "cpu"), ("work_finished", None, None),
    ]  # fmt: skip
    assert found[-1]["status"] == "done"
    assert (found[-1]["computed"], found[-1]["failed"]) == (4, 2)
    cli(*words)
    assert len(events(log)) > len(found), "a second run continues the log"


def documented(heading: str) -> list[list[list[str]]]:
    """The words in backticks of each cell of the first table after a heading of docs/watching.md."""
    page = (Path(__file__).parents[2] / "docs" / "watching.md").read_text()
    rows = page.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    table = [
        [re.findall(r"`(\w+)`", cell) or [cell.strip()] for cell in row.strip("|").split("|")] for row in rows if row[:1] == "|"
    ]
    return table[2:]


def test_all_fields_are_documented(cli: Cli, suite: Suite, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, set[str]] = {}
    for fields, names, *_ in documented("As events"):
        for name in names:
            known.setdefault(name, set()).update(fields)
    assert set(known) == {
        "all", "run_started", "work_started", "note", "work_again", "work_finished", "work_failed", "record_written", "run_finished"
    }  # fmt: skip
    models = f"[fixed, {{use: learned, trace: {tmp_path}, fail: true}}]"
    path = suite(matrix=f"{{model: {models}, data: numbers}}", metrics="[mean, {use: wrong, how: kill}]")
    monkeypatch.setattr(dispatch, "BACKOFF_S", 0.01)
    cli("run", path, "--plugin", toy, "--results", tmp_path, "--log-json", tmp_path / "log")
    found = events(tmp_path / "log")
    assert {e["event"] for e in found} == set(known) - {"all", "note"}
    for event in found:
        assert set(event) == known["all"] | known[event["event"]]
    facts = json.loads((tmp_path / "toys" / "runs" / f"{found[0]['run']}.json").read_text())
    assert set(facts) == {field for fields, *_ in documented("What every run keeps") for field in fields}


def test_the_log_takes_few_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "NOTES_S", 60.0)
    run = Run(id="r", suite="s", profile=None, device="cpu", folder=tmp_path, cells=1, reused=0, facts={})
    with EventLog(tmp_path / "log") as log:
        log.run_started(run, [fit("a"), fit("b")], {})
        for epoch in range(100):
            for name in ("a", "b"):
                log.happened(Event(kind="note", work=fit(name), data={"text": f"epoch {epoch}"}))
    notes = [(e["work"], e["text"]) for e in events(tmp_path / "log") if e["event"] == "note"]
    assert notes == [("a", "epoch 0"), ("b", "epoch 0")]


def test_a_log_that_cannot_be_written_is_said_before_the_run(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    done = cli("run", suite(), "--plugin", toy, "--results", tmp_path / "out", "--log-json", tmp_path)
    assert done.code == 2
    assert done.err == f"error: --log-json {tmp_path}: Is a directory; name a file that can be written\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_ends_the_log_and_not_the_run(cli: Cli, suite: Suite, toy: Path, tmp_path: Path) -> None:
    done = cli("run", suite(), "--plugin", toy, "--results", tmp_path, "--log-json", "/dev/full")
    assert done.code == 0
    assert done.err.count("--log-json /dev/full: No space left on device; the log ends here, the run goes on\n") == 1
