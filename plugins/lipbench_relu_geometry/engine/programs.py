# SPDX-License-Identifier: Apache-2.0
"""Linear programs over one polyhedron that are solved many times: models of HiGHS that keep their basis."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from lipbench.api import InvalidInput, NotApplicable

FEASIBILITY = 1e-9
"""Tolerance of rows and of reduced costs, HiGHS's own is 1e-7."""


class Program:
    """max cost . x subject to rows . x <= bounds, x free; costs and bounds may change between solutions.

    Args:
        rows: (k, m).
        bounds: (k,); infinite for rows that do not count.
        cost: (m,) of the first solution.

    Raises:
        InvalidInput: The package highspy is not installed.
    """

    def __init__(self, rows: np.ndarray, bounds: np.ndarray, cost: np.ndarray) -> None:
        if importlib.util.find_spec("highspy") is None:
            raise InvalidInput("linear programs need the package highspy: pip install 'lipbench[geometry]'")
        import highspy

        self._highs: Any = highspy.Highs()
        for name, value in (
            ("output_flag", False),
            ("threads", 1),
            ("presolve", "off"),
            ("primal_feasibility_tolerance", FEASIBILITY),
            ("dual_feasibility_tolerance", FEASIBILITY),
        ):
            self._highs.setOptionValue(name, value)
        self._optimal, self._status = highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus
        k, m = rows.shape
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = m, k
        model.sense_ = highspy.ObjSense.kMaximize
        model.col_cost_ = np.ascontiguousarray(cost, dtype=np.float64)
        model.col_lower_, model.col_upper_ = np.full(m, -np.inf), np.full(m, np.inf)
        model.row_lower_, model.row_upper_ = np.full(k, -np.inf), np.ascontiguousarray(bounds, dtype=np.float64)
        row, column = np.nonzero(rows)
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.num_col_, model.a_matrix_.num_row_ = m, k
        model.a_matrix_.start_ = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=k))]).astype(np.int32)
        model.a_matrix_.index_ = column.astype(np.int32)
        model.a_matrix_.value_ = rows[row, column]
        self._highs.passModel(model)
        self._columns = np.arange(m, dtype=np.int32)

    def bound(self, row: int, upper: float, lower: float = -np.inf) -> None:
        """Change what a row may be."""
        self._highs.changeRowBounds(int(row), float(lower), float(upper))

    def cost(self, cost: np.ndarray) -> None:
        """Change what is maximised."""
        self._highs.changeColsCost(len(cost), self._columns, np.ascontiguousarray(cost, dtype=np.float64))

    def solve(self) -> tuple[float, np.ndarray] | None:
        """The largest value and where it is; None where there is no point at all.

        Raises:
            NotApplicable: There is no largest value, or the solver gave up twice.
        """
        for attempt in range(3):
            self._highs.run()
            status = self._highs.getModelStatus()
            if status == self._optimal:
                return float(self._highs.getObjectiveValue()), np.array(self._highs.getSolution().col_value)
            if status == self._status.kInfeasible:
                return None
            # Without presolve a warm start ends as unknown about once in a few thousand programs: start afresh, then with it.
            self._highs.clearSolver()
            self._highs.setOptionValue("presolve", "on" if attempt else "off")
        self._highs.setOptionValue("presolve", "off")
        raise NotApplicable(f"the linear program has no largest value that HiGHS could find ({status})")


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
