# SPDX-License-Identifier: Apache-2.0
"""One place of a table: what the seeds of one metric in one row come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lipbench.contract.values import Direction, Interval, Standing, Status
from lipbench.leaderboard.numbers import LEVEL, format_interval, format_mean, format_number, mean_interval

ABSENT = "-"
FAILED = "failed"
NOT_RUN = "not run yet"
OVER_SEEDS = "t over seeds"
SHOWN = ("mean", "ci95")
"""What a place shows where the suite does not say."""
_SEEDS_NAMED = 5
"""So many seeds are named in a footnote, the others are counted."""


class Finished(Protocol):
    """What is read of a record, or of a `Cell`, which has this alone."""

    @property
    def status(self) -> Status: ...  # noqa: D102
    @property
    def value(self) -> float | None: ...  # noqa: D102
    @property
    def unit(self) -> str: ...  # noqa: D102
    @property
    def direction(self) -> Direction: ...  # noqa: D102
    @property
    def interval(self) -> Any: ...  # noqa: D102
    @property
    def group(self) -> str: ...  # noqa: D102
    @property
    def unranked(self) -> str | None: ...  # noqa: D102
    @property
    def error(self) -> Mapping[str, Any] | None: ...  # noqa: D102
    @property
    def params(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def uses(self) -> Mapping[str, str]: ...  # noqa: D102


Measured = Sequence[tuple[int, Finished | None]]
"""Seeds in the order of the plan, each with its record where there is one."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Seeds taken together."""

    text: str
    value: float | None = None
    interval: Interval | None = None
    """95 % t interval over several seeds; of one seed, the interval that the metric itself gave."""
    by_seed: Mapping[int, float] = field(default_factory=dict)
    """Values that may be averaged, by seed."""
    seeds: int = 0
    """How many seeds have a value."""
    asked: int = 0
    """How many seeds the suite asks for."""
    unit: str | None = None
    """None where there is no value."""
    direction: Direction = "none"
    group: str = ""
    struck: bool = False
    remarks: tuple[str, ...] = ()
    standing: Standing = ""

    @property
    def contest(self) -> tuple[str, str, str] | None:
        """Group, direction and unit; only values that share them compete. None never does."""
        if self.struck or self.value is None or self.direction == "none":
            return None
        return self.group, self.direction, self.unit or ""


def summarise(measured: Measured, digits: int, shown: Collection[str] = SHOWN) -> Summary:
    """Take the seeds of one metric in one row together; no seed at all gives an empty text.

    Args:
        measured: Seeds with their records.
        digits: Significant digits of the value.
        shown: What the text has, of `mean` and `ci95`.
    """
    if not measured:
        return Summary(text="")
    good = [(seed, r) for seed, r in measured if r is not None and _sound(r)]
    lost = _lost(measured, len(good))
    if not good:
        ran = any(r is not None for _, r in measured)
        return Summary(
            text=FAILED if ran else ABSENT, remarks=lost, standing="failed" if ran else "missing", asked=len(measured)
        )
    records = [r for _, r in good]
    clash = _clash(records)
    part = "" if len(good) == len(measured) else f" ({len(good)} of {len(measured)} seeds)"
    standing: Standing = "partial" if part else "ok"
    if clash:
        text = ", ".join(format_number(_number(r), digits) for r in records[:_SEEDS_NAMED]) + part
        remarks = (*lost, f"seeds differ in {clash}, so there is no mean")
        return Summary(text=text, remarks=remarks, seeds=len(good), asked=len(measured), standing=standing)
    first = records[0]
    values = [float(v) for r in records if (v := r.value) is not None]
    value, interval, text = _mean(values, first, digits, "ci95" in shown)
    struck = [(seed, _one_line(r.unranked or "not to be ranked")) for seed, r in good if r.unranked is not None]
    return Summary(
        text=text + part,
        value=value,
        interval=interval,
        by_seed={seed: v for (seed, _), v in zip(good, values, strict=True)},
        seeds=len(values),
        asked=len(measured),
        unit=first.unit,
        direction=first.direction,
        group=first.group,
        struck=bool(struck),
        remarks=(*lost, *_by_reason(struck, len(good))) if struck else lost,
        standing=standing,
    )


def _mean(values: Sequence[float], first: Finished, digits: int, spread: bool) -> tuple[float, Interval | None, str]:
    """Mean, its interval and their text."""
    if len(values) > 1:
        value, half = mean_interval(values)
        interval: Interval | None = Interval(low=value - half, high=value + half, level=LEVEL, method=OVER_SEEDS)
        return value, interval, format_mean(value, half, digits) if spread else format_number(value, digits)
    value, interval = values[0], own_interval(first)
    if interval is None or not spread:
        return value, interval, format_number(value, digits)
    return value, interval, format_interval(value, interval.low, interval.high, digits)


def _sound(record: Finished) -> bool:
    return record.status == "ok" and record.value is not None and math.isfinite(record.value)


def _number(record: Finished) -> float:
    return float(record.value if record.value is not None else math.nan)


def own_interval(record: Finished) -> Interval | None:
    """The interval that the metric gave within one seed."""
    raw = record.interval
    if not raw:
        return None
    level = raw.get("level")
    return Interval(
        low=float(raw["low"]),
        high=float(raw["high"]),
        level=float(level) if isinstance(level, (int, float)) else math.nan,
        method=_one_line(str(raw.get("method") or "a method that it does not name")),
    )


_SAME: dict[str, Callable[[Finished], Any]] = {
    "unit": lambda r: r.unit,
    "direction": lambda r: r.direction,
    "group": lambda r: r.group,
    "parameters": lambda r: (r.uses, r.params),  # of a tuple, since equal objects in it are not looked into
}


def _clash(records: Sequence[Finished]) -> str:
    """What the records of different seeds do not agree on, in words; empty where they may be averaged."""
    if len({(r.unit, r.direction, r.group, id(r.uses), id(r.params)) for r in records}) == 1:
        return ""  # as is usual, and quick to see
    first, *others = records
    return " and ".join(name for name, read in _SAME.items() if any(read(r) != read(first) for r in others))


def _lost(measured: Measured, good: int) -> tuple[str, ...]:
    """Why seeds are missing, in one remark."""
    if good == len(measured):
        return ()
    faults = [(seed, fault_of(r)) for seed, r in measured if r is None or not _sound(r)]
    if not good and {why for _, why in faults} == {NOT_RUN}:
        return (NOT_RUN,)
    reasons = _by_reason(faults, len(measured))
    return ("; ".join([f"{good} of {len(measured)} seeds", *reasons]),) if good else ("; ".join(reasons),)


def fault_of(record: Finished | None) -> str:
    """Why a seed has no value."""
    if record is None:
        return NOT_RUN
    if record.status == "ok":
        return "nan: the value is not finite"
    error = record.error or {}
    kind, message = str(error.get("class", record.status)), _one_line(str(error.get("message", "")))
    return f"{kind}: {message}" if message else kind


def _by_reason(faults: Sequence[tuple[int, str]], total: int) -> tuple[str, ...]:
    """Each reason once with its seeds; where it holds for the only seed, without."""
    seeds: dict[str, list[int]] = {}
    for seed, why in faults:
        seeds.setdefault(why, []).append(seed)
    if total == 1 or (len(seeds) == 1 and len(faults) == total):
        prefix = "" if total == 1 else f"all {total} seeds: "
        return tuple(f"{prefix}{why}" for why in seeds)
    return tuple(f"{_name_seeds(which)}: {why}" for why, which in seeds.items())


def _name_seeds(seeds: Sequence[int]) -> str:
    named = ", ".join(map(str, seeds[:_SEEDS_NAMED]))
    more = f" and {len(seeds) - _SEEDS_NAMED} more" if len(seeds) > _SEEDS_NAMED else ""
    return f"seed{'s' if len(seeds) > 1 else ''} {named}{more}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
