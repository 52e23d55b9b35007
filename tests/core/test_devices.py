# SPDX-License-Identifier: Apache-2.0
"""Which device a work gets: pretended GPUs, shares of them, threads and memory, and what workers see of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from conftest import Cli
from execution_cases import Case

from lipbench.api import LipbenchError, Resources
from lipbench.execution import devices
from lipbench.execution.devices import Machine, Pool, device_class

SERVER = Machine(gpus=tuple("abcdefgh"), cores=16, memory=64 * 2**30)


@pytest.fixture
def case(cli: Cli, tmp_path: Path) -> Case:
    return Case(cli, tmp_path)


def packed(pool: Pool, asked: Resources) -> Counter[str]:
    """Devices of as many works as have room."""
    found: Counter[str] = Counter()
    while (place := pool.find(asked)) is not None:
        pool.occupy(place, asked)
        found[place.device] += 1
    return found


@pytest.mark.parametrize(
    ("machine", "wanted", "asked", "expected"),
    [
        (SERVER, "auto", Resources(), {f"cuda:{k}": 1 for k in range(8)}),
        (SERVER, "cuda", Resources(gpus=0.5), {f"cuda:{k}": 2 for k in range(8)}),
        (SERVER, "cuda:3", Resources(gpus=0.25), {"cuda:3": 4}),
        # Idle GPUs are worse than threads that share cores, but only the first job of each has that right.
        (SERVER, "auto", Resources(gpus=0.5, cpus=4), {f"cuda:{k}": 1 for k in range(8)}),
        (SERVER, "auto", Resources(gpus=0.6), {f"cuda:{k}": 1 for k in range(8)}),
        (SERVER, "auto", Resources(gpus=0.5, memory=20 * 2**30), {"cuda:0": 1, "cuda:1": 1, "cuda:2": 1}),
        (SERVER, "cpu", Resources(cpus=3), {"cpu": 5}),
        (Machine(cores=2), "auto", Resources(cpus=8), {"cpu": 1}),
        (Machine(cores=2, memory=1), "cpu", Resources(memory=2), {"cpu": 1}),
        (Machine(cores=6, mps=True), "auto", Resources(), {"mps": 1}),
    ],
)
def test_works_are_packed_by_what_they_ask_for(
    machine: Machine, wanted: str, asked: Resources, expected: dict[str, int]
) -> None:
    pool = Pool.of(machine, wanted, None)
    assert pool.slots(asked) == sum(expected.values())
    assert packed(pool, asked) == expected


def test_workers_of_the_command_line_count_instead() -> None:
    assert packed(Pool.of(SERVER, "cuda", 12), Resources()).most_common()[0][1] == 2
    assert packed(Pool.of(Machine(cores=1), "cpu", 3), Resources(cpus=4)) == {"cpu": 3}


def test_a_place_is_free_again_when_its_work_has_ended() -> None:
    pool, big, small = Pool.of(SERVER, "cuda:0", None), Resources(gpus=0.7, memory=1), Resources(gpus=0.3)
    one = pool.find(big)
    assert one is not None
    pool.occupy(one, big)
    pool.occupy(one, small)
    assert pool.find(small) is None
    pool.leave(one, big)
    assert pool.find(big) is not None
    pool.leave(one, small)
    assert packed(pool, small) == {"cuda:0": 3}


@pytest.mark.parametrize(
    ("wanted", "machine", "said"),
    [
        ("gpu", SERVER, "write auto, cpu, cuda, cuda:0 or mps"),
        ("cpu:1", SERVER, "write auto, cpu, cuda, cuda:0 or mps"),
        ("cuda:8", SERVER, "the GPUs here are cuda:0 to cuda:7"),
        ("cuda:1", Machine(gpus=("0",)), "the one GPU here is cuda:0"),
        ("cuda", Machine(), "no NVIDIA GPU is visible here"),
        ("mps", Machine(), "there is no GPU of Apple here"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(wanted: str, machine: Machine, said: str) -> None:
    with pytest.raises(LipbenchError, match=said):
        device_class(wanted, machine)


def test_hidden_gpus_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, expected in (("4,GPU-77", ("4", "GPU-77")), ("", ()), ("-1", ())):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert devices.detect().gpus == expected


def test_each_worker_sees_its_own_gpu_and_no_other(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "detect", lambda: SERVER)
    case.write(metrics="[{use: world, pause: 0.3}]", which="[0, 1, 2, 3, 4, 5, 6, 7]")
    assert case.run().code == 0
    found = {r["device"]: r["extras"] for r in case.records()}
    assert {device: seen["visible"] for device, seen in found.items()} == {f"cuda:{k}": "abcdefgh"[k] for k in range(8)}
    assert {seen["device"] for seen in found.values()} == {"cuda:0"}
    assert len({seen["pid"] for seen in found.values()}) == 8


def test_jobs_that_ask_for_half_a_gpu_share_it_with_their_own_threads(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "detect", lambda: Machine(gpus=("5",), cores=4, memory=2**30))
    case.write(task="half", metrics="[{use: world, pause: 0.5}]", which="[0, 1]")
    assert case.run().code == 0
    first, second = case.records()
    assert (first["device"], second["device"]) == ("cuda:0", "cuda:0")
    assert first["extras"]["pid"] != second["extras"]["pid"]
    assert first["extras"]["threads"] == [2, "2"]
    assert first["extras"]["visible"] == "5"


def test_on_the_cpu_all_gpus_are_hidden(case: Case) -> None:
    case.write()
    assert case.run("--device", "cpu").code == 0
    assert (case.one()["device"], case.one()["extras"]["visible"]) == ("cpu", "")


def test_a_run_goes_on_with_other_gpus_and_a_cpu_run_is_another(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "detect", lambda: SERVER)
    case.write(task="shared", which="[0, 1, 2]")
    case.run("--select", "which=0", "--select", "which=1")
    monkeypatch.setattr(devices, "detect", lambda: Machine(gpus=("9",), cores=2))
    assert "1 cells computed, 2 reused" in case.run().out
    assert "3 cells computed, 0 reused" in case.run("--device", "cpu").out
    assert "0 cells computed, 3 reused" in case.run("--device", "cuda:0").out
    values = [r["value"] for r in case.records()]
    assert sorted(values[:3]) == sorted(values[3:])


def test_the_plan_says_which_device_a_job_would_get(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.write(which="[0, 1, 2, 3]")
    (only,) = {json.loads(line)["device"] for line in case.plan("--json", "--device", "cpu").out.splitlines()}
    assert only == "cpu"
    monkeypatch.setattr(devices, "detect", lambda: Machine(gpus=("0", "1"), cores=4))
    rows = [json.loads(line) for line in case.plan("--json").out.splitlines()]
    assert Counter(row["device"] for row in rows) == {"cuda:0": 2, "cuda:1": 2}
    shown = case.plan().out
    assert "which=0 · seed 0 on cuda:" in shown
    assert "fit slow on row · seed 0 on cuda:0" in shown


def test_resources_and_limits_change_no_id_but_threads_do(case: Case) -> None:
    case.write(task="half")

    def ids(*words: str) -> list[str]:
        done = case.plan("--json", "--device", "cpu", *words)
        assert done.code == 0, done.err
        return [json.loads(line)["cell"] for line in done.out.splitlines()]

    plain = ids()
    assert ids("--set", "resources={gpus: 0.25, memory: 3 GiB, cpus: 2}", "--set", "timeout=5") == plain
    assert ids("--set", "resources.cpus=1") != plain


def test_a_suite_sets_what_jobs_ask_for(case: Case) -> None:
    case.write(extra="resources: {cpus: 3}\n")
    assert case.run("--device", "cpu").code == 0
    assert case.one()["extras"]["threads"] == [3, "3"]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("resources: {gpus: 2}", "suite.yaml:6: resources.gpus: input should be less than or equal to 1, found 2"),
        ("resources: {cpus: 0}", "suite.yaml:6: resources.cpus: input should be greater than or equal to 1"),
        (
            "resources: {memory: 4 GB}",
            "suite.yaml:6: resources.memory: an amount of memory is written 512 MiB or 4 GiB, found '4 GB'",
        ),
        ("resources: {gpu: 1}", "suite.yaml:6: unknown key 'gpu'; did you mean 'gpus'?"),
        ("timeout: 0", "suite.yaml:6: timeout: input should be greater than 0"),
    ],
)
def test_wrong_resources_are_named_with_their_line(case: Case, extra: str, said: str) -> None:
    case.write(extra=f"{extra}\n")
    done = case.run()
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_the_json_schema_knows_resources(cli: Cli) -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads(cli("schema", "--no-plugins").out)
    good: dict[str, object] = {
        "lipbench": 1,
        "suite": "s",
        "task": "t",
        "matrix": {},
        "resources": {"gpus": 0.5, "memory": "4 GiB"},
    }
    assert list(Draft202012Validator(schema).iter_errors(good)) == []
    for wrong in ({"gpus": 2}, {"memory": "4 GB"}, {"gpu": 1}):
        assert list(Draft202012Validator(schema).iter_errors(good | {"resources": wrong})) != []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gpus = 0.5", "gpus is 2.0"),
        ("cpus = 2", "cpus is 0"),
        ('memory = "1 MiB"', "memory is '1M'"),
        ("timeout = 1.5", "timeout is -1"),
    ],
)
def test_a_task_that_asks_for_nonsense_is_refused(case: Case, line: str, said: str) -> None:
    from execution_cases import AWKWARD

    wrong = {
        "gpus = 0.5": "gpus = 2.0",
        "cpus = 2": "cpus = 0",
        'memory = "1 MiB"': 'memory = "1M"',
        "timeout = 1.5": "timeout = -1",
    }
    name = f"wrong_{case.folder.name}"
    (case.folder / f"{name}.py").write_text(AWKWARD.read_text().replace(line, wrong[line]))
    case.write(task="brief" if "timeout" in line else "half")
    done = case.cli("plan", case.folder / "suite.yaml", "--plugin", case.folder / f"{name}.py", "--no-plugins")
    assert done.code == 2
    assert said in done.err


def test_values_are_the_same_whatever_the_workers(case: Case) -> None:
    case.write(task="half", which="[0, 1, 2]")
    found = []
    for workers in ("1", "3"):
        case.file.unlink(missing_ok=True)
        assert case.run("--workers", workers, "--device", "cpu").code == 0
        found.append({r["cell"]: (r["value"], tuple(r["extras"]["threads"])) for r in case.records()})
    assert found[0] == found[1]
    assert os.environ.get("OMP_NUM_THREADS") == "1"
