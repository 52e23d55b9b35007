# SPDX-License-Identifier: Apache-2.0
"""What goes along to the machines of a cluster, what is asked of them, and what is said where that cannot be had."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from conftest import Cli
from lipbench_ray.baggage import pack, unpack
from lipbench_ray.cluster import options, slots

from lipbench.api import LipbenchError, Resources, Work

BIG, SMALL = {"CPU": 8.0, "GPU": 2.0, "memory": 64e9}, {"CPU": 2.0, "memory": 8e9}


@pytest.mark.parametrize(
    ("asked", "device", "chosen", "places"),
    [
        (Resources(), "cpu", {"num_cpus": 1}, 10),
        (Resources(cpus=4), "cpu", {"num_cpus": 4}, 2),
        (Resources(cpus=1, gpus=0.5), "cuda", {"num_cpus": 1, "num_gpus": 0.5}, 4),
        (Resources(cpus=1, gpus=1.0), "cuda", {"num_cpus": 1, "num_gpus": 1}, 2),
        (Resources(memory=8 * 10**9), "cpu", {"num_cpus": 1, "memory": 8e9}, 9),
        # More than there is anywhere: the largest machine, to itself.
        (Resources(cpus=99, memory=10**12), "cpu", {"num_cpus": 8, "memory": 64e9}, 1),
    ],
)
def test_a_work_asks_ray_for_its_resources(asked: Resources, device: str, chosen: dict[str, float], places: int) -> None:
    assert options(asked, device, [BIG, SMALL]) == chosen
    assert slots(chosen, [BIG, SMALL]) == places


def test_gpus_that_are_not_there_yet_are_waited_for() -> None:
    assert options(Resources(), "cuda", [SMALL]) == {"num_cpus": 1, "num_gpus": 1}
    assert slots({"num_cpus": 1, "num_gpus": 1}, [SMALL]) == 0


def _work(factory: str) -> Work:
    use = {"factory": factory, "params": {"looks": {"factory": "like.one:X", "params": {}}}}
    return Work(id="a", title="a", payload={"job": {"task": use, "cells": [{"metric": use}]}})


def test_a_plugin_in_a_file_goes_along_where_the_disk_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "travels.py"
    plugin.write_text("WHERE = 1\n")
    there = pack("one", [str(plugin), "json"], [])
    assert unpack(there, "far") == (str(plugin), "json")
    plugin.write_text("WHERE = 2\n")
    copy, module = unpack(dataclasses.replace(there, name="two"), "far")
    assert (Path(copy).name, module) == ("travels.py", "json")
    assert Path(copy).read_text() == "WHERE = 1\n"


def test_variables_modules_and_the_working_directory_are_those_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIPBENCH_DATA", "/shared/data")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    there = pack("three", [], [])
    monkeypatch.chdir("/")
    monkeypatch.delenv("LIPBENCH_DATA")
    sys.path.remove(str(tmp_path))
    unpack(there, "far")
    import os

    assert (Path.cwd(), os.environ["LIPBENCH_DATA"], str(tmp_path) in sys.path) == (tmp_path, "/shared/data", True)


def test_other_code_on_a_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "far_away"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    there = pack("four", [], [_work("far_away.parts:A")])
    assert set(there.sources) == {"lipbench", "far_away"}
    (package / "parts.py").write_text("A = 2\n")
    with pytest.raises(LipbenchError, match="package far_away on machine m7 is another version of it; install there"):
        unpack(there, "m7")
    (package / "parts.py").unlink()
    (package / "__init__.py").unlink()
    package.rmdir()
    with pytest.raises(LipbenchError, match="package far_away on machine m7 is not installed"):
        unpack(there, "m7")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--address", "ray://head:10001"], "Ray Client cannot stream results"),
        (["--address", "head:6379", "--device", "cuda:1"], "Ray chooses the GPU"),
        (["--address", "127.0.0.1:1"], "--address 127.0.0.1:1: nothing answers there"),
    ],
)
def test_what_cannot_be_is_one_line(cli: Cli, toy: Path, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "s.yaml").write_text(
        "lipbench: 1\nsuite: s\ntask: multiply\nmatrix: {model: fixed, data: numbers}\nmetrics: [mean]\n"
    )
    done = cli("run", tmp_path / "s.yaml", "--plugin", toy, "--results", tmp_path / "out", "--executor", "ray", *words)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_missing_package_is_named(cli: Cli, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "s.yaml").write_text(
        "lipbench: 1\nsuite: s\ntask: multiply\nmatrix: {model: fixed, data: numbers}\nmetrics: [mean]\n"
    )
    done = cli("run", tmp_path / "s.yaml", "--plugin", toy, "--results", tmp_path / "out", "--executor", "ray")
    assert done.code == 1
    assert "pip install 'lipbench[ray]'" in done.err
