# SPDX-License-Identifier: Apache-2.0
"""Records made by hand, that the tests of the reports share."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from lipbench.api import Direction, Record

_count = itertools.count()
DIRECTIONS: dict[str, Direction] = {"lower": "higher", "upper": "lower", "exact": "none", "estimate": "none"}


def record(kind: str, value: float, region: str | None = None, /, **changes: Any) -> Record:
    """A value as `bound` reports it; `region` is where a local one holds, None for R^n (for the task's region, if lower)."""
    metric = changes.pop("metric", {"lower": "line_search", "upper": "schur", "exact": "regions", "estimate": "clever"}[kind])
    task = {"norm": "l2", "dtype": "float32", "layer": "logits", "pairs": "rows", "count": 32, "points": 32, "radius": None}
    task |= changes.pop("task", {})
    own = "box" if task["radius"] is None else f"ball({task['radius']:g})"
    region = region or (own if kind != "upper" else "R^n")
    unit = changes.pop("unit", 1.0)
    facts = {"kind": kind, "norm": task["norm"], "region": region, "raw": value / unit, "raw_per_unit": unit}
    facts |= {"certified": kind != "estimate", "dtype": task["dtype"]} | changes.pop("extras", {})
    params: dict[str, Any] = {"task": task, "metric": {}, "network": {"width": 3}, "data": {"low": 0.0, "high": 1.0}}
    params |= changes.pop("params", {})
    made = Record(
        cell=f"cell{next(_count)}",
        suite="lipschitz",
        task="lipschitz",
        roles={"network": "net", "data": "unit square"},
        params=params,
        seed=0,
        metric=metric,
        uses={"task": "lipschitz", "metric": metric.split()[0], "network": "mlp", "data": "uniform_noise"},
        code={"task": "t", "metric": "m", "network": "n", "data": "d"},
        data={},
        status="ok",
        value=value,
        unit="output / [0,1] input",
        direction=DIRECTIONS[kind],
        extras=facts,
    )
    return dataclasses.replace(made, **changes)


def ball(radius: float, points: int = 32) -> dict[str, Any]:
    return {"task": {"radius": radius, "points": points}}


def searched(stop: str = "published", inflation: float = 16.0, **changes: Any) -> Record:
    d = [0.5**i for i in range(12)]
    trace = {"d": d, "k_raw": [max(1.0, 4e-3 / v) for v in d], "k_ref": [1.0] * 11 + [None], "k_cert": [0.9] * 12}
    facts = {"trace": trace, "eps_out": 2e-3, "d_min": 0.4, "inflation": inflation, "stop": stop} | changes.pop("extras", {})
    return record("lower", 2.0, extras=facts, **changes)


def mapped(**changes: Any) -> Record:
    squares = [[0.0, 0.0, 0.5, 0.0, 0.5, 1.0, 0.0, 1.0], [0.5, 0.0, 1.0, 0.0, 1.0, 1.0, 0.5, 1.0]]
    return record("exact", 2.0, extras={"polygons": squares, "norms": [1.0, 2.0], "winner": [0.75, 0.5]}, **changes)
