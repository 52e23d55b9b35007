# SPDX-License-Identifier: Apache-2.0
"""A mixed-integer linear program that is built block by block and solved by HiGHS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix, hstack, vstack

Terms = Sequence[tuple[slice, np.ndarray | csr_matrix]]


class Program:
    """A mixed-integer linear program that grows by blocks."""

    def __init__(self) -> None:
        self.low: list[np.ndarray] = []
        self.high: list[np.ndarray] = []
        self.integral: list[np.ndarray] = []
        self.size = 0
        self.blocks: list[tuple[Terms, np.ndarray, np.ndarray]] = []

    def variables(self, low: np.ndarray, high: np.ndarray, integral: bool = False) -> slice:
        """Add variables between bounds; their place in the solution."""
        self.low.append(low)
        self.high.append(high)
        self.integral.append(np.full(len(low), int(integral)))
        first, self.size = self.size, self.size + len(low)
        return slice(first, self.size)

    def at_most(self, terms: Terms, high: np.ndarray) -> None:
        """Add rows sum_i A_i x_i <= high."""
        self.blocks.append((terms, np.full(len(high), -np.inf), high))

    def equal(self, terms: Terms, value: np.ndarray) -> None:
        """Add rows sum_i A_i x_i = value."""
        self.blocks.append((terms, value, value))

    def _matrix(self, terms: Terms, rows: int) -> csr_matrix:
        parts, place = [], 0
        for where, matrix in sorted(terms, key=lambda t: t[0].start):
            parts += [csr_matrix((rows, where.start - place)), csr_matrix(matrix)]
            place = where.stop
        return hstack([*parts, csr_matrix((rows, self.size - place))], format="csr")

    def maximise(self, what: slice, node_limit: int, gap: float) -> tuple[np.ndarray | None, float, int, str | None]:
        """Maximise the sum of some variables: solution, dual bound, nodes, why it was not solved to the gap."""
        cost = np.zeros(self.size)
        cost[what] = -1.0
        rows = vstack([self._matrix(terms, len(low)) for terms, low, _ in self.blocks], format="csc")
        low, high = (np.concatenate([b[i] for b in self.blocks]) for i in (1, 2))
        # HiGHS sometimes gives up with a solve error or takes a program to be infeasible, in one of the two ways only
        for presolve in (True, False):
            found = milp(
                cost,
                integrality=np.concatenate(self.integral),
                bounds=Bounds(np.concatenate(self.low), np.concatenate(self.high)),
                constraints=LinearConstraint(rows, low, high),
                options={"node_limit": node_limit, "mip_rel_gap": gap, "presolve": presolve},
            )
            limited = found.status == 1 or (found.status == 4 and "limit" in found.message.lower())  # by release of scipy
            if limited or found.status not in (2, 4):
                break
        stopped = None if found.status == 0 else f"the solver failed: {found.message}"
        if limited:
            stopped = f"the node limit {node_limit} stopped the solver before the gap {gap:g}"
        known = found.status not in (2, 3) and found.mip_dual_bound is not None
        dual = -found.mip_dual_bound if known else np.inf
        return found.x, dual, int(found.mip_node_count or 0), stopped
