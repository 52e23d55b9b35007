# SPDX-License-Identifier: Apache-2.0
"""Which competitors are better over many datasets: average ranks and their tests.

Sources: M. Friedman, Journal of the American Statistical Association 32:675-701, 1937; P. Nemenyi, Distribution-free multiple
comparisons, PhD thesis, Princeton, 1963; F. Wilcoxon, Biometrics Bulletin 1:80-83, 1945; J. Demsar, Statistical comparisons of
classifiers over multiple data sets, JMLR 7:1-30, 2006; A. Benavoli, G. Corani, F. Mangili, Should we really use post-hoc tests based on
mean-ranks?, JMLR 17(5):1-10, 2016; A. Vargha, H. D. Delaney, Journal of Educational and Behavioral Statistics 25:101-132, 2000.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from lipbench.leaderboard.contests import Contest, Family
from lipbench.leaderboard.paired import ALPHA, MOST, holm
from lipbench.leaderboard.summary import Summary

FEWEST_DATASETS = 6
"""With fewer, even a competitor that is ahead on all of them is not found ahead by Wilcoxon's test at 5 %."""
_EXACT = 50
_DIGITS = 6
"""Of p-values and averages: the functions behind them may differ in their last digits from machine to machine."""


@dataclass(frozen=True, kw_only=True)
class Overall:
    """The competitors of one family over all datasets, the best average rank first."""

    family: Family
    names: Sequence[str]
    average_ranks: Sequence[float]
    ranks: Sequence[int]
    """1 and the number of competitors that are found better: by Nemenyi's test, of two by Wilcoxon's."""
    superiority: Sequence[float]
    """Share of datasets on which the first is ahead, half of those with a tie: Vargha and Delaney's A, for pairs."""
    p_first: Sequence[float]
    """Wilcoxon's p against the first, with Holm's correction over all pairs."""
    datasets: int
    """How many all competitors were measured on."""
    incomplete: int
    """How many are left out, because some competitor has no value there."""
    left_out: Sequence[str]
    """Competitors that are left out, because they were measured on fewer than half of the datasets."""
    friedman: float | None
    """p of the Friedman test; None for two competitors."""
    critical: float | None
    """Nemenyi's critical difference of average ranks; None where the Friedman test finds no difference."""


def judge_overall(contests: Sequence[Contest], summaries: Sequence[Sequence[Summary]]) -> list[Overall]:
    """One judgement for each family that has enough datasets."""
    families: dict[Family, list[Contest]] = {}
    for contest in contests:
        families.setdefault(contest.family, []).append(contest)
    judged = (_judge(family, members, summaries) for family, members in families.items())
    return [overall for overall in judged if overall is not None]


def _judge(family: Family, contests: Sequence[Contest], summaries: Sequence[Sequence[Summary]]) -> Overall | None:
    known: dict[str, set[tuple[str, ...]]] = {}
    for contest in contests:
        for name in contest.entrants.values():
            known.setdefault(name, set()).add(contest.dataset)
    everywhere = {contest.dataset for contest in contests}
    names = [name for name, datasets in known.items() if 2 * len(datasets) >= len(everywhere)]
    if len(everywhere) < FEWEST_DATASETS or not 2 <= len(names) <= MOST:
        return None
    complete = _complete(contests, names, summaries)
    if len(complete) < FEWEST_DATASETS:
        return None
    sign = -1.0 if family.direction == "higher" else 1.0
    # Sorted, so that no order of rows changes the last digit of anything.
    scores = [[sign * v for v in complete[dataset]] for dataset in sorted(complete)]
    left_out = [name for name in known if name not in names]
    return _tests(family, names, scores, len(everywhere) - len(complete), left_out)


def _complete(
    contests: Iterable[Contest], names: Sequence[str], summaries: Sequence[Sequence[Summary]]
) -> dict[tuple[str, ...], list[float]]:
    """Values on each dataset that has all names: means over shared seeds, then over its contests."""
    found: dict[tuple[str, ...], list[list[float]]] = {}
    for contest in contests:
        by_name = {name: summaries[r][m].by_seed for (r, m), name in contest.entrants.items()}
        if not all(name in by_name for name in names):
            continue
        chosen = [by_name[name] for name in names]
        shared = set(chosen[0]).intersection(*chosen[1:])
        if shared:
            found.setdefault(contest.dataset, []).append([_mean([c[seed] for seed in shared]) for c in chosen])
    return {dataset: [_mean(v) for v in zip(*rows, strict=True)] for dataset, rows in found.items()}


def _mean(values: Sequence[float]) -> float:
    """Exact before it is rounded; scaled first, so that no sum overflows."""
    return math.fsum([v / len(values) for v in values]) if len(set(values)) > 1 else values[0]


def _tests(
    family: Family, names: Sequence[str], scores: Sequence[Sequence[float]], incomplete: int, left_out: Sequence[str]
) -> Overall:
    import numpy as np
    from scipy import stats

    table = np.asarray(scores)
    ranks = stats.rankdata(table, axis=1)
    average = ranks.mean(axis=0)  # halves of whole numbers: exact in any order
    count, size = table.shape
    friedman = float(stats.friedmanchisquare(*table.T).pvalue) if size > 2 and np.ptp(ranks) else (1.0 if size > 2 else None)
    pairs = list(combinations(range(size), 2))
    p_pairs = dict(zip(pairs, holm([wilcoxon(table[:, i], table[:, j]) for i, j in pairs]), strict=True))
    critical = None
    if friedman is None:
        differ = {pair: p <= ALPHA for pair, p in p_pairs.items()}
    else:
        critical = critical_difference(size, count) if friedman <= ALPHA else None
        differ = {(i, j): critical is not None and abs(average[i] - average[j]) >= critical for i, j in pairs}
    worse = [sum(differ[min(i, j), max(i, j)] and average[j] < average[i] for j in range(size) if j != i) for i in range(size)]
    order = sorted(range(size), key=lambda i: (average[i], names[i]))
    first = order[0]
    return Overall(
        family=family,
        names=[names[i] for i in order],
        average_ranks=[_rounded(average[i]) for i in order],
        ranks=[1 + int(worse[i]) for i in order],
        superiority=[_superiority(table[:, first], table[:, i]) for i in order],
        p_first=[1.0 if i == first else _rounded(p_pairs[min(first, i), max(first, i)]) for i in order],
        datasets=count,
        incomplete=incomplete,
        left_out=left_out,
        friedman=None if friedman is None else _rounded(friedman),
        critical=None if critical is None else _rounded(critical),
    )


def critical_difference(competitors: int, datasets: int) -> float:
    """Nemenyi's: by how much average ranks must differ (Demsar 2006, section 3.2.2)."""
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - ALPHA, competitors, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(competitors * (competitors + 1) / (6 * datasets))


def wilcoxon(one: Any, other: Any) -> float:
    """Two-sided p of the signed-rank test, zeros split evenly (Demsar 2006, section 3.1.3).

    Exact for up to `_EXACT` pairs, ties or not: scipy takes over a second for each pair of competitors with ties.
    """
    import numpy as np
    from scipy import stats

    differences = np.asarray(one) - np.asarray(other)
    signed = np.flatnonzero(differences)
    if not len(signed):
        return 1.0
    if len(differences) > _EXACT:
        return float(stats.wilcoxon(differences, zero_method="zsplit", method="approx").pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(differences))[signed]).astype(int)
    # How many of all choices of signs give each sum of positive ranks.
    ways = np.ones(1, dtype=np.int64)
    for rank in doubled:
        ways = np.append(ways, np.zeros(rank, np.int64)) + np.append(np.zeros(rank, np.int64), ways)
    found = int(doubled[differences[signed] > 0].sum())
    tail = int(ways[: min(found, int(doubled.sum()) - found) + 1].sum())
    return min(1.0, 2 * tail / 2 ** len(doubled))


def _superiority(first: Any, other: Any) -> float:
    return float(((first < other).sum() + 0.5 * (first == other).sum()) / len(first))


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
