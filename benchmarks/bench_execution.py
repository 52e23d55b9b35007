# SPDX-License-Identifier: Apache-2.0
"""What the local executor costs: idle time, late kills, the parent's work for a cell, the schedule. All measured in this one run.

    python benchmarks/bench_execution.py

The first two are wall times and need a machine that has its cores to itself; its load is printed with them.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lipbench.api import Event, Work
from lipbench.execution.devices import Machine, Pool
from lipbench.execution.runner import RunOptions, run_suite
from lipbench.execution.simulate import simulate
from lipbench.execution.watch import Watcher
from lipbench.plugins import PluginOptions
from lipbench.registry import load_registry
from lipbench.suite.load import load_suite

AWKWARD = Path(__file__).parents[1] / "tests" / "toys" / "awkward.py"
PLUGINS = PluginOptions(extra=(str(AWKWARD),), autoload=False)


def say(what: str, figure: str, target: str) -> None:
    """One line of the report."""
    print(f"{what:<58} {figure:<52} {target}")


def run(folder: Path, name: str, text: str, watch: Callable[[Event], None] = lambda _: None, workers: int = 2) -> Path:
    """Run a suite in this process, whose clocks then show what the parent does; the file of records."""
    path = folder / f"{name}.yaml"
    path.write_text(f"lipbench: 1\nsuite: {name}\n{text}")
    options = RunOptions(results=folder / "results", plugins=PLUGINS, device="cpu", workers=workers)
    watcher = Watcher()
    watcher.happened = watch  # type: ignore[method-assign]
    outcome = run_suite(load_suite(path), load_registry(PLUGINS), options, watcher, lambda: 0)
    return outcome.folder / "records.jsonl"


def bench_idleness(folder: Path) -> None:
    """200 jobs of 0.2 s on 2 workers against their sum over 2, from the first start to the last end."""
    for task, words in (("shared", "in shared workers"), ("awkward", "each in a process of its own")):
        text = (
            f"task: {{use: {task}, pause: 0.2}}\nmetrics: [world]\nmatrix: {{model: {{use: slow, steps: 0}}, data: row, which: "
        )
        # The fit that all jobs wait for, and the start of the server, are no part of what is measured.
        run(folder, f"first-{task}", text + "0}\n")
        times = _moments(folder, f"all-{task}", text + f"{list(range(1, 201))}}}\n")
        ideal, wall = 200 * 0.2 / 2, times[-1] - times[0]
        say(f"200 jobs of 0.2 s on 2 workers, {words}", f"ideal / wall {ideal / wall:.3f} ({wall:.2f} s)", "at least 0.9")


def _moments(folder: Path, name: str, text: str) -> list[float]:
    """When each event of a run came."""
    times: list[float] = []
    run(folder, name, text, lambda _: times.append(time.perf_counter()))
    return times


def bench_timeout(folder: Path) -> None:
    """From the time limit of a job that hangs to the end of its process group, with children in sessions of their own."""
    trace = folder / "trace"
    trace.mkdir()
    limit = 1.0
    text = f"task: awkward\nmatrix: {{model: {{use: slow, steps: 0}}, data: row}}\ntimeout: {limit}\n"
    starts: list[float] = []

    def watch(event: Event) -> None:
        if event.kind == "started":
            starts.append(time.perf_counter())

    metrics = f"metrics: [{{use: leaves, how: hang, trace: '{trace}'}}]\n"
    run(folder, "hang", text + metrics, watch)
    done = time.perf_counter()
    left = [pid for pid in (int(p.name) for p in trace.iterdir()) if _alive(pid)]
    late = done - starts[-1] - limit
    say(
        "a time-out to the end of its process tree",
        f"{late:.2f} s after the limit, start included; {len(left)} left",
        "under 1.5",
    )


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    return False


def bench_parent(folder: Path) -> None:
    """CPU seconds of the parent for a cell, of 10,000, against writing the same lines and syncing each."""
    metrics = ", ".join(f"{{use: world, which: {k}}}" for k in range(10))
    text = f"task: shared\nmatrix: {{model: {{use: slow, steps: 0}}, data: row, which: {list(range(1000))}}}\nmetrics: [{metrics}]\n"
    spent = time.process_time()
    wall = time.perf_counter()
    records = run(folder, "many", text)
    spent, wall = time.process_time() - spent, time.perf_counter() - wall
    lines = records.read_bytes().splitlines(keepends=True)
    bare = time.process_time()
    with (folder / "bare").open("wb", buffering=0) as file:
        for line in lines:
            file.write(json.dumps(json.loads(line)).encode() + b"\n")
            os.fsync(file.fileno())
    bare = time.process_time() - bare
    each = spent / len(lines) * 1000
    say(
        f"the parent's work for a cell, of {len(lines):,}",
        f"{each:.2f} CPU ms, {spent / bare:.1f} times a bare line ({wall:.0f} s wall)",
        "under 1 ms",
    )


def bench_schedule(_: Path) -> None:
    """10,000 jobs behind 200 fits on 64 slots, simulated, against what no schedule can beat."""
    chance = random.Random(1)  # noqa: S311
    works: list[Work] = []
    for fit in range(200):
        works.append(Work(id=f"f{fit}", title="", payload={}, seconds=chance.lognormvariate(4, 1)))
    for job in range(10_000):
        needs = frozenset({f"f{chance.randrange(200)}"})
        works.append(
            Work(id=f"j{job}", title="", payload={}, cells=("c",), needs=needs, uses=needs, seconds=chance.lognormvariate(1, 1))
        )
    seconds = {work.id: work.seconds for work in works}
    chain = max(w.seconds + sum(seconds[n] for n in w.needs) for w in works)
    bound = max(chain, sum(seconds.values()) / 64)
    start = time.perf_counter()
    made = max(turn.end for turn in simulate(works, Pool.of(Machine(cores=64), "cpu", None)))
    spent = time.perf_counter() - start
    say("schedule of 10,000 jobs on 64 slots", f"bound / made {bound / made:.3f}, planned in {spent:.2f} s", "at least 0.95")


def main() -> None:
    """Run all, or those that are named."""
    parts = {"schedule": bench_schedule, "timeout": bench_timeout, "parent": bench_parent, "idleness": bench_idleness}
    load = [round(x, 1) for x in os.getloadavg()]
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "load": load, "python": sys.version.split()[0]}))
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["LIPBENCH_CACHE"] = f"{folder}/cache"
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
