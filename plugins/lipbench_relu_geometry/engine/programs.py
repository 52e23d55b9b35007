# SPDX-License-Identifier: Apache-2.0
"""Linear programs over one polyhedron that are solved many times: models of HiGHS that keep their basis."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch

from lipbench.api import InvalidInput, NotApplicable

_T = TypeVar("_T")
_R = TypeVar("_R")
FEASIBILITY = 1e-9
"""Tolerance of rows and of reduced costs, HiGHS's own is 1e-7."""


def for_each(work: Callable[[_T], _R], cells: Iterable[_T]) -> list[_R]:
    """What `work` gives for each cell, in order, on as many threads as the executor has given to the job.

    The solver lets go of the interpreter while it runs. Each cell has programs of its own, so that results are the same for any
    number of threads.
    """
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(work, cells))


def _solver() -> Any:
    """HiGHS on one thread, silent.

    Raises:
        InvalidInput: It is not installed.
    """
    if importlib.util.find_spec("highspy") is None:
        raise InvalidInput("linear programs need the package highspy: pip install 'lipbench[geometry]'")
    import highspy

    class Silent(highspy.Highs):
        """Registers its callbacks after it was silenced: that prints a banner otherwise."""

        def enableCallbacks(self) -> None:  # noqa: N802  (the library's name)
            self.setOptionValue("output_flag", False)
            super().enableCallbacks()

    highs = Silent()
    for name, value in (
        ("threads", 1),
        ("presolve", "off"),
        ("primal_feasibility_tolerance", FEASIBILITY),
        ("dual_feasibility_tolerance", FEASIBILITY),
    ):
        highs.setOptionValue(name, value)
    return highs


def _pass(
    highs: Any,
    matrix: np.ndarray,
    cost: np.ndarray,
    columns: tuple[np.ndarray, np.ndarray],
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    """Hand over: min cost . x, lower and upper ends of columns and of the rows matrix . x."""
    import highspy

    model = highspy.HighsLp()
    model.num_row_, model.num_col_ = matrix.shape
    model.col_cost_ = np.ascontiguousarray(cost, dtype=np.float64)
    (model.col_lower_, model.col_upper_), (model.row_lower_, model.row_upper_) = columns, rows
    row, column = np.nonzero(matrix)
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.num_row_, model.a_matrix_.num_col_ = matrix.shape
    model.a_matrix_.start_ = np.append(0, np.cumsum(np.bincount(row, minlength=len(matrix)))).astype(np.int32)
    model.a_matrix_.index_, model.a_matrix_.value_ = column.astype(np.int32), matrix[row, column]
    highs.passModel(model)


class _Gives:
    """Runs a model, again where the solver gives up."""

    def __init__(self) -> None:
        self._highs = _solver()

    def _status(self) -> str:
        """`optimal`, `infeasible` or `bound`.

        Raises:
            NotApplicable: None of these.
        """
        import highspy

        known = {
            highspy.HighsModelStatus.kOptimal: "optimal",
            highspy.HighsModelStatus.kInfeasible: "infeasible",
            highspy.HighsModelStatus.kObjectiveBound: "bound",
        }
        status = None
        for presolve in ("off", "off", "on"):
            self._highs.setOptionValue("presolve", presolve)
            self._highs.run()
            status = self._highs.getModelStatus()
            if status in known:
                return known[status]
            # Without presolve a warm start ends as unknown about once in a few thousand programs: start afresh, then with it.
            self._highs.clearSolver()
        raise NotApplicable(f"HiGHS found no end of a linear program ({status})")


class Program(_Gives):
    """max cost . x subject to rows . x <= bounds, x free; costs and bounds may change between solutions.

    Args:
        rows: (k, m).
        bounds: (k,); infinite for rows that do not count.
        cost: (m,) of the first solution.

    Raises:
        InvalidInput: The package highspy is not installed.
    """

    def __init__(self, rows: np.ndarray, bounds: np.ndarray, cost: np.ndarray) -> None:
        super().__init__()
        k, m = rows.shape
        free = np.full(m, np.inf)
        _pass(self._highs, rows, -cost, (-free, free), (np.full(k, -np.inf), np.array(bounds, dtype=np.float64)))
        self._columns, self._values = np.arange(m, dtype=np.int32), np.array(rows, dtype=np.float64)

    def bound(self, row: int, upper: float, lower: float = -np.inf) -> None:
        """Change what a row may be."""
        self._highs.changeRowBounds(int(row), float(lower), float(upper))

    def column(self, place: int, values: np.ndarray) -> None:
        """Change the coefficients (k,) of a variable."""
        for row in (self._values[:, place] != values).nonzero()[0].tolist():
            self._highs.changeCoeff(row, place, float(values[row]))
        self._values[:, place] = values

    def cost(self, cost: np.ndarray) -> None:
        """Change what is maximised."""
        self._highs.changeColsCost(len(cost), self._columns, np.negative(cost, dtype=np.float64))

    def solve(self) -> tuple[float, np.ndarray] | None:
        """The largest value and where it is; None where there is no point at all.

        Raises:
            NotApplicable: There is no largest value, or the solver gave up.
        """
        if self._status() == "infeasible":
            return None
        return -float(self._highs.getObjectiveValue()), np.array(self._highs.getSolution().col_value)

    def prices(self) -> np.ndarray:
        """(k,) by how much the last value would grow for each unit that a row's bound did; not below 0."""
        found: np.ndarray = np.abs(np.array(self._highs.getSolution().row_dual))
        return found


class Implied(_Gives):
    """Is a row of {d: rows . d <= slack} implied by the others? The dual program, whose basis has as many rows as d has entries.

    By duality the largest value of row i under the others is the least sum of slack_j * weight_j over weights not below 0 with
    which the other rows add up to row i. The row itself may be used at a higher price, so there always are such weights; the
    search ends as soon as they are known to cost more than the row's own slack.

    Args:
        rows: (k, m) of norm 1.
        slack: (k,) not below 0.
    """

    def __init__(self, rows: np.ndarray, slack: np.ndarray) -> None:
        super().__init__()
        k, m = rows.shape
        self._rows, self._slack = rows, slack
        self._sums = np.arange(m, dtype=np.int32)
        _pass(self._highs, rows.T, slack, (np.zeros(k), np.full(k, np.inf)), (np.zeros(m), np.zeros(m)))

    def ask(self, i: int, margin: float) -> bool:
        """Whether the value of row i stays below slack_i + margin without it; it then no longer counts for others."""
        slack = float(self._slack[i])
        self._highs.changeColCost(int(i), slack + 1)
        self._highs.changeRowsBounds(len(self._sums), self._sums, self._rows[i], self._rows[i])
        self._highs.setOptionValue("objective_bound", slack + margin)
        implied = self._status() == "optimal" and float(self._highs.getObjectiveValue()) <= slack + margin
        self._highs.changeColCost(int(i), slack)
        if implied:
            self._highs.changeColBounds(int(i), 0.0, 0.0)
        return implied


def polyhedron(rows: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of a polyhedron with norm 1, without those that are constant.

    Args:
        rows: (k, m).
        bounds: (k,).

    Returns:
        (k',) which rows these are, (k', m), (k',).

    Raises:
        InvalidInput: A constant row contradicts itself: the bit vector belongs to no cell.
    """
    size = np.sqrt((rows * rows).sum(axis=1))
    flat = size <= 1e-12 * max(1.0, float(size.max(initial=0.0)))
    if bool((bounds[flat] < -1e-9).any()):
        raise InvalidInput("the bit vector belongs to no cell: a unit that is constant there has the other sign")
    kept = np.flatnonzero(~flat)
    return kept, rows[kept] / size[kept, None], bounds[kept] / size[kept]


def twins(rows: np.ndarray, bounds: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
    """(k,) the first of the rows (norm 1) that are the same hyperplane, from whichever side, as each."""
    whole = np.column_stack([rows, bounds])
    lead = whole[np.arange(len(whole)), np.abs(rows).argmax(axis=1)] if len(whole) else np.zeros(0)
    whole = whole * np.sign(lead)[:, None]
    first = np.arange(len(whole))
    mix = whole @ np.random.default_rng(0).standard_normal(whole.shape[1])
    order = np.argsort(mix, kind="stable")
    spread = tolerance * np.sqrt(whole.shape[1]) * (1 + np.abs(mix[order[1:]]))
    for i in np.flatnonzero(np.diff(mix[order]) <= spread):
        a, b = order[i], order[i + 1]
        if np.abs(whole[a] - whole[b]).max() <= tolerance * (1 + np.abs(bounds[a])):
            root = min(first[a], first[b])
            first[first == first[a]], first[first == first[b]] = root, root
    return first
