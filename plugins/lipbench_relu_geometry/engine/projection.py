# SPDX-License-Identifier: Apache-2.0
"""The point of a polyhedron that is nearest to a given one: exact, by least squares with weights not below 0."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from lipbench.api import NotApplicable

FEASIBLE = 1e-8
"""By how much a row may be missed, as a share of the size of the problem."""


def nearest_point(rows: np.ndarray, bounds: np.ndarray, x: np.ndarray) -> np.ndarray | None:
    """The point of {z: rows . z <= bounds} that is nearest to x; None where there is no point in it.

    The step u from x is the shortest with rows . u <= slack. It is read off the residual of E y = f in least squares over y not
    below 0, where E holds the rows above their slacks and f is the last unit vector.

    Args:
        rows: (k, m) of norm 1.
        bounds: (k,).
        x: (m,).

    Raises:
        NotApplicable: Least squares did not end.

    Source: C. L. Lawson and R. J. Hanson, Solving Least Squares Problems, 1974, chapter 23, problem LDP.
    """
    slack = bounds - rows @ x
    size = -float(slack.min(initial=0.0))
    if size == 0:
        return x.copy()
    m = rows.shape[1]
    system, target = np.concatenate([-rows.T, -slack[None] / size]), np.append(np.zeros(m), 1.0)
    try:
        weights, _ = nnls(system, target, maxiter=30 * len(rows))
    except RuntimeError as error:
        raise NotApplicable(f"least squares found no nearest point of a polyhedron with {len(rows)} rows: {error}") from error
    residual = system @ weights - target
    if residual[m] == 0:
        return None
    found = x - size * residual[:m] / residual[m]
    # A polyhedron without a point leaves a residual of rounding errors alone, which leads anywhere.
    missed = float((rows @ found - bounds).max())
    return found if missed <= FEASIBLE * (size + float(np.abs(found - x).max())) else None
