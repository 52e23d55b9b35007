# SPDX-License-Identifier: Apache-2.0
"""A run whose surroundings are no help: a stderr that takes nothing, a closed terminal, a time limit that is no number."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli
from execution_cases import Case

from lipbench.results.store import Store

Suite = Callable[..., Path]


@pytest.mark.parametrize("end", ["2>/dev/full", "2>&-"])
def test_a_stderr_that_takes_nothing_costs_nothing(suite: Suite, toy: Path, tmp_path: Path, end: str) -> None:
    words = [sys.executable, "-m", "lipbench", "run", str(suite()), "--plugin", str(toy), "--results", str(tmp_path / "out")]
    done = subprocess.run(["sh", "-c", f"exec {shlex.join(words)} {end}"], stdout=subprocess.PIPE, text=True, check=False)
    assert len((tmp_path / "out" / "toys" / "records.jsonl").read_text().splitlines()) == 4
    assert "4 cells computed, 0 reused, 0 failed" in done.stdout


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "0", "-1"])
def test_a_time_limit_is_a_number_of_seconds(cli: Cli, suite: Suite, toy: Path, tmp_path: Path, seconds: str) -> None:
    done = cli("run", suite(), "--plugin", toy, "--results", tmp_path / "out", "--timeout", seconds)
    assert done.code == 2
    assert "--timeout" in done.err
    assert not (tmp_path / "out").exists()
    if seconds != "nan":
        said = {"inf": ".inf", "1e300": "1.0e+300"}.get(seconds, seconds)
        assert cli("validate", suite(timeout=said), "--plugin", toy).code == 2


def test_a_closed_terminal_ends_no_run_that_was_told_to_go_on(suite: Suite, toy: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lipbench", "run", str(suite()), "--plugin", str(toy), "--results", str(tmp_path / "out")]
    code = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        limit = time.monotonic() + 60
        while run.poll() is None and time.monotonic() < limit:
            if (tmp_path / "out" / "toys").exists():  # it has set up what it listens to
                run.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        out, err = run.communicate()
    assert run.returncode == 0, err
    assert "4 cells computed" in out


@pytest.mark.parametrize(("metric", "code"), [("mean", 0), ("{use: wrong, how: raise}", 1)])
@pytest.mark.parametrize("end", ["2>/dev/null | true", "2>&1 | true"])
def test_a_reader_that_goes_away_changes_neither_the_run_nor_its_exit_code(
    suite: Suite, toy: Path, tmp_path: Path, end: str, metric: str, code: int
) -> None:
    first = suite("first.yaml", suite="first", metrics=f"[{metric}]")
    words = [sys.executable, "-m", "lipbench", "run", str(first), str(suite()), "--plugin", str(toy), "--no-plots"]
    words += ["--results", str(tmp_path / "out")]
    told = tmp_path / "code"
    subprocess.run(["sh", "-c", f"( {shlex.join(words)}; echo $? > {told} ) {end}"], check=True)
    assert int(told.read_text()) == code
    assert len((tmp_path / "out" / "toys" / "records.jsonl").read_text().splitlines()) == 4


def test_artifacts_that_cannot_be_stored_are_an_error_before_anything_runs(cli: Cli, tmp_path: Path) -> None:
    case = Case(cli, tmp_path)
    case.write()
    (tmp_path / "file").touch()
    done = case.run("--artifacts", str(tmp_path / "file" / "below"))
    assert done.code == 1
    assert "choose another folder by --artifacts" in done.err
    assert len(done.err.splitlines()) == 1
    assert case.file.read_text() == ""


def test_ctrl_c_ends_the_wait_for_another_run(suite: Suite, toy: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lipbench", "run", str(suite()), "--plugin", str(toy), "--results", str(tmp_path / "out")]
    with (
        Store(tmp_path / "out" / "toys"),
        subprocess.Popen([*words, "--wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run,
    ):
        assert run.stderr is not None
        assert "held by another run" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        run.communicate()
    assert run.returncode == 130
