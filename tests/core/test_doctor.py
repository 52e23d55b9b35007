# SPDX-License-Identifier: Apache-2.0
"""The usual troubles: each is found, is one line, and says what to do; a sound machine has none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Done
from filelock import FileLock

from lipbench.cli import troubles
from lipbench.results import machine
from lipbench.results.machine import Gpus, Torch

Doctor = Callable[..., Done]


@pytest.fixture
def doctor(cli: Cli, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """`lipbench doctor` on a sound machine of 4 cores without a GPU, but for what is said otherwise."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def call(results: Path | None = None, **facts: Any) -> Done:
        sound: dict[str, Any] = {
            "gpus": Gpus(), "installed_torch": Torch(version="2.13.0", cuda=(13, 0)), "cores": 4.0, "visible_cores": 4, "environment": {},
        }  # fmt: skip
        for name, value in (sound | facts).items():
            monkeypatch.setattr(machine, name, lambda value=value: value)
        return cli("doctor", "--no-plugins", "--plugin", toy, "--results", results or tmp_path)

    return call


def lines(done: Done) -> list[str]:
    return [line for line in done.out.splitlines() if line.startswith(("broken: ", "warning: "))]


def test_a_sound_machine_has_no_trouble(doctor: Doctor, tmp_path: Path) -> None:
    done = doctor()
    assert (done.code, lines(done), done.err) == (0, [], "")
    assert done.out.splitlines()[-1] == "all is well"
    assert list(tmp_path.iterdir()) == []
    assert doctor(results=tmp_path / "not" / "there").code == 0
    assert list(tmp_path.iterdir()) == []


DRIVER = Gpus(names=("NVIDIA H100",), driver="550.54.15", cuda=(12, 4))


@pytest.mark.parametrize("gpus", [DRIVER, Gpus(driver="550.54.15"), Gpus(cuda=(12, 4))])
def test_a_torch_without_cuda(gpus: Gpus, doctor: Doctor) -> None:
    done = doctor(gpus=gpus, installed_torch=Torch(version="2.13.0+cpu", cuda=None))
    (line,) = lines(done)
    assert done.code == 1
    assert line.startswith("broken: there is an NVIDIA driver")
    assert "torch 2.13.0+cpu is built without CUDA: install a build with CUDA" in line
    assert done.out.splitlines()[-1] == "1 broken, 0 warnings"


def test_a_torch_that_is_too_new_for_the_driver(doctor: Doctor) -> None:
    done = doctor(gpus=DRIVER, installed_torch=Torch(version="2.13.0+cu130", cuda=(13, 0)))
    assert lines(done) == [
        "broken: torch 2.13.0+cu130 is built with CUDA 13.0, but the NVIDIA driver 550.54.15 runs CUDA 12.4 at most: "
        "update the driver, or install a torch built with CUDA 12"
    ]
    assert done.code == 1


def test_a_torch_that_sees_no_gpu_says_why(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    # A newer minor version of CUDA runs on an older driver; this torch is asked, and here it finds none.
    done = doctor(gpus=DRIVER, installed_torch=Torch(version="2.13.0+cu128", cuda=(12, 8)))
    (line,) = lines(done)
    assert done.code == 1
    assert line.startswith("broken: there is an NVIDIA driver 550.54.15, but torch 2.13.0+cu128 sees no GPU (")
    assert line.endswith("): see what nvidia-smi says, restart after an update of the driver, or write --device cpu")
    monkeypatch.setattr(troubles, "ask_torch", lambda: None)
    assert doctor(gpus=DRIVER, installed_torch=Torch(version="2.13.0+cu128", cuda=(12, 8))).code == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    done = doctor(gpus=DRIVER, installed_torch=Torch(version="2.13.0+cu128", cuda=(12, 8)))
    assert lines(done) == ["warning: CUDA_VISIBLE_DEVICES hides all GPUs: unset it to use them"]
    assert done.code == 0


def test_too_many_threads(doctor: Doctor) -> None:
    done = doctor(environment={"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "many"})
    assert lines(done) == [
        "warning: OMP_NUM_THREADS=4 in each of 4 workers makes 16 threads for 4 cores: write export OMP_NUM_THREADS=1"
    ]
    assert done.code == 0
    assert done.out.splitlines()[-1] == "0 broken, 1 warning"
    done = doctor(cores=1.5, visible_cores=64)
    assert lines(done) == ["warning: 64 cores are visible, but this container may use 1.5: write --workers 1"]


def test_a_slow_disk(doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor()  # keeps the descriptions of components, which is synced too
    calls: list[int] = []
    monkeypatch.setattr(troubles.os, "fsync", calls.append)
    clock = iter(range(100))
    monkeypatch.setattr(troubles.time, "perf_counter", lambda: next(clock) / 10)
    done = doctor()
    assert lines(done) == [
        f"warning: a record takes 100 ms to reach the disk of {tmp_path}: choose a folder on a local disk by --results"
    ]
    assert len(calls) == 5


def test_a_disk_that_cannot_be_written(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = doctor(results=tmp_path / "file")
    assert done.code == 1
    assert lines(done) == [
        f"broken: {tmp_path / 'file'} cannot be written: Not a directory; choose another folder by --results"
    ]


def hold(folder: Path, pid: int, host: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / ".holder.json").write_text(json.dumps({"pid": pid, "host": host or socket.gethostname()}))
    return folder


def test_who_holds_a_folder(doctor: Doctor, tmp_path: Path) -> None:
    folder = hold(tmp_path / "toys", os.getpid())
    with FileLock(folder / ".lock"):
        done = doctor()
    who = f"process {os.getpid()} on {socket.gethostname()}"
    assert lines(done) == [f"warning: {folder} is held by {who}, which still runs: wait for it, or choose --results"]
    assert done.code == 0


def test_what_a_killed_run_left(doctor: Doctor, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = hold(tmp_path / "toys", gone.pid)
    who = f"process {gone.pid} on {socket.gethostname()}"
    left = f"warning: {folder} was left by {who}, which was killed: run again, nothing that was finished is lost"
    assert lines(doctor()) == [left]
    with FileLock(folder / ".lock"):
        (line,) = lines(doctor())
    assert f"{folder} is locked for {who}, which does not run here" in line
    assert f"delete {folder / '.lock'}" in line
    # Another process that has got the number since: it began after the file was written.
    (folder / ".holder.json").write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    os.utime(folder / ".holder.json", (1e9, 1e9))
    (line,) = lines(doctor())
    assert "was left by" in line
    hold(folder, 7, "elsewhere")
    with FileLock(folder / ".lock"):
        (line,) = lines(doctor())
    assert "locked for process 7 on elsewhere, which does not run here" in line
    (folder / ".holder.json").write_text("garbage")
    (line,) = lines(doctor())
    assert "was left by a process that did not say who it is" in line


def test_the_machine_is_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "NVIDIA", tmp_path)
    assert machine.gpus().names == ()
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (tmp_path / "gpus" / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 1\n")
    for text in (
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version: 12.2.0\n",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.104.05  Release Build  (me)  Sat Aug 19\n",
    ):
        (tmp_path / "version").write_text(text)
        found = machine.gpus()
        assert (found.names, found.driver) == (("NVIDIA H100 80GB HBM3",), "535.104.05")
        assert found.there
    import torch

    assert machine.installed_torch() == Torch(
        version=torch.__version__, cuda=tuple(map(int, torch.version.cuda.split("."))) if torch.version.cuda else None
    )


def test_the_environment_of_a_run_holds_no_secret(cli: Cli, suite: Any, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("SOME_TOKEN", "secret-7391")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cli("run", suite(matrix="{model: fixed, data: numbers}", metrics="[mean]"), "--plugin", toy, "--results", tmp_path)
    (path,) = (tmp_path / "toys" / "runs").iterdir()
    text = path.read_text()
    assert "secret-7391" not in text
    facts = json.loads(text)
    assert facts["environment"]["OMP_NUM_THREADS"] == "1"
    assert facts["command"][:2] == ["lipbench", "run"]
    assert facts["packages"]["numpy"]
    assert facts["memory_bytes"] > 2**28
    assert set(facts["git"] or {}) in ({"commit", "dirty"}, set())
