# SPDX-License-Identifier: Apache-2.0
"""The records of a suite as the page holds them: a column for each field, and what repeats written once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lipbench.contract.values import JSON, Record
from lipbench.files import canonical
from lipbench.leaderboard.grid import words
from lipbench.leaderboard.render.text import visible

_COST_DIGITS, _INTERVAL_DIGITS, _EXTRA_DIGITS = 4, 6, 8
_LONGEST = 80
"""Longer texts of the extras are no figures to read beside a value."""


class Pool:
    """Distinct values, each once, numbered in order of appearance."""

    def __init__(self) -> None:
        self.values: list[JSON] = []
        self._numbers: dict[str, int] = {}

    def add(self, value: JSON) -> int:
        """The number of this value, from 0."""
        key = canonical(value)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


def pack_records(records: Sequence[Record]) -> dict[str, JSON]:
    """Columns of the records, in their order; `setups`, `parts`, `words` and `intervals` are what numbers in them point to."""
    parts, setups, words_, intervals = Pool(), Pool(), Pool(), Pool()
    columns: dict[str, list[JSON]] = {}
    numbers: dict[tuple[str, ...], int] = {}  # by what a part says: putting it into words takes far longer

    def number(record: Record, name: str, label: str) -> int:
        use, code, data = (str(where.get(name, "")) for where in (record.uses, record.code, record.data))
        params = record.params.get(name) or {}
        key = (name, label, use, code, data, repr(params))
        if key not in numbers:
            numbers[key] = parts.add(_part(name, label, use, code, data, params))
        return numbers[key]

    for record in records:
        cost = record.cost or {}
        line = {
            "cell": visible(record.cell),
            "setup": setups.add([number(record, name, label) for name, label in _names(record)]),
            "seed": record.seed,
            "status": words_.add(record.status),
            "value": record.value,
            "unit": words_.add(visible(record.unit)),
            "direction": words_.add(record.direction),
            "group": words_.add(visible(record.group or "")),
            "unranked": words_.add(visible(record.unranked or "")),
            "error": words_.add(error_words(record)),
            "device": words_.add(visible(record.device)),
            "run": words_.add(visible(record.run)),
            "extras": _extras(record.extras or {}),
            **_interval(record.interval, intervals),
            **{name: _short(cost.get(name)) for name in ("seconds", "forwards", "backwards", "peak_bytes")},
        }
        for name, value in line.items():
            columns.setdefault(name, []).append(value)
    return {
        "columns": columns,
        "parts": parts.values,
        "setups": setups.values,
        "words": words_.values,
        "intervals": intervals.values,
    }


def error_words(record: Record) -> str:
    """Class and message of a failure, empty where there is none."""
    if record.error is None:
        return ""
    return visible(": ".join(filter(None, (str(record.error.get("class", "")), str(record.error.get("message", ""))))))


def _names(record: Record) -> Iterable[tuple[str, str]]:
    """What a cell is made of, and what the suite calls it: its task, its metric, and what fills each role."""
    labels = {"task": record.task, "metric": record.metric, **record.roles}
    return {**labels, **{name: "" for name in record.uses if name not in labels}}.items()


def _part(name: str, label: str, use: str, code: str, data: str, params: Mapping[str, JSON]) -> dict[str, JSON]:
    """One of these with its component, fingerprints and parameters."""
    return {
        "name": visible(name),
        "label": visible(label),
        "use": visible(use),
        "code": visible(code),
        "data": visible(data),
        "params": [[visible(key), visible(words(value))] for key, value in params.items()],
    }


def _extras(extras: Mapping[str, JSON]) -> list[JSON]:
    """The figures and short texts among the extras; traces and witnesses stay in the record."""
    return [
        [visible(key), visible(f"{value:.{_EXTRA_DIGITS}g}" if isinstance(value, float) else words(value))]
        for key, value in extras.items()
        if isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= _LONGEST)
    ]


def _interval(interval: Mapping[str, JSON] | None, intervals: Pool) -> dict[str, JSON]:
    if not interval:
        return {"low": None, "high": None, "interval": None}
    how = [interval.get("level"), visible(str(interval.get("method") or ""))]
    return {"low": rounded(interval["low"]), "high": rounded(interval["high"]), "interval": intervals.add(how)}


def rounded(number: float) -> float:
    """The end of an interval: nobody reads more of it than this."""
    return float(f"{number:.{_INTERVAL_DIGITS}g}")


def _short(number: JSON) -> JSON:
    """A cost; the digits that no clock can tell are left away."""
    return float(f"{number:.{_COST_DIGITS}g}") if isinstance(number, float) else number
