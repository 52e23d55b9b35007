# SPDX-License-Identifier: Apache-2.0
"""Exact Wasserstein distances between samples of equal size, and what the distances of two classes allow a margin."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def wasserstein1(a: np.ndarray, b: np.ndarray, metric: str = "euclidean") -> float:
    """W1 between two uniform samples of equal size: the cheapest assignment, divided by their size.

    Args:
        a: (n, d) float64.
        b: (n, d).
        metric: Ground distance: `euclidean`, or `cityblock` for l1.

    Returns:
        In the unit of the rows. An optimum of transport between uniform samples is an assignment (Birkhoff).
    """
    cost = cdist(a, b, metric)
    return float(cost[linear_sum_assignment(cost)].mean())


def hinge_floor(a: np.ndarray, b: np.ndarray, margin: float) -> float:
    """A lower bound on the mean hinge over both samples, whatever the 1-Lipschitz function.

    For a pair at distance d both hinges sum to max(0, 2 margin - d) at least; the heaviest matching adds up disjoint pairs.

    Args:
        a: (n, d) float64.
        b: (m, d).
        margin: Of the hinge.
    """
    gain = np.maximum(0.0, 2 * margin - cdist(a, b))
    return float(gain[linear_sum_assignment(gain, maximize=True)].sum() / (len(a) + len(b)))
