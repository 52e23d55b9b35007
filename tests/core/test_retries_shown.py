# SPDX-License-Identifier: Apache-2.0
"""What is tried again is shown: in plain lines, on a terminal, and in the log of events."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cli
from execution_cases import Case
from rich.console import Console

from lipbench.api import Run
from lipbench.cli import progress
from lipbench.cli.live import picture
from lipbench.cli.progress import Progress
from lipbench.contract.execution import Event, Work
from lipbench.execution import dispatch

OOM = {"class": "oom", "message": "OutOfMemoryError: tried to allocate 1 TiB"}


@pytest.fixture
def case(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(dispatch, "BACKOFF_S", 1.0)
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    monkeypatch.setattr(progress, "QUIETEST_S", 0.0)
    return Case(cli, tmp_path)


def again(case: Case) -> list[dict[str, object]]:
    events = [json.loads(line) for line in (case.folder / "log").read_text().splitlines()]
    return [event for event in events if event["event"] == "work_again"]


def test_a_halved_batch(case: Case) -> None:
    case.write(metrics="[{use: hungry, fits: 5}]")
    done = case.run("--log-json", case.folder / "log")
    assert done.code == 0
    found = again(case)
    assert [(e["batch_scale"], e["seconds"], e["error"]["class"]) for e in found] == [(0.5, 0.0, "oom"), (0.25, 0.0, "oom")]
    assert all(e["cell"] and e["work"] and e["title"] for e in found)
    assert re.search(
        r"^\[\w+: 0/1 cells, 1 tried again, .*\] AGAIN with 1/2 of the batch: .*: oom: MemoryError", done.err, re.M
    )
    assert re.search(r"AGAIN with 1/4 of the batch: ", done.err)


def test_a_fault_that_may_pass(case: Case) -> None:
    case.write(metrics="[{use: flaky, how: refused, trace: TRACE}]")
    done = case.run("--log-json", case.folder / "log")
    assert done.code == 0
    (event,) = again(case)
    assert (event["seconds"], event["batch_scale"]) == (1.0, 1.0)
    assert re.search(r"AGAIN in 1 s: .*: crash: ConnectionRefusedError: nobody listens", done.err)


JOB = Work(id="job", title="a network with a long name · digits · seed 0", payload={"job": {"cells": []}}, cells=("a", "b"))


class Shown:
    """A view that is told of events and asked for its lines."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: list[Work], cells: int) -> None:
        monkeypatch.setattr(progress.sys, "stderr", io.StringIO())
        self.view = Progress()
        run = Run(
            id="r", suite="suite_with_a_name", profile=None, device="cpu", folder=tmp_path, cells=cells, reused=0, facts={}
        )
        self.view.run_started(run, works, {})

    def tell(self, kind: str, work: Work, **data: object) -> None:
        self.view.happened(Event(kind=kind, work=work, data=data))  # type: ignore[arg-type]

    def lines(self, width: int) -> list[str]:
        out = io.StringIO()
        Console(file=out, width=width, force_terminal=False).print(picture(self.view, width))
        return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_view_counts_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(JOB, id="other", title="other")
    shown = Shown(tmp_path, monkeypatch, [JOB, other], 4)
    assert shown.lines(80)[-1] == "  2 waiting"
    shown.tell("started", JOB, device="cpu")
    # A cell waits in a work of its own while the rest of its job goes on.
    shown.tell("again", JOB, cell="a", error=OOM, seconds=0.0, batch_scale=0.5)
    assert shown.lines(200)[1:] == [
        f"  cpu 0 s {JOB.title}", "  2 waiting", f"  again with 1/2 of the batch: {JOB.title}: oom: {OOM['message']}"
    ]  # fmt: skip
    part = replace(JOB, id="job.1", cells=("a",), batch_scale=0.5)
    shown.tell("finished", JOB)
    shown.tell("started", part, device="cpu")
    assert shown.view.waiting() == 1
    # As a whole it runs no longer.
    shown.tell("again", part, cell="", error=OOM, seconds=8.0, batch_scale=0.5)
    assert (shown.view.waiting(), list(shown.view.running)) == (2, [])
    shown.tell("started", part, device="cpu")
    shown.tell("waits", part)
    assert (shown.view.waiting(), list(shown.view.running)) == (2, [])
    shown.tell("started", part, device="cpu")
    shown.tell("finished", part)
    shown.tell("failed", other, error=OOM)
    assert shown.view.waiting() == 0
    shown.view.run_finished(shown.view.run, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    works = [replace(JOB, id=f"{i}", title=f"{JOB.title} {'long ' * 30}{i}") for i in range(40)]
    shown = Shown(tmp_path, monkeypatch, works, 123456)
    shown.view.failed = shown.view.again = 1234
    for work in works[:20]:
        shown.tell("started", work, device="cuda:10@node7")
    shown.tell("again", works[0], cell="a", error=OOM, seconds=300.0, batch_scale=1.0)
    lines = shown.lines(width)
    head = 1 if width == 120 else 2
    assert len(lines) == head + 8 + 2
    assert all(len(line) <= width for line in lines)
    assert all(line.startswith("  cuda:10@node7 0 s a") for line in lines[head:-2])
    assert lines[-2] == "  12 more running, 21 waiting"
    assert lines[-1].startswith("  again in 5 min: a network")
    shown.view.run_finished(shown.view.run, None)  # type: ignore[arg-type]
