# SPDX-License-Identifier: Apache-2.0
"""Large suites and large stores: planning 100,000 cells, resuming and showing 1,000,000 records. Every figure is of this one run.

    python benchmarks/bench_scale.py

Each part runs in a fresh process, which gives its peak of memory. Seconds depend on the machine; the ratios do not much.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TOY = Path(__file__).parents[1] / "tests" / "toys" / "toy.py"
SUITE = """lipbench: 1
suite: bench
task: shared_multiply
matrix: {{model: [fixed, {{use: fixed, factor: 2.0}}], data: numbers, power: [{powers}]}}
metrics: [{metrics}]
seeds: {seeds}
"""
PLAN = """
from lipbench.plugins import PluginOptions
from lipbench.registry import load_registry
from lipbench.suite.load import load_suite
from lipbench.suite.plan import make_plan
start = time.perf_counter()
registry = load_registry(PluginOptions(extra=(sys.argv[2],)))
plan = make_plan(load_suite(Path(sys.argv[1])), registry)
answer = {"cells": sum(1 for _ in plan.cells()), "jobs": len(plan.jobs)}
registry.save()
"""
READ = """
start = time.perf_counter()
answer = {"lines": sum(line.endswith(b"\\n") for line in (Path(sys.argv[1]) / "records.jsonl").open("rb"))}
"""
LOADS = """
start = time.perf_counter()
answer = {"lines": sum("cell" in json.loads(line) for line in (Path(sys.argv[1]) / "records.jsonl").open("rb"))}
"""
RESUME = """
from lipbench.results.store import Store, read_history
start = time.perf_counter()
with Store(Path(sys.argv[1])):
    answer = {"cells": len(read_history(Path(sys.argv[1])).statuses)}
"""
BOARD = """
from lipbench.leaderboard.board import make_board, render
start = time.perf_counter()
answer = {"bytes": len(render([make_board(Path(sys.argv[1]), [])], "md"))}
"""


def fresh(code: str, folder: Path, *words: str) -> dict[str, Any]:
    """What a piece of code answers in a process of its own, with its seconds and its peak of memory in MiB."""
    head = "import json, resource, sys, time\nfrom pathlib import Path\n"
    tail = (
        "answer |= {'s': time.perf_counter() - start, 'CPU': time.process_time(), 'MiB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}\n"
        "assert 'torch' not in sys.modules\nprint(json.dumps(answer))\n"
    )
    env = {**os.environ, "LIPBENCH_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", head + code + tail, *words], capture_output=True, text=True, check=True, env=env
    )
    return json.loads(done.stdout.splitlines()[-1])


def took(answer: dict[str, Any]) -> str:
    """Seconds, those of the processor, which include the start of Python, and the peak of memory."""
    return f"{answer['s']:.2f} s ({answer['CPU']:.2f} CPU), {answer['MiB']:.0f} MiB"


def say(what: str, figure: str, target: str) -> None:
    """One line of the report."""
    print(f"{what:<46} {figure:<72} {target}", flush=True)


def bench_plan(folder: Path) -> None:
    """100,000 cells, as many jobs of one cell and as jobs of ten, against a tenth of each."""
    ten = ", ".join(f"{{use: mean, noise: {i}.5}}" for i in range(10))
    for name, powers, metrics, seeds in (("jobs of 1 cell", "1, 2, 3, 4, 5", "mean", 10_000), ("jobs of 10", "1", ten, 5_000)):
        taken = []
        for count in (1, seeds // 10, seeds):  # the first fills the cache of descriptions
            path = folder / "suite.yaml"
            path.write_text(SUITE.format(powers=powers, metrics=metrics, seeds=count))
            taken.append(fresh(PLAN, folder, str(path), str(TOY)))
        tenth, last = taken[1:]
        say(
            f"plan {last['cells']:,} cells in {last['jobs']:,} {name}",
            f"{took(last)}; {last['s'] / tenth['s']:.1f} times a tenth of it",
            "under 10 s",
        )


def bench_store(folder: Path) -> None:
    """Records of two sizes, against reading the file and against parsing it with the standard library."""
    for name, extras in (("0.8 kB", {"rows": 8}), ("2 kB", {"trace": [i / 7 for i in range(65)]})):
        store = folder / name.replace(" ", "")
        store.mkdir()
        with (store / "records.jsonl").open("w") as file:
            for number in range(1_000_000):
                file.write(json.dumps(record(number, extras)) + "\n")
        read, loads, resume = (fresh(code, folder, str(store)) for code in (READ, LOADS, RESUME))
        assert resume["cells"] == read["lines"] == loads["lines"] == 1_000_000
        say(
            f"resume 1,000,000 records of {name}",
            f"{took(resume)}; {resume['s'] / read['s']:.1f} readings, {resume['s'] / loads['s']:.2f} json.loads",
            "under 10 s and 2048 MiB",
        )
        (store / "plan.json").write_text(json.dumps(plan(10_000)))
        board = fresh(BOARD, folder, str(store))
        say(
            f"leaderboard of 10,000 of them ({name})",
            f"{took(board)}; {board['s'] / resume['s']:.1f} times resuming",
            "",
        )
        (store / "records.jsonl").unlink()


def plan(cells: int) -> dict[str, Any]:
    """The plan of the first cells, as a run leaves it."""
    jobs = [
        {"roles": {"model": "fixed", "data": "numbers"}, "varying": {}, "seed": seed, "cells": {f"{seed:016x}": "mean"}}
        for seed in range(cells)
    ]
    words = {"suite": "bench", "title": "", "description": "", "citation": "", "profile": None, "task": "multiply"}
    return {**words, "leaderboard": {}, "reference": None, "jobs": jobs}


def record(number: int, extras: dict[str, Any]) -> dict[str, Any]:
    """A record as a small task gives it."""
    names = {"task": "multiply", "metric": "mean", "model": "fixed", "data": "numbers"}
    return {
        "cell": f"{number:016x}", "suite": "bench", "task": "multiply", "roles": {"model": "fixed", "data": "numbers"},
        "params": {"task": {"power": 1}, "metric": {"noise": 0.0}, "model": {"factor": 1.0}, "data": {"count": 8, "file": None}},
        "seed": number, "metric": "mean", "uses": names, "code": dict.fromkeys(names, "0123456789abcdef"), "data": {},
        "status": "ok", "value": number / 3, "unit": "1", "direction": "higher", "interval": None, "group": "mean",
        "unranked": None, "extras": extras, "device": "cpu", "error": None, "run": "20260101-000000-abcdef",
        "cost": {"seconds": 0.001, "forwards": 8, "backwards": 0, "peak_bytes": 123456789},
    }  # fmt: skip


def main() -> None:
    """Run all."""
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}))
    with tempfile.TemporaryDirectory() as name:
        bench_plan(Path(name))
        bench_store(Path(name))


if __name__ == "__main__":
    main()
