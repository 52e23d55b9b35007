# SPDX-License-Identifier: Apache-2.0
"""What the harness itself costs: cells, workers, plans, start-up, resuming. Every figure is measured in this one run.

    python benchmarks/bench_harness.py

Seconds depend on the machine; the ratios against a bare Python process and a bare `import torch` in the same run do not much.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TOY = Path(__file__).parents[1] / "tests" / "toys" / "toy.py"
SUITE = """lipbench: 1
suite: bench
task: {task}
matrix: {{model: fixed, data: numbers}}
metrics: [{metrics}]
seeds: {seeds}
"""


def cpu(words: list[str], folder: Path, repeat: int = 3, **more: str) -> tuple[float, float]:
    """Smallest CPU seconds and wall seconds of a command, children included."""
    env = {**os.environ, "LIPBENCH_CACHE": str(folder / "cache"), **more}
    best: list[tuple[float, float]] = []
    for _ in range(repeat):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, env=env)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        best.append((spent, time.perf_counter() - start))
    return min(b[0] for b in best), min(b[1] for b in best)


def lipbench(*words: str) -> list[str]:
    """A command line of this lipbench with the toy plugin."""
    return [sys.executable, "-m", "lipbench", *words]


def say(what: str, figure: str, target: str) -> None:
    """One line of the report."""
    print(f"{what:<58} {figure:<42} {target}")


def run_cells(folder: Path, task: str, seeds: int, metrics: str = "mean") -> tuple[float, float, int]:
    """CPU and wall seconds of a fresh run, and its number of cells."""
    path = folder / f"{task}{seeds}.yaml"
    path.write_text(SUITE.format(task=task, metrics=metrics, seeds=seeds))
    results = folder / f"out-{task}-{seeds}"
    words = lipbench(
        "run", str(path), "--plugin", str(TOY), "--results", str(results), "--workers", "1", "--no-plots", "--device", "cpu"
    )
    spent, wall = cpu(words, folder, repeat=1)
    return spent, wall, sum(1 for _ in (results / "bench" / "records.jsonl").open())


def bench_cells(folder: Path) -> None:
    """Cost of one more cell in a shared worker and of one more isolated job: the slope between two sizes."""
    small, large = run_cells(folder, "shared_multiply", 100), run_cells(folder, "shared_multiply", 1100)
    each = (large[0] - small[0]) / (large[2] - small[2]) * 1000
    say("trivial cell in a shared worker", f"{each:.2f} CPU ms", "under 2")
    few, many = run_cells(folder, "multiply", 5), run_cells(folder, "multiply", 45)
    say("isolated job", f"{(many[1] - few[1]) / 40:.3f} s wall", "under 0.15")


def bench_start(folder: Path) -> None:
    """Start-up against a bare interpreter and against importing torch."""
    bare, _ = cpu([sys.executable, "-c", "pass"], folder)
    torch, _ = cpu([sys.executable, "-c", "import torch"], folder)
    helps, _ = cpu(lipbench("--help"), folder, repeat=5)
    say(
        "--help", f"{helps * 1000:.0f} CPU ms ({helps / bare:.1f} bare pythons, {helps / torch:.2f} torch imports)", "under 150"
    )
    site = folder / "site"
    for i in range(48):
        info = site / f"plug{i}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plug{i}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[lipbench]\nplug{i} = plug{i}\n")
        (site / f"plug{i}.py").write_text(
            "from lipbench.api import Component, hookimpl\n@hookimpl\ndef lipbench_components():\n"
            + "".join(
                f"    yield Component(kind='metric', name='m{i}_{j}', factory='plug{i}:M', summary='s')\n" for j in range(5)
            )
        )
    _, wall = cpu(lipbench("list"), folder, repeat=5, PYTHONPATH=str(site))
    say("list with 50 plugins", f"{wall:.3f} s wall", "under 0.3")


def bench_plan(folder: Path) -> None:
    """Planning, validating and resuming 10,000 cells, less what the same command costs for 10 cells."""

    def command(name: str, seeds: int) -> tuple[float, float]:
        path = folder / f"plan{seeds}.yaml"
        path.write_text(
            SUITE.format(
                task="shared_multiply", metrics=", ".join(f"{{use: mean, noise: {i}.5}}" for i in range(10)), seeds=seeds
            )
        )
        return cpu(lipbench(name, str(path), "--plugin", str(TOY), *(["--results", "none"] if name == "plan" else [])), folder)

    for name in ("plan", "validate"):
        (_, base), (_, full) = command(name, 1), command(name, 1000)
        say(f"{name} 10,000 cells", f"{full:.2f} s wall ({base:.2f} s for 10 cells)", "under 1")


def bench_resume(folder: Path) -> None:
    """A second run over 10,000 finished cells: records are made by hand, of the size of real ones."""
    code = (
        "import sys, json\nfrom pathlib import Path\n"
        "from lipbench.execution.runner import identity\nfrom lipbench.contract.values import Record\n"
        "from lipbench.plugins import PluginOptions\nfrom lipbench.registry import load_registry\n"
        "from lipbench.suite.load import load_suite\nfrom lipbench.suite.plan import make_plan\n"
        "plan = make_plan(load_suite(Path(sys.argv[1])), load_registry(PluginOptions(extra=(sys.argv[2],))))\n"
        "out = Path(sys.argv[3]); out.mkdir(parents=True)\n"
        "with (out / 'records.jsonl').open('w') as f:\n"
        "    for job, cell in plan.cells():\n"
        "        r = Record(cell=cell.id, suite='bench', status='ok', value=1.0, run='r', **identity(job, cell))\n"
        "        f.write(json.dumps(r.to_json()) + '\\n')\n"
    )
    path = folder / "plan1000.yaml"
    env = {**os.environ, "LIPBENCH_CACHE": str(folder / "cache")}
    subprocess.run([sys.executable, "-c", code, str(path), str(TOY), str(folder / "done" / "bench")], check=True, env=env)
    size = (folder / "done" / "bench" / "records.jsonl").stat().st_size
    missing = (
        "import sys, time\nfrom pathlib import Path\n"
        "from lipbench.execution.runner import missing_cells\nfrom lipbench.plugins import PluginOptions\n"
        "from lipbench.registry import load_registry\nfrom lipbench.suite.load import load_suite\n"
        "from lipbench.results.store import read_history\nfrom lipbench.suite.plan import make_plan\n"
        "start = time.perf_counter()\n"
        "plan = make_plan(load_suite(Path(sys.argv[1])), load_registry(PluginOptions(extra=(sys.argv[2],))))\n"
        "assert not any(c for _, c in missing_cells(plan, read_history(Path(sys.argv[3])).statuses)) and 'torch' not in sys.modules\n"
        "print(time.perf_counter() - start)\n"
    )
    words = [sys.executable, "-c", missing, str(path), str(TOY), str(folder / "done" / "bench")]
    seconds = min(float(subprocess.run(words, check=True, env=env, capture_output=True, text=True).stdout) for _ in range(3))
    say("resume over 10,000 finished cells", f"{seconds:.2f} s ({size / 1e6:.0f} MB of records), no torch", "under 1")


def main() -> None:
    """Run all."""
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}))
    parts: list[Callable[[Path], None]] = [bench_start, bench_cells, bench_plan, bench_resume]
    with tempfile.TemporaryDirectory() as name:
        for part in parts:
            part(Path(name))


if __name__ == "__main__":
    main()
