# SPDX-License-Identifier: Apache-2.0
"""The executor on a Ray cluster of several machines, all of them here: values, faults, lost machines, interrupts."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Cli, Done

ray = pytest.importorskip("ray")
TOYS = Path(__file__).parents[2] / "toys"
MACHINE = {"object_store_memory": 80 * 2**20}


@dataclass
class Machines:
    """A head that runs nothing, and machines of one core each with two GPUs that are pretended."""

    cluster: Any
    nodes: list[Any] = field(default_factory=list)

    def add(self) -> None:
        self.nodes.append(self.cluster.add_node(num_cpus=1, num_gpus=2, **MACHINE))

    def kill(self) -> None:
        """One of them, without a word."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "HOME": str(tmp_path_factory.mktemp("home")), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0",
            # Ray notices a lost machine after 20 seconds, which is long for a test.
            "RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        before = {p.pid for p in psutil.Process().children(recursive=True)}
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **MACHINE})
        found = Machines(cluster)
        try:
            found.add()
            found.add()
            yield found
        finally:
            ray.shutdown()
            cluster.shutdown()
        assert _left(before) == []


def _left(before: set[int]) -> list[str]:
    """What Ray has started since and what has not ended, or was not waited for; local runs keep a server of their own."""
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        left = [p for p in psutil.Process().children(recursive=True) if p.pid not in before and not _of_local_runs(p)]
        if not left:
            return []
        time.sleep(0.1)
    return [f"{p.name()} {p.status()}" for p in left]


def _of_local_runs(process: psutil.Process) -> bool:
    try:
        return any("multiprocessing" in word for word in process.cmdline())
    except psutil.Error:
        return False


Run = Callable[..., Done]


@pytest.fixture
def run(cli: Cli, machines: Machines, tmp_path: Path) -> Run:
    """Run the suite of this test on the cluster, or with `local=True` without it."""

    def call(*words: str, local: bool = False) -> Done:
        where = ["--results", tmp_path / "local"] if local else [
            "--executor", "ray", "--address", machines.cluster.address, "--results", tmp_path / "ray"]  # fmt: skip
        return cli("run", tmp_path / "suite.yaml", "--no-plots", *where, *words)

    return call


def records(folder: Path) -> list[dict[str, Any]]:
    (file,) = folder.glob("*/records.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def values(folder: Path) -> dict[str, float]:
    found = records(folder)
    assert len({r["cell"] for r in found}) == len(found), "a cell was recorded twice"
    return {r["cell"]: r["value"] for r in found}


def when(condition: Callable[[], bool], do: Callable[[], None]) -> threading.Thread:
    """Do something as soon as a condition holds."""

    def watch() -> None:
        limit = time.monotonic() + 120
        while time.monotonic() < limit and not condition():
            time.sleep(0.02)
        do()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def write(tmp_path: Path, plugin: str, body: str) -> tuple[str, str]:
    """Write the suite; gives the words that name its plugin."""
    (tmp_path / "trace").mkdir(exist_ok=True)
    text = f"lipbench: 1\nsuite: far\n{body}".replace("TRACE", str(tmp_path / "trace"))
    (tmp_path / "suite.yaml").write_text(text)
    return "--plugin", str(TOYS / f"{plugin}.py")


def test_values_are_those_of_the_local_executor_to_the_last_bit(run: Run, tmp_path: Path) -> None:
    words = write(
        tmp_path,
        "staged",
        "task: pairs\nmatrix:\n  left: [factor, {use: factor, scale: 0.3}]\n  right: {use: factor, scale: 0.7}\n"
        "  data: rows\n  weight: [1.0, 2.0]\nmetrics: [dot, remember]\nseeds: 2\n",
    )
    done = run(*words, "--device", "cpu")
    assert done.code == 0, done.err
    assert run(*words, "--device", "cpu", local=True).code == 0
    assert values(tmp_path / "ray") == values(tmp_path / "local")
    assert len(values(tmp_path / "ray")) == 16
    assert {r["device"].partition("@")[0] for r in records(tmp_path / "ray")} == {"cpu"}
    assert {p.suffix for p in (tmp_path / "ray" / "artifacts").iterdir()} == {".json", ".safetensors"}


def test_a_fault_costs_its_cell_alone(run: Run, tmp_path: Path) -> None:
    ways = {"raise": "deliberate fault", "segfault": "SIGSEGV", "exit": "exit code 7", "hang": "took longer than 2 s"}
    metrics = ", ".join(f"{{use: wrong, how: {how}, as: {how}}}" for how in ways)
    words = write(
        tmp_path, "toy", f"task: multiply\nmatrix: {{model: fixed, data: numbers}}\nmetrics: [{metrics}, mean]\ntimeout: 2\n"
    )
    done = run(*words)
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    found = {r["metric"]: r for r in records(tmp_path / "ray")}
    assert found.pop("mean")["status"] == "ok"
    assert {how: said in found[how]["error"]["message"] for how, said in ways.items()} == dict.fromkeys(ways, True)
    assert found["hang"]["status"] == "timeout"
    # Their machines have sent back what they printed.
    logs = {path.name: path.read_text() for path in (tmp_path / "ray" / "far" / "logs").iterdir()}
    (name,) = [name for name in logs if name in found["segfault"]["error"]["message"]]
    assert "Segmentation fault" in logs[name]


def test_gpus_are_those_that_ray_gives(run: Run, tmp_path: Path) -> None:
    words = write(
        tmp_path,
        "awkward",
        "task: half\nmatrix: {model: slow, data: row, which: [0, 1, 2]}\nmetrics: [{use: world, pause: 0.2}]\n",
    )
    done = run(*words, "--device", "auto")
    assert done.code == 0, done.err
    for record in records(tmp_path / "ray"):
        assert record["extras"]["device"] == "cuda:0"
        assert record["extras"]["visible"] in ("0", "1")
        assert record["device"].partition("@")[0] == f"cuda:{record['extras']['visible']}"


def test_a_machine_that_is_lost_costs_nothing_but_time(
    run: Run, machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipbench.execution.dispatch.BACKOFF_S", 0.01)
    words = write(
        tmp_path,
        "awkward",
        "task: awkward\nmatrix: {model: {use: slow, trace: TRACE, steps: 2}, data: row, which: [0, 1, 2, 3, 4, 5, 6, 7]}\n"
        "metrics: [{use: world, pause: 0.4}, {use: world, pause: 0.4, which: 1}]\n",
    )
    machines.add()
    file = tmp_path / "ray" / "far" / "records.jsonl"
    killer = when(lambda: lines(file) >= 3 and ray.available_resources().get("CPU", 0) == 0, machines.kill)
    done = run(*words, "--device", "cpu")
    killer.join()
    assert done.code == 0, done.err
    assert "16 cells computed" in done.out
    assert run(*words, "--device", "cpu", local=True).code == 0
    assert values(tmp_path / "ray") == values(tmp_path / "local")


@pytest.mark.parametrize("times", [1, 2])
def test_interrupts_finish_what_runs_or_kill_it(run: Run, tmp_path: Path, times: int) -> None:
    trace = tmp_path / "trace"
    hang = "{use: leaves, how: hang, trace: TRACE, as: hang}"
    words = write(
        tmp_path,
        "awkward",
        "task: awkward\nmatrix: {model: {use: slow, steps: 1}, data: row, which: [0, 1, 2, 3, 4, 5]}\n"
        f"metrics: [{{use: world, pause: 0.5}}, {hang if times == 2 else '{use: world, which: 1, pause: 0.5}'}]\n",
    )

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        if times == 2:
            time.sleep(2.0)  # two signals in one wait would count as one
            os.kill(os.getpid(), signal.SIGINT)

    file = tmp_path / "ray" / "far" / "records.jsonl"
    sender = when(lambda: lines(file) >= 1 and (times == 1 or len(list(trace.iterdir())) >= 3), interrupt)
    done = run(*words, "--device", "cpu")
    sender.join()
    assert done.code == 130
    found = records(tmp_path / "ray")
    assert all(r["status"] == "ok" for r in found)
    assert 1 <= len(found) < 12
    if times == 1:
        assert len(found) % 2 == 0, "a job that ran was not finished"
        assert run(*words, "--device", "cpu").code == 0
        assert len(values(tmp_path / "ray")) == 12
    limit = time.monotonic() + 20
    while alive := [p.name for p in trace.iterdir() if psutil.pid_exists(int(p.name))]:
        assert time.monotonic() < limit, alive
        time.sleep(0.1)
