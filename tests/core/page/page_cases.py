# SPDX-License-Identifier: Apache-2.0
"""A suite's folder as a run would leave it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lipbench.contract.values import Record

RUN = "20260131-120000-a1b2c3"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
REVERSED = "ab\u202edc"
"""A right-to-left override shows it as `abcd`."""
SIGN = '<path id="sign" d="M 1 1 L 8 5" stroke="black"/>'
"""It stands in both plots, and in the page once."""
WIDTHS = 150
"""Rows of the long table, more than are drawn at once."""


def _record(cell: str, network: str, data: str, width: int, seed: int, metric: str, value: float | None, **more: Any) -> Record:
    facts: dict[str, Any] = {
        "cell": cell,
        "suite": "hills",
        "task": "climb",
        "roles": {"network": network, "data": data},
        "params": {"task": {"width": width}, "metric": {"steps": 7}, "network": {"note": "</script><b>bold</b>"}, "data": {}},
        "seed": seed,
        "metric": metric,
        "uses": {"task": "climb", "metric": metric, "network": "mlp", "data": "digits"},
        "code": {"task": "0123456789abcdef"},
        "data": {"data": "fedcba9876543210"},
        "status": "ok",
        "value": value,
        "unit": "m",
        "direction": "lower" if metric == "effort" else "higher",
        "group": metric,
        "extras": {"kind": "lower", "trace": [1, 2]},
        "cost": {"seconds": 0.25 * (width + 1), "forwards": 10 * width, "backwards": 0, "peak_bytes": 1 << 20},
        "run": RUN,
    }
    return Record(**(facts | more))


def _rows() -> list[tuple[str, str, int]]:
    return [(network, "digits", width) for width in range(WIDTHS // 3) for network in ("mlp", HOSTILE, REVERSED)]


def value_of(number: int, seed: int) -> float:
    """The steepness of a row, no two the same and not in the order of the rows."""
    return (number * 37 % WIDTHS) + seed / 5


def hills(folder: Path) -> None:
    """Write plan, records, a run, a log and plots."""
    jobs, records = [], []
    for number, (network, data, width) in enumerate(_rows()):
        for seed in (0, 1):
            cells = {f"{number:04x}{seed}steep": "steepness", f"{number:04x}{seed}effort": "effort"}
            jobs.append(
                {"roles": {"network": network, "data": data}, "varying": {"width": width}, "seed": seed, "cells": cells}
            )
            for cell, metric in cells.items():
                value = value_of(number, seed) if metric == "steepness" else float(width + number % 3)
                interval = {"low": value - 1, "high": value + 1, "level": 0.9, "method": "bootstrap"}
                record = _record(cell, network, data, width, seed, metric, value, interval=interval)
                if number == 5 and metric == "steepness":
                    message = f"it fell <b>hard</b>; log: {RUN}-1.log" if seed else "out of memory"
                    record = _record(
                        cell,
                        network,
                        data,
                        width,
                        seed,
                        metric,
                        None,
                        status="failed",
                        error={"class": "crash", "message": message},
                    )
                records.append(record)
    plan = {
        "suite": "hills",
        "title": f"How steep? {HOSTILE}",
        "description": "A first paragraph.\n\nSee https://example.org/a?b=1 and javascript:alert(3).",
        "citation": "A. Author, Hills, 2026, doi 10.1234/hills.5",
        "profile": None,
        "task": "climb",
        "leaderboard": {"rows": None, "columns": ["steepness"], "rank": "column", "digits": 4},
        "reference": None,
        "jobs": jobs,
    }
    for name in ("runs", "plots", "logs"):
        (folder / name).mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "records.jsonl").write_text("".join(json.dumps(r.to_json()) + "\n" for r in records))
    run = {
        "started": "2026-01-31T12:00:00+00:00",
        "command": ["lipbench", "run", "hills.yaml"],
        "lipbench": "0.1.0",
        "python": "3.12.1",
        "packages": {"torch": "2.9.0"},
        "git": {"commit": "c0ffee", "dirty": True},
        "suite": {"lipbench": 1, "suite": "hills", "task": "climb", "title": HOSTILE},
        "device": "cpu",
    }
    (folder / "runs" / f"{RUN}.json").write_text(json.dumps(run))
    (folder / "logs" / f"{RUN}-1.log").write_text("first line\nTraceback </pre><script>alert(4)</script>\n")
    (folder / "plots" / "climb.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 60" onload="alert(5)"><script>alert(6)</script>'
        '<image href="https://example.org/spy.png" width="9" height="9"/><rect width="90" height="60" fill="#468"/>'
        + SIGN
        + "</svg>"
    )
    (folder / "plots" / "descend.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 6">{SIGN}</svg>')
