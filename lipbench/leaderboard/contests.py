# SPDX-License-Identifier: Apache-2.0
"""Which values of a table compete with each other, and what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lipbench.leaderboard.grid import Grid
from lipbench.leaderboard.paired import Standings, compete
from lipbench.leaderboard.summary import Summary

Place = tuple[int, int]
"""Row and metric, from 0."""
Rank = str | Sequence[str]
"""`row`, `column`, `none`, or the roles whose fillings compete."""


class Family(NamedTuple):
    """What contests have in common that may be judged together."""

    metric: str
    """Empty where metrics are what competes."""
    group: str
    direction: str
    unit: str

    @property
    def words(self) -> str:
        """For a reader."""
        return ", ".join(filter(None, [self.metric, self.group])) or "all"


@dataclass(kw_only=True)
class Contest:
    """Values of one family that were measured on the same thing."""

    family: Family
    dataset: tuple[str, ...]
    """What they were measured on: the roles that do not compete. Task parameters may tell more contests on it apart."""
    entrants: dict[Place, str] = field(default_factory=dict)
    """Competing places with the names of their competitors."""

    def judge(self, summaries: Sequence[Sequence[Summary]]) -> Standings:
        """Ranks in the order of the entrants."""
        chosen = [summaries[r][m] for r, m in self.entrants]
        return compete([s.by_seed for s in chosen], [s.value or 0.0 for s in chosen], self.family.direction == "higher")


def find_contests(
    grid: Grid, summaries: Sequence[Sequence[Summary]], rank: Rank, rank_by: Collection[str] | None = None
) -> list[Contest]:
    """All contests of at least two values, never across groups, directions or units.

    Args:
        grid: Rows and metrics.
        summaries: Their values.
        rank: Who competes.
        rank_by: Labels of the metrics by which rows compete; None for all.
    """
    found: dict[tuple[object, ...], Contest] = {}
    for r, line in enumerate(summaries if rank != "none" else ()):
        for m, summary in enumerate(line):
            # Of different metrics only those compete that name what they have in common.
            if summary.contest is None or (rank == "row" and not summary.group):
                continue
            if rank != "row" and rank_by is not None and grid.metrics[m] not in rank_by:
                continue
            name, where, dataset = _sides(grid, r, m, rank)
            family = Family("" if rank == "row" else grid.metrics[m], *summary.contest)
            contest = found.setdefault((where, family), Contest(family=family, dataset=dataset))
            contest.entrants[r, m] = name
    return [contest for contest in found.values() if len(contest.entrants) > 1]


def _sides(grid: Grid, r: int, m: int, rank: Rank) -> tuple[str, object, tuple[str, ...]]:
    """A place's competitor, the contest that it stands in, and the dataset of that."""
    row = grid.rows[r]
    if rank == "row":
        return grid.metrics[m], r, tuple(row.facts[role] for role in grid.roles)
    competing = set(grid.keys if isinstance(rank, str) else rank)
    sides = list(zip(grid.keys, row.keys, strict=True))
    name = " / ".join(text for key, text in sides if key in competing)
    block = tuple(text for key, text in sides if key not in competing)
    return name, block, tuple(row.facts[role] for role in grid.roles if role not in competing)


def judge(contests: Sequence[Contest], summaries: Sequence[Sequence[Summary]]) -> tuple[Mapping[Place, Outcome], bool]:
    """What each competing place comes to, and whether a test was made anywhere."""
    outcomes: dict[Place, Outcome] = {}
    tested = False
    for contest in contests:
        standings = contest.judge(summaries)
        tested |= standings.tested
        levels = sorted(set(standings.ranks))
        for place, rank, effect in zip(contest.entrants, standings.ranks, standings.effects, strict=True):
            outcomes[place] = Outcome(rank=rank, effect=effect, level=levels.index(rank))
    return outcomes, tested


class Outcome(NamedTuple):
    """What a place comes to in its contest."""

    rank: int
    effect: float | None
    level: int
    """0 for the first rank that somebody has, 1 for the second."""
