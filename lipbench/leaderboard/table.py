# SPDX-License-Identifier: Apache-2.0
"""The main table of a suite: a pure function of its plan and its records."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lipbench.contract.values import Column, Direction, Entry, Table
from lipbench.leaderboard.caption import BELOW, caption
from lipbench.leaderboard.contests import Contest, Outcome, Place, Rank, find_contests, judge
from lipbench.leaderboard.grid import Found, Grid, make_grid
from lipbench.leaderboard.overall import Overall, judge_overall
from lipbench.leaderboard.overall_table import overall_table
from lipbench.leaderboard.summary import SHOWN, Summary, summarise

DIGITS = 4
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


def tables(plan: Mapping[str, Any], records: Found) -> tuple[list[Table], list[Overall]]:
    """The main table, and below it the average ranks where something competes on enough datasets, with what they are made of."""
    made = _made(plan, records)
    overall = judge_overall(made.contests, made.summaries)
    return [_main(made, overall), *([overall_table(overall)] if overall else [])], overall


def main_table(plan: Mapping[str, Any], records: Found) -> Table:
    """Rows of roles and parameters, a column a metric.

    Args:
        plan: What `plan.json` holds; of an empty one, rows and columns are made from the records.
        records: In any order; those that the plan does not know are ignored.

    Returns:
        Values are means over seeds; the first and the second rank of each contest of at least two values are marked.
    """
    return _main(_made(plan, records), ())


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A table before it is put into words."""

    grid: Grid
    summaries: Sequence[Sequence[Summary]]
    contests: Sequence[Contest]
    rank: Rank
    shown: Collection[str]
    left_out: str


def _made(plan: Mapping[str, Any], records: Found) -> _Made:
    spec: Spec = plan.get("leaderboard") or {}
    chosen, rest = _chosen(plan, spec.get("blocks"))
    grid, hidden = _shown(make_grid(chosen, records), spec.get("columns"))
    digits, shown = spec.get("digits") or DIGITS, spec.get("show") or SHOWN
    summaries = [[summarise(grid.measured(row, metric), digits, shown) for metric in grid.metrics] for row in grid.rows]
    rank: Rank = spec.get("rank") or "row"
    contests = find_contests(grid, summaries, rank, spec.get("rank_by"))
    return _Made(grid=grid, summaries=summaries, contests=contests, rank=rank, shown=shown, left_out=_hidden(hidden, rest))


def _main(made: _Made, overall: Sequence[Overall]) -> Table:
    grid = made.grid
    outcomes, tested = judge(made.contests, made.summaries)
    columns = [_column(name, [row[m] for row in made.summaries]) for m, name in enumerate(grid.metrics)]
    notes = Notes()
    rows = [
        [*(Entry(text=key) for key in row.keys), *_entries(made, r, columns, outcomes, notes)]
        for r, row in enumerate(grid.rows)
    ]
    said = caption(grid, made.summaries, made.contests, rank=made.rank, shown=made.shown, tested=tested)
    return Table(
        title="Results",
        columns=[*(Column(name=key, key=True) for key in grid.keys), *_unlike(columns, grid.keys)],
        rows=rows,
        notes=notes.texts(),
        caption=said + (" " + BELOW if overall else "") + made.left_out,
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


def _entries(
    made: _Made, r: int, columns: Sequence[Column], outcomes: Mapping[Place, Outcome], notes: Notes
) -> Iterable[Entry]:
    row = made.grid.rows[r]
    for m, (summary, column) in enumerate(zip(made.summaries[r], columns, strict=True)):
        note = notes.add([*summary.remarks, *_differences(summary, column)])
        outcome = outcomes.get((r, m))
        shown = outcome is not None and "rank" in made.shown
        yield Entry(
            text=f"{summary.text} ({outcome.rank})" if outcome is not None and shown else summary.text,
            value=summary.value,
            best=outcome is not None and outcome.level == 0,
            second=outcome is not None and outcome.level == 1,
            struck=summary.struck,
            note=note,
            interval=summary.interval,
            group=summary.group,
            rank=outcome.rank if outcome is not None else None,
            effect=outcome.effect if outcome is not None else None,
            seeds=(summary.seeds, summary.asked) if summary.asked else None,
            standing=summary.standing,
            cells=tuple(row.cells.get(made.grid.metrics[m], {}).values()),
        )


def _differences(summary: Summary, column: Column) -> Iterable[str]:
    """What this value says otherwise than its column."""
    if summary.unit is not None and summary.unit != column.unit:
        yield f"unit: {summary.unit}"
    if summary.direction not in ("none", column.direction):
        yield f"{summary.direction} is better"
