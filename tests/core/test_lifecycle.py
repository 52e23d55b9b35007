# SPDX-License-Identifier: Apache-2.0
"""Lifecycle hooks: what they are told, and that a bad one costs nothing of the run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from lipbench.api import Record
from lipbench.contract.errors import StoreError
from lipbench.execution import watch
from lipbench.results.store import Store

Suite = Callable[..., Path]
HEAD = "import json, sys, threading, time\nfrom lipbench.api import Record, Run, RunEnd, hookimpl\n"
DIARY = """
def note(*words):
    with open({diary!r}, "a") as file:
        file.write(json.dumps(words) + "\\n")

@hookimpl
def lipbench_run_started(run: Run):
    note("started", run.suite, run.cells, run.reused, run.device, run.facts["suite"]["task"], str(run.folder))

@hookimpl
def lipbench_record_written(record: Record, run: Run):
    lines = (run.folder / "records.jsonl").read_text().splitlines()
    note("record", record.metric, record.status, record.cell in "".join(lines), record.run == run.id)

@hookimpl
def lipbench_run_finished(end: RunEnd):
    note("finished", end.status, end.computed, end.failed, end.seconds > 0)
"""


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """Write a plugin in one file; its hooks may keep a diary."""
    made = []

    def write(name: str, text: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(HEAD + text)
        made.append(name)
        return path

    yield write
    for name in made:
        sys.modules.pop(name, None)


def diary(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def records(results: Path) -> dict[str, Any]:
    return {r["cell"]: r["value"] for r in map(json.loads, (results / "toys" / "records.jsonl").read_text().splitlines())}


def test_hooks_are_told_of_a_run(
    cli: Cli, suite: Suite, toy: Path, listener: Callable[[str, str], Path], tmp_path: Path
) -> None:
    file, out = tmp_path / "diary", tmp_path / "out"
    plugins = ["--plugin", toy, "--plugin", listener("listen_all", DIARY.format(diary=str(file)))]
    path = suite(metrics="[mean, {use: wrong, how: raise}]")
    cli("run", path, *plugins, "--results", out, "--select", "metric=mean")
    assert diary(file) == [
        ["started", "toys", 2, 0, "cpu", "multiply", str(out / "toys")],
        *[["record", "mean", "ok", True, True]] * 2,
        ["finished", "done", 2, 0, True],
    ]
    file.unlink()
    cli("run", path, *plugins, "--results", out)
    told = diary(file)
    assert told[0][1:4] == ["toys", 2, 2]
    assert [t[2] for t in told[1:-1]] == ["failed", "failed"]
    assert told[-1][1:4] == ["done", 2, 2]
    file.unlink()
    cli("run", path, *plugins, "--results", out, "--select", "metric=mean")
    assert diary(file) == []


BAD = {
    "raises": ("raise ValueError('no\\nserver')", "lipbench_record_written raised ValueError: no server"),
    "ours": ("from lipbench.api import InvalidInput; raise InvalidInput('write this')", "lipbench_record_written raised write this"),
    "leaves": ("sys.exit(3)", "lipbench_record_written raised SystemExit: 3"),
    "blocks": ("time.sleep(600)", "a hook has not returned for 1.5 s"),
}  # fmt: skip


@pytest.mark.parametrize("how", BAD)
def test_a_bad_hook_costs_nothing_and_is_named_once(
    how: str, cli: Cli, suite: Suite, toy: Path, listener: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(watch, "PATIENCE_S", 1.5 if how == "blocks" else 60.0)
    code, words = BAD[how]
    bad = listener(f"listen_{how}", f"@hookimpl\ndef lipbench_record_written(record):\n    {code}\n")
    good = listener(f"listen_beside_{how}", DIARY.format(diary=str(tmp_path / "diary")))
    plugins = ["--plugin", toy, "--plugin", bad, "--plugin", good]
    done = cli("run", suite(seeds="3"), *plugins, "--results", tmp_path / "out")
    assert done.code == 0, done.err
    assert done.err.count(f"plugin listen_{how}: {words}; the run goes on without it\n") == 1
    assert done.err.count("goes on without it") == 1
    assert "12 cells computed, 0 reused, 0 failed" in done.out
    assert len(diary(tmp_path / "diary")) == 14


def test_a_hook_cannot_change_what_is_recorded_or_shown(
    cli: Cli, suite: Suite, toy: Path, listener: Callable[[str, str], Path], tmp_path: Path
) -> None:
    code = "    record.roles.clear()\n    record.error['message'] = 'mine'\n"
    bad = listener("listen_change", f"@hookimpl\ndef lipbench_record_written(record):\n{code}")
    path = suite(metrics="[{use: wrong, how: raise}]")
    done = cli("run", path, "--plugin", toy, "--plugin", bad, "--results", tmp_path / "out")
    assert "fixed · numbers · seed 0 · wrong(how=raise): crash: RuntimeError: deliberate fault" in done.err
    assert "mine" not in done.err + (tmp_path / "out" / "toys" / "records.jsonl").read_text()


def test_one_that_falls_behind_is_left(
    cli: Cli, suite: Suite, toy: Path, listener: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BACKLOG", 2)
    slow = listener("listen_slow", "@hookimpl\ndef lipbench_record_written(record):\n    time.sleep(1)\n")
    path = suite(task="shared_multiply", seeds="5")
    done = cli("run", path, "--plugin", toy, "--plugin", slow, "--results", tmp_path / "out")
    assert done.code == 0
    assert "plugin listen_slow: lipbench_record_written is 2 calls behind; the run goes on without it" in done.err
    assert "20 cells computed" in done.out


def test_a_plugin_may_want_to_hear_nothing(
    cli: Cli, suite: Suite, toy: Path, listener: Callable[[str, str], Path], tmp_path: Path
) -> None:
    text = DIARY.format(diary=str(tmp_path / "diary")).replace("str(run.folder))", "str(run.folder))\n    return False")
    path = suite()
    cli("run", path, "--plugin", toy, "--plugin", listener("listen_little", text), "--results", tmp_path / "out")
    assert [told[0] for told in diary(tmp_path / "diary")] == ["started"]


def test_a_run_that_cannot_go_on_is_finished_too(
    cli: Cli, suite: Suite, toy: Path, listener: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Store.append

    def once(store: Store, records: Iterable[Record]) -> None:
        if store.path.stat().st_size:
            raise StoreError("the disk is full")
        write(store, records)

    monkeypatch.setattr(Store, "append", once)
    plugin = listener("listen_to_the_end", DIARY.format(diary=str(tmp_path / "diary")))
    log = tmp_path / "log"
    done = cli("run", suite(), "--plugin", toy, "--plugin", plugin, "--results", tmp_path / "out", "--log-json", log)
    assert (done.code, done.err) == (1, "error: the disk is full\n")
    assert [told[0] for told in diary(tmp_path / "diary")] == ["started", "record", "finished"]
    assert diary(tmp_path / "diary")[-1] == ["finished", "broken", 1, 0, True]
    assert json.loads(log.read_text().splitlines()[-1])["status"] == "broken"


def test_values_are_the_same_with_and_without_hooks(
    cli: Cli, suite: Suite, toy: Path, listener: Callable[[str, str], Path], tmp_path: Path
) -> None:
    path = suite()
    with_hooks = listener("listen_beside", DIARY.format(diary=str(tmp_path / "diary")))
    cli("run", path, "--plugin", toy, "--results", tmp_path / "a")
    cli("run", path, "--plugin", toy, "--plugin", with_hooks, "--results", tmp_path / "b")
    assert records(tmp_path / "a") == records(tmp_path / "b")


def test_an_unknown_parameter_of_a_hook_is_named(cli: Cli, listener: Callable[[str, str], Path]) -> None:
    done = cli("list", "--plugin", listener("listen_odd", "@hookimpl\ndef lipbench_run_finished(result):\n    pass\n"))
    assert done.code == 1
    assert "result" in done.err
    assert len(done.err.strip().splitlines()) == 1
    done = cli("list", "--plugin", listener("listen_misspelt", "@hookimpl\ndef lipbench_run_start(run):\n    pass\n"))
    assert "did you mean 'lipbench_run_started'?" in done.err


UNSPEAKABLE = """
class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")

@hookimpl
def lipbench_record_written(record: Record):
    raise Unspeakable
"""


def test_a_fault_that_cannot_be_put_into_words_costs_nothing(
    cli: Cli, suite: Suite, toy: Path, listener: Callable[[str, str], Path], tmp_path: Path
) -> None:
    done = cli("run", suite(), "--plugin", toy, "--plugin", listener("unspeakable", UNSPEAKABLE), "--results", tmp_path / "out")
    assert done.code == 0
    assert len(records(tmp_path / "out")) == 4
    assert done.err.count("Unspeakable: it cannot be put into words; the run goes on without it") == 1
