# SPDX-License-Identifier: Apache-2.0
"""Asks the plugins' reports; one that raises says so and takes nothing else down."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lipbench.contract.components import Report
from lipbench.contract.values import Record, Table
from lipbench.registry import load_factory


def call(report: Report, records: Sequence[Record], published: Sequence[Mapping[str, Any]]) -> Any:
    """What a report makes of the records, and of the published numbers where it takes them."""
    function = load_factory(report.factory)
    return function(records, published) if "published" in inspect.signature(function).parameters else function(records)


def ask_tables(
    reports: Iterable[Report], records: Sequence[Record], published: Sequence[Mapping[str, Any]] = ()
) -> tuple[list[Table], list[str]]:
    """Tables of the `table` reports, and sentences on those that failed."""
    tables: list[Table] = []
    faults: list[str] = []
    for report in reports:
        if report.kind != "table":
            continue
        try:
            made = call(report, records, published)
        except Exception as error:
            faults.append(fault(report, error))
            continue
        if isinstance(made, Table) and _whole(made):
            tables.append(made)
        elif isinstance(made, Table):
            faults.append(f"table {report.name!r} has a row of another length than its columns, or a note that is not there")
        elif made is not None:
            faults.append(f"table {report.name!r} gave a {type(made).__name__}; {report.factory} must return a Table")
    return tables, faults


def _whole(table: Table) -> bool:
    """Whether a renderer can draw it."""
    width, notes = len(table.columns), len(table.notes)
    return all(len(row) == width and all(e.note is None or 1 <= e.note <= notes for e in row) for row in table.rows)


def ask_audits(
    reports: Iterable[Report], records: Sequence[Record], published: Sequence[Mapping[str, Any]] = ()
) -> Iterator[str]:
    """Sentences of the `audit` reports, among them one on each that failed."""
    for report in reports:
        if report.kind != "audit":
            continue
        try:
            said = call(report, records, published)
            # One sentence on its own is an easy slip; letter by letter it would be no help.
            for sentence in [said] if isinstance(said, str) else said or ():
                yield str(sentence)
        except Exception as error:
            yield fault(report, error)


def fault(report: Report, error: Exception) -> str:
    """One line on a report that raised."""
    return f"{report.kind} {report.name!r} failed: {type(error).__name__}: {' '.join(str(error).split())}"
