# SPDX-License-Identifier: Apache-2.0
"""Axioms of a metric: theorems hold, and the known violations are found."""

from __future__ import annotations

from typing import Any

import pytest
from distance_cases import CTX, compared
from lipbench_distances.base import Distance, Pair
from lipbench_distances.distances.by_kernels import Energy, KernelMMD
from lipbench_distances.distances.by_moments import GaussianW2, GramLoss, MeanCovariance
from lipbench_distances.distances.transport import SlicedWasserstein, Wasserstein
from lipbench_distances.metrics.axioms import AxiomViolations
from lipbench_distances.pairs.gaussians import EqualGram, Marron, PointMasses, RandomGaussians
from lipbench_distances.pairs.moment_twins import SameMoments

from lipbench.api import NotApplicable, Value

AXIOMS = ("identity", "symmetry", "triangle", "nonnegative")


def violations(pair: Pair, distance: Distance, axiom: str, rounds: int = 60, rows: int | None = None) -> Value:
    made: Any = AxiomViolations(axiom=axiom, rounds=rounds, rows=rows)  # type: ignore[arg-type]
    value: Value = made.compute(compared(pair, distance), CTX)
    return value


@pytest.mark.parametrize("axiom", AXIOMS)
@pytest.mark.parametrize("distance", [GaussianW2(), GramLoss(squared=False), MeanCovariance()], ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("pair", [RandomGaussians(d=4), EqualGram(d=3), PointMasses(d=2)], ids=lambda p: type(p).__name__)
def test_roots_of_squared_distances_violate_nothing(pair: Pair, distance: Distance, axiom: str) -> None:
    assert violations(pair, distance, axiom).value == 0


@pytest.mark.parametrize("axiom", AXIOMS)
@pytest.mark.parametrize(
    "distance",
    [Wasserstein(order=1), Wasserstein(), SlicedWasserstein(), KernelMMD(), Energy()],
    ids=lambda d: type(d).__name__,
)
def test_distances_of_samples_violate_nothing(distance: Distance, axiom: str) -> None:
    assert violations(RandomGaussians(d=3), distance, axiom, rounds=15, rows=20).value == 0


@pytest.mark.parametrize("distance", [GaussianW2(squared=True), GramLoss()], ids=lambda d: type(d).__name__)
def test_squares_violate_the_triangle_inequality(distance: Distance) -> None:
    value = violations(RandomGaussians(d=4), distance, "triangle", rounds=300)
    assert 5 < value.value < 60
    sides = value.extras["sides"]
    assert len(sides) == 150
    assert sum(a > b for a, b in sides) > 0


def test_of_three_points_on_a_line_squares_always_do() -> None:
    """4 > 1 + 1: the largest distance is the sum of the others, so its square is more than the sum of their squares."""
    assert violations(PointMasses(d=1), GaussianW2(squared=True), "triangle").value == 100
    assert violations(PointMasses(d=1), GaussianW2(), "triangle").value == 0


def test_different_distributions_that_a_distance_cannot_tell_apart_are_counted() -> None:
    assert violations(EqualGram(d=3), GramLoss(), "indiscernibles").value == 100
    assert violations(EqualGram(d=3), GaussianW2(), "indiscernibles").value == 0
    assert violations(SameMoments(), GaussianW2(), "indiscernibles").value == 100


def test_the_published_formula_is_nan_at_no_distance() -> None:
    value = violations(Marron(first="Y", second="Z"), GaussianW2(form="source"), "identity", rounds=3)
    assert (value.value, value.extras["nan"], value.extras["violations"]) == (100, 3, 3)
    example = value.extras["example"]
    assert example["d(P,P)"] is None
    assert example["P"]["mean"] == [1, -0.5, 0]
    assert violations(Marron(first="Y", second="Z"), GaussianW2(), "identity", rounds=3).value == 0


def test_unbiased_estimates_fall_below_zero() -> None:
    value = violations(RandomGaussians(d=3), KernelMMD(kernel="polynomial", estimator="u"), "nonnegative", rounds=10, rows=20)
    assert value.value > 50


def test_a_distance_that_looks_one_way_violates_symmetry() -> None:
    class OneWay(GaussianW2):
        def population(self, p: Any, q: Any) -> float:
            return (super().population(p, q) or 0.0) * (1 + float(p.mean[0] > q.mean[0]))

    value = violations(RandomGaussians(d=2), OneWay(), "symmetry")
    assert value.value == 100
    assert value.extras["largest"] > 0.1


def test_axioms_of_distributions_need_a_formula() -> None:
    with pytest.raises(NotApplicable, match="give rows: to the axioms"):
        violations(RandomGaussians(d=2), SlicedWasserstein(), "triangle")
