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
from lipbench.execution import devices
from lipbench.results import machine
from lipbench.results.machine import Gpus, Torch

Doctor = Callable[..., Done]


@pytest.fixture
def doctor(cli: Cli, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """`lipbench doctor` on a sound machine of 4 cores without a GPU, but for what is said otherwise."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def call(results: Path | None = None, plugin: Path = toy, **facts: Any) -> Done:
        sound: dict[str, Any] = {
            "gpus": Gpus(), "installed_torch": Torch(version="2.13.0", cuda=(13, 0)), "cores": 4.0, "environment": {},
        }  # fmt: skip
        for name, value in (sound | facts).items():
            monkeypatch.setattr(machine, name, lambda value=value: value)
        return cli("doctor", "--no-plugins", "--plugin", plugin, "--results", results or tmp_path)

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


@pytest.mark.parametrize("name", ["OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"])
def test_threads_that_are_bound(doctor: Doctor, name: str) -> None:
    done = doctor(environment={name: "cores"})
    assert lines(done) == [f"warning: {name}=cores binds the threads of all workers to the same cores: write unset {name}"]
    assert done.code == 0
    assert done.out.splitlines()[-1] == "0 broken, 1 warning"


def test_what_the_executor_sees_to_itself_is_no_trouble(doctor: Doctor) -> None:
    # Workers set their number of threads, and what a container does not give is not counted as cores.
    assert lines(doctor(environment={"OMP_NUM_THREADS": "64", "MKL_NUM_THREADS": "8", "OMP_PROC_BIND": "false"})) == []
    assert lines(doctor(cores=0.5)) == []


def test_a_task_with_more_threads_than_cores(doctor: Doctor, toy: Path, tmp_path: Path) -> None:
    plugin = tmp_path / f"greedy_{tmp_path.name}.py"
    plugin.write_text(toy.read_text().replace("class Multiply(Task):\n", "class Multiply(Task):\n    cpus = 6\n"))
    said = "uses 6 threads, but here are 4 cores: its jobs run one at a time, and slowly"
    found = lines(doctor(plugin=plugin, results=tmp_path / "out"))
    assert found == [f"warning: a job of task {task!r} {said}" for task in ("multiply", "shared_multiply")]
    assert lines(doctor(plugin=plugin, results=tmp_path / "out", cores=5.5)) == []


def test_a_driver_without_a_gpu(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(troubles, "ask_torch", lambda: "RuntimeError: No CUDA GPUs are available")
    done = doctor(gpus=Gpus(driver="570.86.15", cuda=(13, 0)))
    assert lines(done) == [
        "broken: there is an NVIDIA driver 570.86.15, but torch 2.13.0 sees no GPU (RuntimeError: No CUDA GPUs are available): "
        "see what nvidia-smi says, restart after an update of the driver, or write --device cpu"
    ]
    assert done.code == 1


def test_a_broken_plugin(doctor: Doctor, tmp_path: Path, toy: Path) -> None:
    plugin = tmp_path / f"half_{tmp_path.name}.py"
    plugin.write_text(toy.read_text().replace(":{cls}", ":{cls}" + "s" * 2))
    done = doctor(plugin=plugin, results=tmp_path / "out")
    assert done.code == 1
    assert len(lines(done)) == 9
    assert all(line.startswith("broken: ") and "cannot be loaded: AttributeError" in line for line in lines(done))


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


def test_gpus_are_those_that_the_tool_of_the_driver_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        "echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1b2c)'\n"
        "echo '  MIG 1g.10gb     Device  0: (UUID: MIG-77)'\n"
        "echo 'GPU 1: NVIDIA A30 (UUID: GPU-3d4e)'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.gpus().names == ("NVIDIA H100 80GB HBM3", "NVIDIA A30")
    assert devices.detect().gpus == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert devices.detect().gpus == ("1",)


def test_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CONTAINER", tmp_path)
    free = devices.detect()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert devices.detect() == free
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2**27}\n")
    assert (machine.cores(), machine.memory_bytes()) == (0.5, 2**27)
    assert (devices.detect().cores, devices.detect().memory) == (1, 2**27)


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
