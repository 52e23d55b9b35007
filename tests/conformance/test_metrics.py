# SPDX-License-Identifier: Apache-2.0
"""Metrics that come with lipbench, each on the evidence that its task makes of a small job: value, seeds, batches, evidence untouched.

Evidence with NaN, without rows or with one is what their tasks never give; the tests of the plugins say what is refused where.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from test_tasks import TASKS

from lipbench.testing import make_evidence, metrics
from lipbench.testing.kit import Checks, find

SQUARE = {"use": "uniform_noise", "shape": [2], "low": -1, "high": 1, "integers": False, "count": 16}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lipschitz": ({"network": {"use": "random_relu", "sizes": [2, 6, 1]}, "data": SQUARE}, {"count": 6, "points": 6}),
    "relu_geometry": (
        {"network": {"use": "relu_oracle", "kind": "normal", "sizes": [2, 6, 1]}, "data": "quadratic", "attack": "unchanged"},
        {"points": 6},
    ),
    "distribution_distance": ({"pair": {"use": "random_gaussians", "d": 3}, "distance": "gaussian_w2"}, {}),
}
"""Roles and parameters of a small job of each task."""
METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "lipschitz": ("random_pairs", ("line_search_jvp", "seqlip")),
    "relu_geometry": (
        "mean_facets",
        (
            "active_bits", "bisection_miss", "cell_map", "chebyshev_radius", "enumeration_faults", "facet_distance",
            "nearest_agreement", "network_accuracy", "published_undercount", "region_ratio",
        ),
    ),
    "distribution_distance": ("axiom_violations", ("gradient_at_zero",)),
}  # fmt: skip
"""Each task with a metric to make its evidence by, and those that are checked here."""
WITH_TASKS = {name for names in TASKS.values() for name in names}
"""Those that `check_task` runs."""
CHECKS: Checks[metrics.MetricSubject] = Checks(
    checks=(metrics.value, metrics.determinism, metrics.evidence_unchanged, metrics.batch_independence)
)


@cache
def evidence(task: str) -> Any:
    roles, params = CASES[task]
    return make_evidence(task, roles=roles, metric=METRICS[task][0], params=params)


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, (_, names) in METRICS.items() for name in names])
def test_metric(task: str, name: str) -> None:
    made = evidence(task)
    cls, declared = find("metric", name, None)
    CHECKS.run(metrics.MetricSubject(kind="metric", cls=cls, declared=declared, evidence=lambda: made), {})
