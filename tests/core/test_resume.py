# SPDX-License-Identifier: Apache-2.0
"""A run that is killed, runs out of disk or meets another one goes on where it was: nothing is lost, nothing is done twice."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Cli
from execution_cases import Case
from filelock import FileLock

from lipbench.files import write_atomic
from lipbench.results import store

# What a user runs, but for the patience between two tries.
RUN = (
    "import lipbench.execution.dispatch as d; d.BACKOFF_S = d.LONGEST_BACKOFF_S = 0.001\nfrom lipbench.cli import main; main()"
)
KILLS = 50


@pytest.fixture
def case(cli: Cli, tmp_path: Path) -> Case:
    return Case(cli, tmp_path)


def chaotic(case: Case, jobs: int) -> Path:
    """Six cells for each of so many values, in jobs that wait for two fits, each of some steps."""
    models = "[{use: slow, steps: 6, pause: 0.03, as: a}, {use: slow, steps: 8, pause: 0.03, as: b}]"
    metrics = ", ".join(f"{{use: world, which: {k}, pause: 0.01, as: w{k}}}" for k in range(3))
    return case.write(task="shared", model=models, which=str(list(range(jobs))), metrics=f"[{metrics}]")


def values(case: Case) -> dict[str, float]:
    """Values by cell, of which no one may be there twice."""
    records = case.records()
    assert {r["status"] for r in records} == {"ok"}
    found = {r["cell"]: r["value"] for r in records}
    assert len(found) == len(records)
    return found


def start(case: Case, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", RUN, *map(str, case.words("run", "--no-plots", "--workers", "2", *words))]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def workers(parent: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Worker processes of a run: what its server has forked."""
    with suppress(psutil.Error):
        below = psutil.Process(parent.pid).children(recursive=True)
        return [p for p in below if p.parent() is not None and p.parent().pid != parent.pid]  # type: ignore[union-attr]
    return []


def disturb(case: Case, chance: random.Random) -> dict[str, int]:
    """Run to the end, and kill a worker, the parent, or all at once at a random moment after every few cells."""
    killed = {"worker": 0, "parent": 0, "all": 0}
    # Of the turns, those at which the parent goes, alone or with all others.
    last = {12: "parent", 24: "all", 36: "parent", 48: "all"}
    turn, due = 0, 0
    while True:
        run = start(case, "--retries", "100")
        while run.poll() is None:
            time.sleep(chance.uniform(0.001, 0.02))
            done = case.file.read_bytes().count(b"\n") if case.file.exists() else 0
            fitting = bool(list((case.folder / "results" / "artifacts").glob("*.partial")))
            if turn >= KILLS + 4 or done < due or not (done or fitting) or not (found := workers(run)):
                continue
            turn, due = turn + 1, done + chance.randrange(1, 6) if done else 0
            whom = last.get(turn, "worker")
            for process in {"worker": [chance.choice(found)], "parent": [], "all": found}[whom]:
                with suppress(psutil.Error):
                    process.kill()
            if whom != "worker":
                run.kill()
            killed[whom] += 1
        if run.wait() >= 0:
            assert run.returncode == 0
            return killed


def test_kills_at_random_moments_lose_nothing_and_repeat_nothing(case: Case) -> None:
    chaotic(case, 40)
    assert case.run("--workers", "2").code == 0
    undisturbed = values(case)
    assert len(undisturbed) == 240
    (case.folder / "results").rename(case.folder / "undisturbed")
    killed = disturb(case, random.Random(7))  # noqa: S311
    assert values(case) == undisturbed
    assert sum(killed.values()) >= KILLS
    assert (killed["parent"], killed["all"]) == (2, 2)
    for artifact in (case.folder / "undisturbed" / "artifacts").glob("*.safetensors"):
        assert (case.folder / "results" / "artifacts" / artifact.name).read_bytes() == artifact.read_bytes()


class _Full:
    """A file on a disk that is full now and then, in the middle of a line."""

    def __init__(self, file: Any, chance: random.Random) -> None:
        self.file, self.chance = file, chance

    def write(self, data: bytes) -> int:
        if self.chance.random() < 0.04:
            self.file.write(bytes(data)[: self.chance.randrange(len(data))])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self.file.write(bytes(data)[: self.chance.randrange(1, len(data) + 1)]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_a_full_disk_and_torn_lines_lose_nothing_and_repeat_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    chaotic(case, 6)
    assert case.run("--workers", "2").code == 0
    undisturbed = values(case)
    (case.folder / "results").rename(case.folder / "undisturbed")
    chance = random.Random(3)  # noqa: S311
    enter, truncate = store.Store.__enter__, os.ftruncate

    def on_a_full_disk(self: store.Store) -> store.Store:
        enter(self)
        self._out = _Full(self._out, chance)  # type: ignore[assignment]
        return self

    def unwilling(handle: int, size: int) -> None:
        if chance.random() < 0.5:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        truncate(handle, size)

    monkeypatch.setattr(store.Store, "__enter__", on_a_full_disk)
    monkeypatch.setattr(os, "ftruncate", unwilling)
    full = torn = 0
    while (done := case.run("--workers", "2")).code != 0:
        assert "No space left on device; free some space and run again" in done.err
        assert len([line for line in done.err.splitlines() if line.startswith("error:")]) == 1
        full += 1
        torn += not case.file.read_bytes().endswith(b"\n")
    assert values(case) == undisturbed
    assert full >= 3
    assert torn >= 1


def test_a_record_that_could_not_be_written_is_taken_back(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.write(which="[0, 1]")
    case.run("--select", "which=0")
    before = case.file.read_bytes()
    enter = store.Store.__enter__

    class Always(random.Random):
        def random(self) -> float:
            return 0.0

    def on_a_full_disk(self: store.Store) -> store.Store:
        enter(self)
        self._out = _Full(self._out, Always(1))  # type: ignore[assignment]
        return self

    monkeypatch.setattr(store.Store, "__enter__", on_a_full_disk)
    assert case.run().code == 1
    assert case.file.read_bytes() == before


def test_a_file_is_on_the_disk_before_its_name_and_the_name_before_we_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    sync = os.fsync

    def watched(handle: int) -> None:
        seen.append((os.path.samestat(os.fstat(handle), tmp_path.stat()), (tmp_path / "file").exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_atomic(tmp_path / "file", "content")
    assert seen == [(False, False), (True, True)]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "file", "old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(tmp_path / "file", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_halves_of_artifacts_that_nobody_writes_any_more_are_removed(case: Case) -> None:
    case.write()
    folder = case.folder / "results" / "artifacts"
    folder.mkdir(parents=True)
    for name, age in (("old", 2 * 86400), ("young", 60)):
        (folder / f".{name}.safetensors.tmp").write_bytes(b"half")
        os.utime(folder / f".{name}.safetensors.tmp", (time.time() - age,) * 2)
    assert case.run().code == 0
    assert [path.name for path in folder.glob(".*")] == [".young.safetensors.tmp"]


@pytest.fixture
def held(case: Case) -> Iterator[FileLock]:
    folder = case.folder / "results" / "awkward"
    folder.mkdir(parents=True)
    (folder / ".holder.json").write_text('{"pid": 77, "host": "there"}')
    with FileLock(folder / ".lock", thread_local=False) as lock:
        yield lock


def test_a_second_run_waits_for_the_first_where_it_is_told_to(case: Case, held: FileLock) -> None:
    case.write()
    release = threading.Timer(0.8, held.release)
    release.start()
    done = case.run("--wait")
    release.join()
    assert done.code == 0
    assert done.err.count("held by another run (process 77 on there)") == 1
    assert "1 cells computed" in done.out


def test_waiting_ends_with_an_interrupt(case: Case, held: FileLock) -> None:
    case.write()
    command = [sys.executable, "-c", RUN, *map(str, case.words("run", "--wait"))]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert run.stderr is not None
    assert "waiting" in run.stderr.readline()
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 130
    assert said.splitlines() == ["stopping: no cell is running"]


def test_a_fit_goes_on_from_its_checkpoint_when_its_worker_was_killed(case: Case) -> None:
    case.write(model="{use: slow, steps: 12, pause: 0.1, trace: TRACE}")
    run = start(case)
    for done in (3, 7):
        while len(list(case.trace.iterdir())) < done:
            time.sleep(0.02)
        for process in workers(run):
            with suppress(psutil.Error):
                process.kill()
    assert run.wait(60) == 0
    steps = [int(path.name.partition("-")[0]) for path in case.trace.iterdir()]
    assert set(steps) == set(range(12))
    assert len(steps) <= 14
    assert list((case.folder / "results" / "artifacts").glob("*.partial")) == []


def test_a_run_outlives_the_server_of_its_workers(case: Case) -> None:
    case.write(model="{use: slow, steps: 6, pause: 0.1, trace: TRACE}", which="[0, 1, 2]")
    run = start(case)
    while len(list(case.trace.iterdir())) < 2:
        time.sleep(0.02)
    server = workers(run)[0].parent()
    assert server is not None
    server.kill()
    assert run.wait(60) == 0
    assert len(values(case)) == 3


def test_what_hangs_goes_with_a_parent_that_was_killed(case: Case) -> None:
    case.write(metrics="[{use: leaves, how: hang, trace: TRACE}]")
    run = start(case)
    while len(list(case.trace.iterdir())) < 3:
        time.sleep(0.02)
    doomed = [*workers(run), *(psutil.Process(int(path.name)) for path in case.trace.iterdir())]
    assert len(doomed) > 3
    run.kill()
    run.wait()
    _, left = psutil.wait_procs(doomed, timeout=10)
    assert left == []
