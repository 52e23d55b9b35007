# SPDX-License-Identifier: Apache-2.0
"""AUROC of every detector on every pair: the form in which the source of the method prints its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lipbench.api import Column, Entry, Record, Table

from .reading import Grid, Pair, Results, mean

_TITLE = "AUROC of each pair"
_CAPTION = (
    "Foreign against in-domain images; below 0.5 foreign images look more in-domain than in-domain ones. The last rows are over "
    "all pairs and only of detectors that were measured on all of them; rank 1 is best."
)


def matrix(records: Sequence[Record]) -> Table:
    """A row for each pair, a column for each detector that was asked on at least half of the pairs.

    Args:
        records: In the order of the plan.
    """
    results = Results(records)
    names, grid = results.main, results.main_grid
    if not grid.cells:
        return Table(title=_TITLE, columns=(), rows=())
    several = any(len(found) > 1 for name in names for found in results.cells.get(name, {}).values())
    spread = "Mean ± half-width of the 95 % t interval over seeds." if several else "One seed: no interval over seeds."
    others = len(results.grid.kinds) - len(names)
    left_out = f" {others} more, asked on fewer than half of the pairs, are in the plots and findings." if others else ""
    return Table(
        title=_TITLE,
        columns=[Column(name="in"), Column(name="out"), *(Column(name=n, direction="higher") for n in names)],
        rows=[*(_row(results, names, pair) for pair in results.pairs), *_summary(names, grid)],
        caption=f"{_CAPTION} {spread}{left_out}",
    )


def _row(results: Results, names: Sequence[str], pair: Pair) -> list[Entry]:
    means = [results.mean(name, pair) for name in names]
    best = max((m.value for m in means if m is not None), default=None) if pair not in results.null else None
    found = [Entry(text="") if m is None else Entry(text=str(m), value=m.value, best=m.value == best) for m in means]
    return [Entry(text=pair[0]), Entry(text=pair[1]), *found]


def _summary(names: Sequence[str], grid: Grid) -> list[list[Entry]]:
    """Mean, worst pair and mean rank."""
    whole = {name: grid.cells[name] for name in names if name in grid.cells and len(grid.cells[name]) == len(grid.pairs)}
    ranks = mean_ranks(whole)
    made: Sequence[tuple[str, Callable[[str], float], int, int]] = (
        ("mean", lambda n: mean(whole[n].values()), 3, 1),
        ("worst pair", lambda n: min(whole[n].values()), 3, 1),
        ("mean rank", lambda n: ranks[n], 2, -1),
    )
    rows = []
    for title, value, digits, sign in made:
        values = {name: value(name) for name in whole}
        best = max((sign * v for v in values.values()), default=None)
        found = [
            Entry(text=f"{values[n]:.{digits}f}", value=values[n], best=sign * values[n] == best)
            if n in values
            else Entry(text="")
            for n in names
        ]
        rows.append([Entry(text=title), Entry(text=f"{len(grid.pairs)} pairs"), *found])
    return rows if whole else []


def mean_ranks(cells: dict[str, dict[Pair, float]]) -> dict[str, float]:
    """Mean over pairs of each detector's rank, 1 for the best; equal values share the mean of their ranks.

    >>> mean_ranks({"a": {("x", "y"): 0.9}, "b": {("x", "y"): 0.9}, "c": {("x", "y"): 0.5}})
    {'a': 1.5, 'b': 1.5, 'c': 3.0}
    """
    return {name: mean(_rank([c[pair] for c in cells.values()], v) for pair, v in mine.items()) for name, mine in cells.items()}


def _rank(values: Sequence[float], value: float) -> float:
    return sum(v > value for v in values) + (sum(v == value for v in values) + 1) / 2
