# SPDX-License-Identifier: Apache-2.0
"""Reading of records: which are measured, what belongs together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from lipbench.api import Record

Key = tuple[str, str]
"""Labels of network and data."""


def measured(records: Sequence[Record], metric: str) -> Iterator[Record]:
    """Records of a metric, by the name of its component, that have a value."""
    return (r for r in records if r.uses.get("metric") == metric and r.status == "ok" and r.value is not None)


def key(record: Record) -> Key:
    """What was measured on what."""
    return record.roles["network"], record.roles["data"]


def value(record: Record) -> float:
    """The value of a record that has one."""
    return float(record.value or 0.0)


def means(records: Sequence[Record], metric: str) -> dict[Key, float]:
    """Means over seeds of a metric whose label is given, in the order of the plan."""
    found: dict[Key, list[float]] = {}
    for r in records:
        if r.metric == metric and r.status == "ok" and r.value is not None:
            found.setdefault(key(r), []).append(value(r))
    return {k: fmean(v) for k, v in found.items()}


def first_seeds(records: Iterator[Record]) -> dict[Key, Record]:
    """The first record of each network and dataset."""
    found: dict[Key, Record] = {}
    for r in records:
        found.setdefault(key(r), r)
    return found


def by_data(records: dict[Key, Record]) -> dict[str, dict[str, Record]]:
    """Data to network to record."""
    found: dict[str, dict[str, Record]] = {}
    for (network, data), r in records.items():
        found.setdefault(data, {})[network] = r
    return found


def alpha(record: Record) -> float | None:
    """Alpha of the hinge, 0 for KR alone, infinite for the hinge alone; None for other losses."""
    params = record.params.get("network", {})
    loss = params.get("loss")
    if loss == "hkr":
        return float(params["alpha"])
    return {"kr": 0.0, "hinge": float("inf")}.get(str(loss))
