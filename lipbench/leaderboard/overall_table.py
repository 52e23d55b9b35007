# SPDX-License-Identifier: Apache-2.0
"""Average ranks over datasets as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lipbench.contract.values import Column, Entry, Table
from lipbench.leaderboard.numbers import format_number
from lipbench.leaderboard.overall import Overall

_DIGITS = 3
_HOW = (
    "Each dataset ranks the competitors by their means over shared seeds; 1 is the best. A dataset is what fills the roles that do not "
    "compete; rows that differ in task parameters alone are averaged first. Bold: the first, and all than which none is found better, at "
    "5 %: of three or more by the Friedman test and then Nemenyi's; of two by Wilcoxon's signed-rank test. A: share of datasets on which "
    "the first is ahead of it, a tie counting half (Vargha and Delaney, for pairs). p: Wilcoxon's against the first, with Holm's correction "
    "over all pairs. Datasets that share images or networks say less than their number."
)


def overall_table(judged: Sequence[Overall]) -> Table:
    """Competitors of all families, a family after the other."""
    return Table(
        title="Average ranks",
        columns=[
            Column(name="contest", key=True),
            Column(name="competitor", key=True),
            Column(name="datasets"),
            Column(name="average rank", direction="lower"),
            Column(name="A"),
            Column(name="p"),
        ],
        rows=[row for overall in judged for row in _rows(overall)],
        caption=" ".join([_HOW, *map(_tests, judged)]),
    )


def _rows(overall: Overall) -> Iterator[list[Entry]]:
    levels = sorted(set(overall.ranks))
    for i, (name, average, rank) in enumerate(zip(overall.names, overall.average_ranks, overall.ranks, strict=True)):
        level = levels.index(rank)
        against = [Entry(text=_short(x), value=x, standing="ok") for x in (overall.superiority[i], overall.p_first[i])]
        yield [
            Entry(text=overall.family.words),
            Entry(text=name),
            Entry(text=str(overall.datasets), value=float(overall.datasets)),
            Entry(
                text=_short(average),
                value=average,
                best=level == 0,
                second=level == 1,
                rank=rank,
                standing="ok",
                group=overall.family.words,
            ),
            *(against if i else [Entry(text=""), Entry(text="")]),
        ]


def _tests(overall: Overall) -> str:
    parts = []
    if overall.friedman is not None:
        found = "no difference is found" if overall.critical is None else f"critical difference {_short(overall.critical)}"
        parts.append(f"Friedman p = {_short(overall.friedman)}, {found}")
    if overall.incomplete:
        parts.append(f"{overall.incomplete} datasets left out, where a competitor has no value")
    if overall.left_out:
        parts.append(f"left out, with values on fewer than half of the datasets: {', '.join(overall.left_out)}")
    return f"{overall.family.words}: {'; '.join(parts) or 'Wilcoxon'}."


def _short(number: float) -> str:
    return format_number(number, _DIGITS)
