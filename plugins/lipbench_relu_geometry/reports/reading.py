# SPDX-License-Identifier: Apache-2.0
"""Records of this task by what they are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean

from lipbench.api import Record


def good(records: Sequence[Record], uses: str, **params: object) -> Iterator[Record]:
    """Records of a metric, by its component's name and parameters, that have a value."""
    for r in records:
        own = r.params.get("metric", {})
        if r.status == "ok" and r.uses["metric"] == uses and all(own.get(k) == v for k, v in params.items()):
            yield r


def points_of(record: Record) -> str:
    """What the points are: the split, or the attack on it."""
    attack = record.roles.get("attack", "unchanged")
    return attack if attack != "unchanged" else str(record.params["task"].get("split", "test"))


def average(records: Sequence[Record]) -> float | None:
    """The mean of their values, None of none."""
    values = [r.value for r in records if r.value is not None]
    return mean(values) if values else None


def written(value: float | None, digits: int = 3) -> str:
    """A number for a table, `-` for none."""
    return "-" if value is None else f"{value:.{digits}f}"
