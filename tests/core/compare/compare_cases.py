# SPDX-License-Identifier: Apache-2.0
"""Folders of results made by hand: metrics over seeds, with ids of cells that say which code made them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Values = Mapping[int, float | None]
"""By seed; None is a cell that failed."""


def record(metric: str, seed: int, value: float | None, code: str, **more: Any) -> dict[str, Any]:
    error = None if value is not None else {"class": "crash", "message": "it fell"}
    roles = more.pop("roles", {"network": "mlp", "data": "digits"})
    task = more.pop("task_params", {})
    key = "-".join([*roles.values(), *map(str, task.values()), metric, str(seed), code])
    return {
        "cell": more.pop("cell", key), "suite": "s", "task": "t", "roles": roles, "params": {"task": task, "metric": {}},
        "seed": seed, "metric": metric, "uses": {"task": "t", "metric": metric}, "code": {"metric": code}, "data": {},
        "status": "failed" if error else "ok", "value": value, "unit": "1", "direction": "higher", "group": "g", "error": error,
        "run": "20260101-000000-aaaaaa", **more,
    }  # fmt: skip


def records(code: str, metrics: Mapping[str, Values], **more: Any) -> list[dict[str, Any]]:
    return [record(metric, seed, value, code, **more) for metric, by_seed in metrics.items() for seed, value in by_seed.items()]


def write(
    folder: Path,
    lines: Sequence[Mapping[str, Any]],
    compare: Mapping[str, Any] | None = None,
    suite: str = "s",
    absent: Sequence[str] = (),
) -> Path:
    """A folder of results with one suite; `absent` names cells that the plan has and nobody ran."""
    jobs = [
        {"roles": r["roles"], "varying": r["params"]["task"], "seed": r["seed"], "cells": {r["cell"]: r["metric"]}}
        for r in lines
    ]
    plan = {"suite": suite, "task": "t", "leaderboard": {"compare": compare or {}}, "jobs": jobs}
    (folder / suite).mkdir(parents=True)
    (folder / suite / "plan.json").write_text(json.dumps(plan))
    (folder / suite / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines if r["cell"] not in absent))
    return folder


def both(
    root: Path, base: Mapping[str, Values], new: Mapping[str, Values], compare: Mapping[str, Any] | None = None, **more: Any
) -> tuple[Path, Path]:
    """Two folders of two codes."""
    return write(root / "base", records("a", base, **more)), write(root / "new", records("b", new, **more), compare)
