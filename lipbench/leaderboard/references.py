# SPDX-License-Identifier: Apache-2.0
"""A source's published numbers beside ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

from lipbench.contract.values import Column, Entry, Record, Table
from lipbench.leaderboard.caption import uncertainty
from lipbench.leaderboard.grid import Grid, Row, make_grid, words
from lipbench.leaderboard.numbers import format_number
from lipbench.leaderboard.summary import ABSENT, Finished, Measured, Summary, summarise
from lipbench.leaderboard.table import DIGITS, Notes

Published = Mapping[str, Any]
"""One entry of a reference file."""


def reference_table(plan: Mapping[str, Any], records: Sequence[Record]) -> Table | None:
    """Published values, ours, and their difference; None where the suite names no reference.

    An entry that fits several rows or metrics gets a line for each: values of different things are never averaged. Entries
    for which the plan has no cell are counted, since a suite at a smaller scale would show little else; where no entry has
    one, there is no table.
    """
    reference = plan.get("reference")
    if not reference or not reference.get("entries"):
        return None
    grid = make_grid(plan, records)
    digits = (plan.get("leaderboard") or {}).get("digits") or DIGITS
    units = {entry.get("unit") or "" for entry in reference["entries"]}
    unit = units.pop() if len(units) == 1 else ""
    notes = Notes()
    rows, absent = [], 0
    named: list[tuple[str, Summary]] = []
    known = _Places(grid)
    for entry in reference["entries"]:
        places = known.fit(entry["where"])
        absent += not places
        for row, metric in places:
            summary = summarise(_read(grid.measured(row, metric), entry), digits)
            named.append((metric, summary))
            name = entry["quantity"] + _which(grid, places, row, metric)
            rows.append(_line(name, entry, summary, unit, digits, notes))
    if not rows:
        return None
    more = f"{absent} more published value{'s have' if absent > 1 else ' has'} no counterpart among these cells."
    columns = [Column(name="quantity", key=True), *(Column(name=n, unit=unit) for n in ("published", "ours", "difference"))]
    return Table(
        title="Published values",
        columns=[*columns, Column(name="within our interval"), Column(name="source")],
        rows=rows,
        notes=notes.texts(),
        caption=" ".join(
            [
                *([f"Published in: {reference['citation']}."] if reference.get("citation") else []),
                *uncertainty(named),
                *([more] if absent else []),
            ]
        ),
    )


class _Places:
    """Rows and metrics by what they are called: a file of hundreds of entries is looked up, not compared with all rows again and again."""

    def __init__(self, grid: Grid) -> None:
        self._all = [(row, metric, _first(grid.measured(row, metric))) for row in grid.rows for metric in row.cells]
        # A label of the suite means that metric or component alone, even where another one uses a component of that name.
        self._labels: dict[str, set[str]] = {"metric": {metric for _, metric, _ in self._all}}
        for row in grid.rows:
            for name, label in row.facts.items():
                if name != "metric":
                    self._labels.setdefault(name, set()).add(label)
        self._texts: dict[tuple[str, bool], dict[str, set[int]]] = {}
        self._fitting: dict[tuple[str, str], set[int]] = {}

    def fit(self, where: Mapping[str, str]) -> list[tuple[Row, str]]:
        """Those that fit all patterns, in their order."""
        found = set.intersection(*(self._fit(*asked) for asked in ({"metric": "*"} | dict(where)).items()))
        return [self._all[i][:2] for i in sorted(found)]

    def _fit(self, name: str, pattern: str) -> set[int]:
        found = self._fitting.get((name, pattern))
        if found is None:
            texts = self._named(name, labelled=pattern in self._labels.get(name, ()))
            # Equal text counts as well, because a label such as `mlp[0]` is no pattern of itself.
            fitting = [places for text, places in texts.items() if text == pattern or fnmatchcase(text, pattern)]
            found = self._fitting[name, pattern] = set().union(*fitting)
        return found

    def _named(self, name: str, *, labelled: bool) -> Mapping[str, set[int]]:
        """Places by what a metric, a role or a task parameter is called there, by its label alone or by its component too."""
        if (name, labelled) not in self._texts:
            texts = self._texts[name, labelled] = {}
            for i, (row, metric, record) in enumerate(self._all):
                for text in _words(row, metric, record, name, labelled=labelled):
                    texts.setdefault(text, set()).add(i)
        return self._texts[name, labelled]


def _first(measured: Measured) -> Finished | None:
    return next((record for _, record in measured if record is not None), None)


def _words(row: Row, metric: str, record: Finished | None, name: str, *, labelled: bool) -> list[str]:
    """What a metric, a role or a task parameter is called here; the component behind a label only a record knows."""
    label = metric if name == "metric" else row.facts.get(name)
    if label is not None:
        return [label, record.uses[name]] if record is not None and not labelled and name in record.uses else [label]
    task = record.params.get("task", {}) if record is not None else {}
    return [words(task[name])] if name in task else []


def _which(grid: Grid, places: Sequence[tuple[Row, str]], row: Row, metric: str) -> str:
    """What tells the lines of one entry apart, in brackets."""
    if len(places) < 2:
        return ""
    facts = [dict(zip(grid.keys, r.keys, strict=True)) | {"metric": m} for r, m in places]
    mine = dict(zip(grid.keys, row.keys, strict=True)) | {"metric": metric}
    differing = [name for name in mine if len({f[name] for f in facts}) > 1]
    return f" ({', '.join(f'{name}: {mine[name]}' for name in differing)})"


def _read(measured: Measured, entry: Published) -> Measured:
    """The records as they are, or with a number of their extras in place of the value."""
    key = entry.get("extra")
    if not key:
        return measured
    return [(seed, None if r is None else _swap(cast(Record, r), key, entry.get("unit") or r.unit)) for seed, r in measured]


def _swap(record: Record, key: str, unit: str) -> Record:
    number = record.extras.get(key)
    if record.status != "ok":
        return record
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        error = {"class": "missing", "message": f"the record has no number {key!r} in its extras"}
        return dataclasses.replace(record, status="failed", value=None, error=error)
    return dataclasses.replace(record, value=float(number), interval=None, unit=unit)


def _line(name: str, entry: Published, ours: Summary, unit: str, digits: int, notes: Notes) -> list[Entry]:
    published = float(entry["value"])
    shown = _exact(published) + ("" if unit or entry.get("unit") in (None, "", "1") else f" {entry['unit']}")
    remarks = list(ours.remarks)
    value = ours.value
    if entry.get("unit") and ours.unit is not None and ours.unit != entry["unit"]:
        remarks.append(f"ours is in another unit: {ours.unit}")
        value = None
    difference = None if value is None else value - published
    within = ABSENT
    if value is not None and ours.interval is not None:
        within = "yes" if ours.interval.low <= published <= ours.interval.high else "no"
    return [
        Entry(text=name),
        Entry(text=shown, value=published, note=notes.add([entry.get("verdict") or ""])),
        Entry(
            text=ours.text or ABSENT,
            value=ours.value,
            struck=ours.struck,
            note=notes.add(remarks),
            interval=ours.interval,
            group=ours.group,
            seeds=(ours.seeds, ours.asked) if ours.asked else None,
            standing=ours.standing,
        ),
        Entry(text=ABSENT)
        if difference is None
        else Entry(text=format_number(difference, digits), value=difference, standing="ok"),
        Entry(text=within),
        Entry(text=entry.get("note") or ""),
    ]


def _exact(value: float) -> str:
    """As the source printed it: the shortest text that is this number."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
