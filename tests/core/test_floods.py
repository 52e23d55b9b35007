# SPDX-License-Identifier: Apache-2.0
"""A job that says too much, and one that leaves its process changed, cost nobody else anything."""

from __future__ import annotations

import threading
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import Cli
from execution_cases import Case

from lipbench.execution import hands
from lipbench.execution.process import LONGEST


@pytest.fixture
def case(cli: Cli, tmp_path: Path) -> Case:
    return Case(cli, tmp_path)


def test_output_without_end_keeps_its_beginning_and_its_end(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "LOG_BYTES", 1 << 20)
    case.write(metrics="[{use: floods, how: output, seconds: 1.0}]")
    done = case.run()
    assert done.code == 0, done.err
    (log,) = (case.folder / "results" / "awkward" / "logs").iterdir()
    text = log.read_text()
    assert len(text) <= 1 << 20
    assert text.startswith("much ado\n")
    assert "the middle was cut out here" in text
    assert text.endswith("the end\n")


@pytest.mark.parametrize("how", ["report", "notes"])
def test_notes_without_end_keep_nobody_from_being_heard(case: Case, how: str) -> None:
    case.write(
        which="[0, 1, 2]", metrics=f"[world, {{use: floods, how: {how}, as: floods}}, {{use: world, pause: 600, as: hangs}}]"
    )
    assert case.run("--timeout", "1.5", "--workers", "2").code == 1
    found = [(r["metric"], r["status"]) for r in case.records()]
    assert sorted(found) == sorted([("world", "ok"), ("floods", "timeout"), ("hangs", "timeout")] * 3)


def test_a_message_without_end_is_not_kept(case: Case) -> None:
    case.write(metrics="[{use: floods, how: endless, as: floods}, world]")
    assert case.run().code == 1
    found = {r["metric"]: r for r in case.records()}
    assert found["world"]["status"] == "ok"
    assert found["floods"]["status"] == "failed"
    assert "closed its pipe" in found["floods"]["error"]["message"]


def test_of_a_message_that_is_too_long_the_parent_holds_no_more_than_so_much(tmp_path: Path) -> None:
    ours, theirs = Pipe(duplex=False)
    nobody = cast("Any", None)
    hand = hands.Hand(process=nobody, inbox=nobody, outbox=ours, log=tmp_path / "log", started=0.0)
    theirs_end = threading.Thread(target=_pour, args=(theirs,))
    theirs_end.start()
    most = 0
    while not hand.mute:
        assert list(hand.hear()) == []
        most = max(most, len(hand._heard))
    ours.close()
    theirs_end.join()
    assert 0 < most <= LONGEST
    assert not hand._heard


def _pour(pipe: Any) -> None:
    try:
        while True:
            hands.os.write(pipe.fileno(), b"x" * 65536)
    except OSError:
        pipe.close()


@pytest.mark.parametrize("task", ["shared", "awkward"])
def test_the_next_job_and_the_next_metric_find_the_process_as_it_was(case: Case, task: str) -> None:
    case.write(task=task, which="[0, 1, 2]", metrics="[untidy, {use: untidy, tidy: true, as: tidy}]")
    done = case.run("--workers", "1")
    assert done.code == 0, (done.err, case.records())
    records = case.records()
    assert [r["extras"]["changed"] for r in records] == [[]] * 6
    assert len({r["extras"]["pid"] for r in records}) == (1 if task == "shared" else 3)
    logs = [log.read_text() for log in (case.folder / "results" / "awkward" / "logs").iterdir()]
    assert sum(text.count("still heard") for text in logs) == 6
