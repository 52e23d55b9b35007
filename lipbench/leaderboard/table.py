# SPDX-License-Identifier: Apache-2.0
"""The main table of a suite: a pure function of its plan and its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lipbench.contract.values import Column, Direction, Entry, Record, Table
from lipbench.leaderboard.grid import Grid, make_grid
from lipbench.leaderboard.summary import Summary, summarise

DIGITS = 4
_GROUPS_NAMED = 12
"""A caption that lists more groups than this is no help."""

Place = tuple[int, int]
"""Row and metric, from 0."""
Spec = Mapping[str, Any]


class Notes:
    """Footnotes, each text once, numbered in order of appearance."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def add(self, remarks: Iterable[str]) -> int | None:
        """The number of a footnote with these remarks; None where there are none."""
        text = "; ".join(r for r in remarks if r)
        return self._numbers.setdefault(text, len(self._numbers) + 1) if text else None

    def texts(self) -> tuple[str, ...]:
        """All footnotes in order."""
        return tuple(self._numbers)


def main_table(plan: Mapping[str, Any], records: Sequence[Record]) -> Table:
    """Rows of roles and parameters, a column a metric.

    Args:
        plan: What `plan.json` holds; of an empty one, rows and columns are made from the records.
        records: In any order; those that the plan does not know are ignored.

    Returns:
        Values are means over seeds; the best of each group is marked where at least two values compete.
    """
    spec: Spec = plan.get("leaderboard") or {}
    chosen, rest = _chosen(plan, spec.get("blocks"))
    grid, hidden = _shown(make_grid(chosen, records), spec.get("columns"))
    digits = spec.get("digits") or DIGITS
    summaries = [[summarise(grid.measured(row, metric), digits) for metric in grid.metrics] for row in grid.rows]
    rank = spec.get("rank") or "row"
    contests = _contests(summaries, rank)
    best = {place for places in contests.values() if len(places) > 1 for place in _winners(summaries, places)}
    columns = [_column(name, [row[m] for row in summaries]) for m, name in enumerate(grid.metrics)]
    notes = Notes()
    rows = [
        [*(Entry(text=key) for key in row.keys), *_entries(line, r, columns, best, notes)]
        for r, (row, line) in enumerate(zip(grid.rows, summaries, strict=True))
    ]
    return Table(
        title="Results",
        columns=[*(Column(name=key) for key in grid.keys), *_unlike(columns, grid.keys)],
        rows=rows,
        notes=notes.texts(),
        caption=_caption(grid, summaries, contests, best, rank) + _hidden(hidden, rest),
    )


def _chosen(plan: Mapping[str, Any], wanted: Sequence[str] | None) -> tuple[Mapping[str, Any], Sequence[str]]:
    """The plan with the jobs of the wanted blocks only, and the names of the other blocks."""
    if wanted is None or not plan:
        return plan, ()
    jobs = [job for job in plan["jobs"] if set(job.get("blocks", ())).intersection(wanted)]
    names = dict.fromkeys(name for job in plan["jobs"] for name in job.get("blocks", ()))
    # A selection may have left none of them; what was asked for is then shown.
    return ({**plan, "jobs": jobs}, [name for name in names if name not in wanted]) if jobs else (plan, ())


def _shown(grid: Grid, wanted: Sequence[str] | None) -> tuple[Grid, Sequence[str]]:
    """The grid with the wanted metrics only and the rows that have one of them, and the metrics that are left out."""
    # Plans of earlier versions say "metrics" for all of them.
    if wanted is None or isinstance(wanted, str):
        return grid, ()
    metrics = tuple(metric for metric in wanted if metric in grid.metrics)
    rows = [row for row in grid.rows if any(metric in row.cells for metric in metrics)]
    return replace(grid, metrics=metrics, rows=rows), [m for m in grid.metrics if m not in metrics]


def _hidden(metrics: Sequence[str], blocks: Sequence[str]) -> str:
    """What was measured but is not shown here."""
    metrics_ = f" Measured as well, and in the records: {', '.join(metrics)}." if metrics else ""
    return metrics_ + (f" Not in this table: the blocks {', '.join(blocks)}." if blocks else "")


def _contests(summaries: Sequence[Sequence[Summary]], rank: str) -> dict[tuple[Any, ...], list[Place]]:
    """Which places compete with each other: never those of different groups, directions or units."""
    contests: dict[tuple[Any, ...], list[Place]] = {}
    for r, line in enumerate(summaries if rank != "none" else ()):
        for m, summary in enumerate(line):
            if summary.contest is not None:
                contests.setdefault((r if rank == "row" else m, *summary.contest), []).append((r, m))
    return contests


def _winners(summaries: Sequence[Sequence[Summary]], places: Sequence[Place]) -> Iterable[Place]:
    values = {(r, m): summaries[r][m].value or 0.0 for r, m in places}
    pick = max if summaries[places[0][0]][places[0][1]].direction == "higher" else min
    top = pick(values.values())
    return [place for place, value in values.items() if value == top]


def _column(name: str, summaries: Sequence[Summary]) -> Column:
    """Unit and direction of a metric where all its values agree."""
    units = {s.unit for s in summaries if s.unit is not None}
    directions: set[Direction] = {s.direction for s in summaries if s.unit is not None}
    return Column(
        name=name,
        unit=units.pop() if len(units) == 1 else "",
        direction=directions.pop() if len(directions) == 1 else "none",
    )


def _unlike(columns: Sequence[Column], keys: Sequence[str]) -> list[Column]:
    """Metrics whose label is also that of a key get another name, because JSON and CSV go by names."""
    return [Column(name=f"{c.name} (metric)", unit=c.unit, direction=c.direction) if c.name in keys else c for c in columns]


def _entries(line: Sequence[Summary], r: int, columns: Sequence[Column], best: set[Place], notes: Notes) -> Iterable[Entry]:
    for m, (summary, column) in enumerate(zip(line, columns, strict=True)):
        yield Entry(
            text=summary.text,
            value=summary.value,
            best=(r, m) in best,
            struck=summary.struck,
            note=notes.add([*summary.remarks, *_differences(summary, column)]),
        )


def _differences(summary: Summary, column: Column) -> Iterable[str]:
    """What this value says otherwise than its column."""
    if summary.unit is not None and summary.unit != column.unit:
        yield f"unit: {summary.unit}"
    if summary.direction not in ("none", column.direction):
        yield f"{summary.direction} is better"


def _caption(
    grid: Grid,
    summaries: Sequence[Sequence[Summary]],
    contests: Mapping[tuple[Any, ...], Sequence[Place]],
    best: set[Place],
    rank: str,
) -> str:
    """How to read this table, and nothing that does not occur in it."""
    flat = [s for line in summaries for s in line]
    counts = {s.seeds for s in flat if s.seeds}
    parts = []
    if counts and max(counts) > 1:
        over = f"{max(counts)} seeds" if len(counts) == 1 else "seeds"
        parts.append(f"Mean ± half-width of the 95 % t interval over {over}.")
    if best:
        parts.append(f"Bold: the best of its group in a {rank}." + (_groups(grid, contests) if rank == "row" else ""))
    if any(s.struck for s in flat):
        parts.append("Struck through: measured, but not to be ranked; the note says why.")
    if any(not s.text for s in flat):
        parts.append("Empty: the suite does not ask for it.")
    return " ".join(parts)


def _groups(grid: Grid, contests: Mapping[tuple[Any, ...], Sequence[Place]]) -> str:
    """Which metrics compete, by group."""
    members: dict[str, dict[str, None]] = {}
    for (_, group, *_rest), places in contests.items():
        if len(places) > 1:
            members.setdefault(group, {}).update((grid.metrics[m], None) for _, m in places)
    if len(members) > _GROUPS_NAMED:
        return ""
    listed = "; ".join(f"{group} ({', '.join(metrics)})" for group, metrics in members.items())
    return f" Only values of one group compete: {listed}."
