# SPDX-License-Identifier: Apache-2.0
"""The words under a table: how to read it, and nothing that does not occur in it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from lipbench.leaderboard.contests import Contest, Rank
from lipbench.leaderboard.grid import Grid
from lipbench.leaderboard.numbers import format_number
from lipbench.leaderboard.paired import FEWEST_SEEDS, MOST
from lipbench.leaderboard.summary import OVER_SEEDS, Summary

BELOW = "What holds over all rows stands below."
_GROUPS_NAMED = 12
"""A caption that lists more groups than this is no help."""


def caption(
    grid: Grid,
    summaries: Sequence[Sequence[Summary]],
    contests: Sequence[Contest],
    *,
    rank: Rank,
    shown: Collection[str],
    tested: bool,
) -> str:
    """What numbers, marks and gaps mean."""
    flat = [s for line in summaries for s in line]
    return " ".join(
        [
            *uncertainty(zip(_names(grid, summaries), flat, strict=True), "ci95" in shown),
            *_ranks(grid, contests, rank, tested),
            *(["In brackets behind a value: its rank."] if contests and "rank" in shown else []),
            *(["Struck through: measured, but not to be ranked; the note says why."] if any(s.struck for s in flat) else []),
            *(["Empty: the suite does not ask for it."] if any(not s.text for s in flat) else []),
        ]
    )


def _names(grid: Grid, summaries: Sequence[Sequence[Summary]]) -> Iterator[str]:
    for _ in summaries:
        yield from grid.metrics


def uncertainty(named: Iterable[tuple[str, Summary]], spread: bool = True) -> Iterator[str]:
    """Which intervals are shown, over what, and by which method."""
    counts: set[int] = set()
    own: dict[str, dict[str, None]] = {}
    bare = False
    for name, summary in named:
        interval = summary.interval
        if summary.value is None:
            continue
        if interval is None:
            bare = True
        elif interval.method == OVER_SEEDS:
            counts.add(summary.seeds)
        else:
            own.setdefault(_kind(interval.method, interval.level), {})[name] = None
    over = f"{max(counts)} seeds" if len(counts) == 1 else "seeds"
    if counts and not spread:
        yield f"Means over {over}."
    elif counts:
        yield f"Mean ± half-width of the 95 % t interval over {over}."
    if own and spread:
        yield f"[low, high]: of one seed, the interval that the metric itself gives: {_listed(own)}."
    if bare and (counts or own):
        yield "A number alone: one seed, and its metric gives no interval."
    elif bare:
        yield "One seed, and the metrics give no intervals."


def _kind(method: str, level: float) -> str:
    return method if math.isnan(level) else f"{method}, {format_number(100 * level, 3)} %"


def _listed(members: Mapping[str, Iterable[str]]) -> str:
    if len(members) == 1:
        return next(iter(members))
    return "; ".join(f"{kind} ({', '.join(names)})" for kind, names in members.items())


def _ranks(grid: Grid, contests: Sequence[Contest], rank: Rank, tested: bool) -> Iterator[str]:
    """Who competes, what the marks say, and by which test."""
    if not contests:
        return
    within = f"in a {rank}" if isinstance(rank, str) else f"among rows that differ in {' and '.join(rank)} alone"
    yield f"Bold: the first rank of its group {within}; underlined: the next."
    if tested:
        yield (
            "A rank is 1 and the number of competitors found better on the seeds that both have, by a paired t test at 5 % with Holm's "
            "correction over all pairs of a contest; so ranks are shared where no difference is found, and with few seeds only large "
            "differences are."
        )
    yield f"{'With fewer' if tested else 'No test of differences: with fewer'} than {FEWEST_SEEDS} shared seeds means decide, and no tie is claimed."
    if any(len(c.entrants) > MOST for c in contests):
        yield f"Contests of more than {MOST} competitors are not tested either."
    if rank == "row":
        yield from _groups(contests)


def _groups(contests: Sequence[Contest]) -> Iterator[str]:
    """Which metrics compete, by group."""
    members: dict[str, dict[str, None]] = {}
    for contest in contests:
        members.setdefault(contest.family.group, {}).update(dict.fromkeys(contest.entrants.values()))
    if len(members) <= _GROUPS_NAMED:
        listed = "; ".join(f"{group} ({', '.join(metrics)})" for group, metrics in members.items())
        yield f"Only values of one group compete: {listed}."
