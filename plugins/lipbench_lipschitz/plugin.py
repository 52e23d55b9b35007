# SPDX-License-Identifier: Apache-2.0
"""What this plugin has: the task `lipschitz`, its estimators, its oracle networks, its reports."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import Component, Report, hookimpl

_HERE = "lipbench_lipschitz"

_METRICS = {
    "random_pairs": ("pairs:RandomPairs", "lower bound: the steepest of the given pairs"),
    "line_search": ("pairs:LineSearch", "lower bound: halve each segment, keep the steeper half, stop soundly or as published"),
    "line_search_jvp": ("pairs:LineSearchJvp", "lower bound: the line search ended by a Jacobian-vector product"),
    "pair_ascent": ("ascent:PairAscent", "lower bound: gradient ascent on the ratio of a pair"),
    "jacobian_norm": ("jacobian:JacobianNorm", "lower bound: the largest Jacobian norm over points"),
    "jacobian_ascent": ("jacobian:JacobianAscent", "lower bound: climb the Jacobian norm over the region"),
    "clever": ("clever:Clever", "statistical estimate: extreme value fit of gradient norms in balls"),
    "spectral_product": ("product:SpectralProduct", "upper bound: product of the layers' operator norms"),
    "seqlip": ("seqlip:SeqLip", "upper bound: SeqLip, exact maximum over slope vertices"),
    "schur": ("schur:Schur", "upper bound: LipSDP-type certificate by a Schur recursion, closed form or optimised"),
    "interval_jacobian": ("interval:IntervalJacobian", "upper bound on a box or balls: interval arithmetic on the Jacobian"),
    "regions": ("regions:Regions", "exact: enumerate the linear regions of a small ReLU network"),
    "milp": ("milp:Milp", "exact: mixed-integer program for the l-infinity gain of a scalar ReLU network"),
}
_NETWORKS = {
    "linear": ("Linear", "one linear map with random weights: every estimator must find its norm"),
    "scalar1d": ("Scalar1d", "textbook functions of one variable with known constants"),
    "random_relu": ("RandomReLU", "a ReLU network with random weights, small enough for exact values"),
    "fp_staircase": ("FpStaircase", "x + offset - offset: the identity with rounding steps, the planted artefact"),
    "lipschitz_mlp": ("LipschitzMLP", "1-Lipschitz by construction: orthogonal layers and GroupSort"),
}


@hookimpl
def lipbench_components() -> Iterable[Component]:
    """The components of the Lipschitz suite."""
    yield Component(
        kind="task",
        name="lipschitz",
        factory=f"{_HERE}.task:Lipschitz",
        summary="how far an output moves when the input moves a little",
    )
    for name, (place, summary) in _METRICS.items():
        yield Component(kind="metric", name=name, factory=f"{_HERE}.estimators.{place}", summary=summary)
    for name, (cls, summary) in _NETWORKS.items():
        yield Component(kind="model", name=name, factory=f"{_HERE}.networks:{cls}", summary=summary, tags=("oracle",))


@hookimpl
def lipbench_reports() -> Iterable[Report]:
    """The audit, the bracket table and the plots."""
    for kind, name, summary in (
        ("audit", "bounds", "no certified lower bound lies above a certified upper bound of the same quantity"),
        ("table", "brackets", "best certified lower bound, exact value and best upper bound of each network"),
        ("plot", "traces", "ratio against distance along the line search, with noise floor and d_min"),
        ("plot", "bracket_chart", "all bounds of each network on one axis"),
        ("plot", "heat_map", "Jacobian norm of a planar network with region edges and the winning pair"),
    ):
        yield Report(kind=kind, name=name, task="lipschitz", factory=f"{_HERE}.reports.{name}:{name}", summary=summary)  # type: ignore[arg-type]
