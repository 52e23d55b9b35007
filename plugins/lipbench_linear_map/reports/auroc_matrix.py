# SPDX-License-Identifier: Apache-2.0
"""AUROC of every target's detector on every source: the form in which the source of the method prints its results."""

from __future__ import annotations

from collections.abc import Sequence

from lipbench.api import Column, Entry, Record, Table

from .averages import Mean, over_seeds
from .matrices import Matrix, Pair, matrix_points, measured_matrix
from .reading import Found, Results

_TITLE = "AUROC of each pair"
_CAPTION = (
    "Row: the network whose detector it is (the target). Column: the network that is attacked and mapped (the source). "
    "Native: source and target are one network, nothing is mapped."
)


def auroc_matrix(records: Sequence[Record]) -> Table:
    """A row for each target, a column for each source, of the setting with the most pairs.

    Args:
        records: In the order of the plan.
    """
    results = Results(records)
    setting = results.headline()
    if setting is None or not results.values(setting, "auroc"):
        return Table(title=_TITLE, columns=(), rows=())
    points, matrix = matrix_points(results, setting), measured_matrix(results, setting)
    return _table(matrix, {pair: _mean(points, pair) for pair in matrix.cells}, several=len({p.seed for p in points}) > 1)


def _mean(points: Found, pair: Pair) -> Mean | None:
    return over_seeds({p: v for p, v in points.items() if p[:2] == pair})


def _table(matrix: Matrix, means: dict[Pair, Mean | None], *, several: bool) -> Table:
    spread = "Mean ± half-width of the 95 % t interval over seeds." if several else "One seed: no interval."
    return Table(
        title=_TITLE,
        columns=[Column(name="target \\ source"), *(Column(name=s, direction="higher") for s in matrix.sources)],
        rows=[
            [Entry(text=t), *(_entry(means.get((t, s)), (t, s) in matrix.diagonal) for s in matrix.sources)]
            for t in matrix.targets
        ],
        caption=f"{matrix.title}. {_CAPTION} {spread}",
    )


def _entry(mean: Mean | None, native: bool) -> Entry:
    return Entry(text="") if mean is None else Entry(text=f"{mean}{' (native)' if native else ''}", value=mean.value)
