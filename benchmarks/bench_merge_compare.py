# SPDX-License-Identifier: Apache-2.0
"""Merging 1,000,000 records and comparing 100,000 cells. Every figure is of this one run.

    python benchmarks/bench_merge_compare.py

Each part runs in a fresh process, which gives its peak of memory. Seconds depend on the machine; the ratios do not much.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bench_scale import LOADS, fresh, record, say, took

CELLS = 100_000
MERGE = """
from lipbench.results.merge import merge
start = time.perf_counter()
root = Path(sys.argv[1])
(merged,) = merge(root / "out", [root / "a", root / "b"])
answer = {"cells": merged.cells, "shared": merged.shared}
"""
COMPARE = """
from lipbench.leaderboard.compare import compare
from lipbench.leaderboard.compare_render import render_markdown
start = time.perf_counter()
comparison = compare({"bench": Path(sys.argv[1])}, {"bench": Path(sys.argv[2])})
render_markdown(comparison)
answer = {"lines": len(comparison.suites[0].lines), "same": comparison.suites[0].counts().get("same", 0)}
"""


def write(folder: Path, numbers: range, code: str = "") -> None:
    """Records in batches of five seeds a metric."""
    folder.mkdir(parents=True)
    with (folder / "records.jsonl").open("w") as file:
        for number in numbers:
            fields = record(number, {"rows": 8})
            value = (number * 7919 + len(code)) % 1009 / 1009
            roles = {"model": f"m{number // 50}", "data": "numbers"}
            fields |= {
                "cell": f"{number:015x}{code or 0}",
                "seed": number % 5,
                "metric": f"m{number // 5 % 10}",
                "roles": roles,
                "value": value,
            }
            file.write(json.dumps(fields) + "\n")


def main() -> None:
    """Run both."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        write(root / "a/bench", range(600_000))
        write(root / "b/bench", range(400_000, 1_000_000))
        loads = fresh(LOADS, root, str(root / "a/bench"))
        merged = fresh(MERGE, root, str(root))
        assert (merged["cells"], merged["shared"]) == (1_000_000, 200_000)
        say(
            "merge 1,200,000 records of 0.8 kB to 1,000,000",
            f"{took(merged)}; {merged['s'] / loads['s'] / 2:.2f} json.loads of all",
            "under 20 s and 1024 MiB",
        )
        for name, code in (("base", "1"), ("new", "2")):
            write(root / name, range(CELLS), code)
        loads = fresh(LOADS, root, str(root / "base"))
        compared = fresh(COMPARE, root, str(root / "base"), str(root / "new"))
        assert compared["lines"] == CELLS // 5
        say(
            f"compare {CELLS:,} cells with {CELLS:,} others",
            f"{took(compared)}; {compared['s'] / loads['s'] / 2:.1f} json.loads of both",
            "under 15 s and 2048 MiB",
        )


if __name__ == "__main__":
    main()
