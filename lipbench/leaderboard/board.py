# SPDX-License-Identifier: Apache-2.0
"""From a folder of results to what is shown of it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lipbench.contract.errors import StoreError
from lipbench.contract.values import Record, Table
from lipbench.leaderboard.critical_difference import diagrams
from lipbench.leaderboard.formats import find_format
from lipbench.leaderboard.grid import current, plan_from, planned
from lipbench.leaderboard.overall import Overall
from lipbench.leaderboard.page import Board, Source
from lipbench.leaderboard.plots import draw
from lipbench.leaderboard.references import reference_table
from lipbench.leaderboard.reports import ask_audits, ask_tables
from lipbench.leaderboard.table import tables
from lipbench.plugins import PluginInfo, all_reports
from lipbench.results.cells import read_cells
from lipbench.results.store import PLAN, read_plan, read_records

__all__ = ["Board", "make_board", "render", "save_plots"]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of objects of which none is garbage: looking for some among them again and again takes a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@_no_collection()
def make_board(folder: Path, plugins: Sequence[PluginInfo], only: Collection[str] | None = None) -> Board:
    """Read a suite's folder and make its tables: those of plugins first, since they sum up, then all values, then references.

    Args:
        folder: Folder of one suite.
        plugins: Whose reports are asked.
        only: Ids of the cells to show; None for all of the plan.

    Raises:
        StoreError: The plan or the records are damaged.
    """
    plan = _plan(folder)
    reports = list(all_reports(plugins, plan["task"])) if plan else []
    if plan and not reports and not plan.get("reference"):
        # Nothing but the table reads the records: a tenth of their fields do.
        plan = plan if only is None else _part(plan, only)
        mine, overall = tables(plan, read_cells(folder, planned(plan)))
        return _board(folder, plan, mine, overall, [], lambda: current(plan, read_records(folder, planned(plan))))
    plan, records = _read(folder, plan)
    reports = reports or list(all_reports(plugins, plan["task"]))
    if only is not None:
        plan, records = _part(plan, only), [r for r in records if r.cell in only]
    numbers = _published(plan)
    mine, overall = tables(plan, records)
    summed, faults = ask_tables(reports, records, numbers)
    beside = reference_table(plan, records)
    shown = [*summed, *mine, *([beside] if beside else [])]
    return _board(folder, plan, shown, overall, [*ask_audits(reports, records, numbers), *faults], lambda: records)


def _board(
    folder: Path,
    plan: Mapping[str, Any],
    tables: Sequence[Table],
    overall: Sequence[Overall],
    findings: Sequence[str],
    records: Callable[[], Sequence[Record]],
) -> Board:
    return Board(
        suite=plan.get("suite") or folder.name,
        title=plan.get("title") or "",
        description=plan.get("description") or "",
        citation=plan.get("citation") or "",
        tables=[table for table in tables if table.columns],
        findings=findings,
        source=Source(folder=folder, plan=plan, read=records, overall=overall),
    )


def _part(plan: Mapping[str, Any], only: Collection[str]) -> Mapping[str, Any]:
    """The plan of some cells, without the references, most of which would have nothing beside them."""
    jobs = [{**job, "cells": {c: m for c, m in job["cells"].items() if c in only}} for job in plan["jobs"]]
    return {**plan, "reference": None, "jobs": [job for job in jobs if job["cells"]]}


def render(boards: Sequence[Board], format: str, plugins: Sequence[PluginInfo] = ()) -> str:
    """Boards in a format of the plugins, or of lipbench itself where none are given.

    Raises:
        UsageError: There is no such format.
        PluginError: It fails, or two plugins claim it.
    """
    return find_format(format, plugins)(boards)


def save_plots(source: Source, plugins: Sequence[PluginInfo]) -> list[Path]:
    """Save the plots of a suite under `plots` of its folder; the paths, none where matplotlib is not installed.

    Args:
        source: What the tables of its board were made from.
        plugins: Whose reports are asked.
    """
    plots = [report for report in all_reports(plugins, source.plan["task"]) if report.kind == "plot"]
    records = source.read() if plots else ()
    return draw(source.folder / "plots", plots, records, _published(source.plan), lambda: diagrams(source.overall))


def _published(plan: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The entries of the suite's reference file."""
    return (plan.get("reference") or {}).get("entries") or ()


def _plan(folder: Path) -> Mapping[str, Any]:
    plan = read_plan(folder)
    if plan and not (isinstance(plan.get("jobs"), list) and isinstance(plan.get("task"), str)):
        raise StoreError(f"{folder / PLAN}: this is no plan; run the suite again to write it anew")
    return plan


def _read(folder: Path, plan: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Record]]:
    """The plan, made from the records where there is none, and the records that belong to it, in its order."""
    found = list(read_records(folder, planned(plan) if plan else None))
    return plan or plan_from(found), current(plan, found)
