# SPDX-License-Identifier: Apache-2.0
"""1,000,000 records to a leaderboard: 20,000 rows, 5 metrics, 10 seeds. Every figure is of this one run.

    python benchmarks/bench_leaderboard.py [ROWS]

Each part runs in a fresh process, which gives its peak of memory. Seconds depend on the machine; the ratios do not much.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

METRICS, SEEDS = 5, 10
LOADS = """
start = time.perf_counter()
answer = {"lines": sum("cell" in json.loads(line) for line in (Path(sys.argv[1]) / "records.jsonl").open("rb"))}
"""
BOARD = """
from lipbench.leaderboard.board import make_board, render
start = time.perf_counter()
board = make_board(Path(sys.argv[1]), [])
answer = {"rows": len(board.tables[0].rows), "made": time.perf_counter() - start}
answer |= {"bytes": len(render([board], "md"))}
"""


def fresh(code: str, *words: str) -> dict[str, Any]:
    """What a piece of code answers in a process of its own, with its seconds and its peak of memory in MiB."""
    head = "import json, resource, sys, time\nfrom pathlib import Path\n"
    tail = (
        "answer |= {'s': time.perf_counter() - start, 'CPU': time.process_time(), 'MiB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}\n"
        "assert 'torch' not in sys.modules\nprint(json.dumps(answer))\n"
    )
    done = subprocess.run([sys.executable, "-c", head + code + tail, *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def records(rows: int) -> Iterator[dict[str, Any]]:
    """Records as a detector gives them: methods over datasets, one in 500 failed."""
    draw = random.Random(0)  # noqa: S311
    for row, seed, metric in ((r, s, m) for r in range(rows) for s in range(SEEDS) for m in range(METRICS)):
        roles = {"detector": f"detector {row % 20}", "data": f"data {row // 20}"}
        value = 0.5 + 0.01 * (row % 20) + 0.02 * metric + draw.gauss(0, 0.02)
        good = draw.random() > 0.002
        uses = {"task": "detection", "metric": f"auroc_{metric}", "detector": "forest", "data": "csv_table"}
        yield {
            "cell": f"{((row * SEEDS) + seed) * METRICS + metric:016x}", "suite": "bench", "task": "detection", "roles": roles,
            "params": {
                "task": {"images": 500, "power": 1}, "metric": {"level": 0.1 * metric}, "data": {"file": f"data-{row // 20}.csv"},
                "detector": {"trees": row % 20, "depth": 8},
            },
            "seed": seed, "metric": f"auroc_{metric}", "uses": uses, "code": dict.fromkeys(uses, "0123456789abcdef"),
            "data": {"data": "e1963ba845868342"}, "status": "ok" if good else "failed", "value": value if good else None, "unit": "AUROC",
            "direction": "higher", "group": "auroc", "unranked": None,
            "interval": {"low": value - 0.05, "high": value + 0.05, "level": 0.95, "method": "DeLong"} if good else None,
            "extras": {"images": 500, "positives": 250, "standard_error": 0.0255},
            "cost": {"seconds": 0.01, "forwards": 500, "backwards": 0, "peak_bytes": 549412864}, "device": "cpu",
            "error": None if good else {"class": "crash", "message": "it fell"}, "run": "20260101-000000-abcdef",
        }  # fmt: skip


def plan(rows: int) -> dict[str, Any]:
    """The plan of these records, as a run leaves it."""
    jobs = [
        {
            "roles": {"detector": f"detector {row % 20}", "data": f"data {row // 20}"}, "varying": {}, "seed": seed, "blocks": ["all"],
            "cells": {f"{((row * SEEDS) + seed) * METRICS + m:016x}": f"auroc_{m}" for m in range(METRICS)},
        }
        for row in range(rows) for seed in range(SEEDS)
    ]  # fmt: skip
    words = {"suite": "bench", "title": "", "description": "", "citation": "", "profile": None, "task": "detection"}
    return {**words, "leaderboard": {"rank": "row"}, "reference": None, "jobs": jobs}


def main(rows: int) -> None:
    """Run all."""
    count = rows * SEEDS * METRICS
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "records.jsonl").open("w") as file:
            for record in records(rows):
                file.write(json.dumps(record) + "\n")
        size = math.ceil((folder / "records.jsonl").stat().st_size / count)
        loads = fresh(LOADS, name)
        for rank in ("row", ["detector"]):
            made = plan(rows)
            made["leaderboard"]["rank"] = rank
            (folder / "plan.json").write_text(json.dumps(made, indent=1))
            board = fresh(BOARD, name)
            assert board["rows"] == rows
            print(
                f"{count:,} records of {size} bytes, rank {rank}: {board['s']:.2f} s ({board['CPU']:.2f} CPU), of them {board['s'] - board['made']:.2f} "
                f"rendering; {board['MiB']:.0f} MiB; {board['CPU'] / loads['CPU']:.2f} times the CPU of json.loads alone ({loads['CPU']:.2f} s)   under 10 s and 2048 MiB",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
