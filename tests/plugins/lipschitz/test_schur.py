# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from bounded_networks import he_weights, largest_over_vertices, measure, mlp, norm2
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_lipschitz.estimators.product import SpectralProduct
from lipbench_lipschitz.estimators.schur import Schur
from lipbench_lipschitz.schur import Problem, Solution, certify, closed_form
from torch import nn

from lipbench.api import NotApplicable

# sizes -> LipSDP with diagonal multipliers, closed form
ORACLES = {
    (2, 8, 2): (2.0918, 2.9596),
    (2, 16, 2): (1.9602, 3.8671),
    (2, 10, 10, 2): (3.2142, 5.7381),
    (2, 12, 12, 12, 3): (6.3077, 11.2873),
}
CLOSED = Schur(mode="closed")
QUICK = Schur(steps=60)
ACTIVATIONS = {
    "relu": (nn.ReLU, (0.0, 1.0)),
    "leaky": (lambda: nn.LeakyReLU(0.25), (0.25, 1.0)),
    "steep": (lambda: nn.LeakyReLU(2.0), (1.0, 2.0)),
    "sigmoid": (nn.Sigmoid, (0.0, 0.25)),
    "gelu": (nn.GELU, (-0.1289041452, 1.1289041452)),
    "hardswish": (nn.Hardswish, (-0.5, 1.5)),
    "down": (lambda: nn.LeakyReLU(-3.0), (-3.0, 1.0)),
}


@pytest.mark.parametrize(("sizes", "expected"), ORACLES.items())
def test_oracle_values(sizes: tuple[int, ...], expected: tuple[float, float]) -> None:
    network = mlp(he_weights(sizes))
    closed, best = measure(CLOSED, network, sizes[:1]), measure(Schur(), network, sizes[:1])
    assert closed.value == pytest.approx(expected[1], abs=6e-5)
    assert expected[0] - 6e-5 <= best.value <= 1.004 * expected[0]
    assert best.extras["closed"] == pytest.approx(closed.value)
    assert best.extras["certified"] is True
    assert best.extras["margin"] < 1e-8
    assert len(best.extras["trace"]) <= 101


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_above_every_vertex_and_below_the_product(name: str, n: int, h: int, m: int, seed: int) -> None:
    make, (low, high) = ACTIVATIONS[name]
    weights = he_weights((n, h, m), seed)
    network = mlp(weights, make)
    exact = largest_over_vertices(weights, low, high)
    product = measure(SpectralProduct(), network, (n,)).value
    closed = measure(CLOSED, network, (n,)).value
    best = measure(Schur(steps=10), network, (n,)).value
    assert exact <= best <= closed * (1 + 1e-9)
    assert closed <= product * (1 + 1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_deep_networks_stay_above_random_slopes(name: str) -> None:
    make, (low, high) = ACTIVATIONS[name]
    weights = he_weights((3, 6, 5, 6, 2), 4)
    found = measure(QUICK, mlp(weights, make), (3,)).value
    rng = np.random.default_rng(0)
    largest = 0.0
    for _ in range(500):
        J = weights[0]
        for w in weights[1:]:
            J = w @ (rng.choice([low, high], size=len(J))[:, None] * J)
        largest = max(largest, norm2(J))
    assert largest <= found


def test_one_hidden_layer_oracle() -> None:
    weights = he_weights((6, 4, 3), 3)
    W1, W2 = (torch.from_numpy(w) for w in weights)
    T = norm2(W2) ** 2 * torch.eye(4, dtype=torch.float64)
    by_hand = torch.linalg.eigvalsh(W1.mT @ T @ torch.linalg.inv(2 * T - W2.mT @ W2) @ T @ W1)[-1].sqrt()
    assert float(by_hand) == pytest.approx(2.987, abs=1e-3)
    assert largest_over_vertices(weights) == pytest.approx(2.115726, abs=1e-6)
    assert 2.127724 - 1e-6 <= measure(Schur(), mlp(weights), (6,)).value <= 2.1280


def test_scalar_output_is_exact() -> None:
    weights = he_weights((8, 5, 1), 3)
    exact = largest_over_vertices(weights)
    assert exact == pytest.approx(1.201231, abs=1e-6)
    assert exact <= measure(Schur(), mlp(weights), (8,)).value <= exact * 1.001


def test_width_one_and_linear_map() -> None:
    first, second = he_weights((3, 1, 2), 3)
    assert norm2(first) * norm2(second) == pytest.approx(2.764557, abs=1e-6)
    for estimator in (CLOSED, QUICK):
        exact = norm2(first) * norm2(second)
        assert exact <= measure(estimator, mlp([first, second]), (3,)).value <= exact * (1 + 1e-9)
        assert measure(estimator, mlp([first]), (3,)).value == pytest.approx(norm2(first), rel=1e-12)


def test_rescaling_of_layers_and_neurons_leaves_it() -> None:
    first, second = he_weights((6, 4, 3), 3)
    D = np.array([10, 0.1, 1, 3])
    for scaled in ([3 * first, second / 3], [D[:, None] * first, second / D]):
        assert measure(Schur(), mlp(scaled), (6,)).value == pytest.approx(2.1277, rel=2e-3)


def test_last_activation_counts() -> None:
    weights = he_weights((3, 4, 2))
    found = measure(QUICK, nn.Sequential(mlp(weights), nn.Sigmoid()), (3,)).value
    plain = measure(QUICK, mlp(weights), (3,)).value
    # slopes of the last layer all 1/4 are allowed, so a quarter of any vertex must be covered
    assert 0.25 * largest_over_vertices(weights) <= found <= 0.25 * plain * 1.02


def test_wide_input_is_reduced_without_loss() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(6, 40)), rng.normal(size=(3, 6))]
    exact = largest_over_vertices(weights)
    found = measure(Schur(), mlp(weights), (40,)).value
    assert exact <= found <= 1.02 * exact


def test_symmetric_slopes_and_constant_networks() -> None:
    class Sine(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(x)

    weights = he_weights((2, 3, 2))
    found = measure(QUICK, mlp(weights, Sine), (2,)).value
    assert largest_over_vertices(weights, -1, 1) <= found <= norm2(weights[0]) * norm2(weights[1]) * (1 + 1e-5)
    assert measure(QUICK, mlp([weights[0], np.zeros((2, 3))]), (2,)).value == 0.0


def test_false_solution_is_not_proven() -> None:
    weights = tuple(torch.from_numpy(w) for w in he_weights((3, 4, 2)))
    problem = Problem(weights=weights, slopes=((0.0, 1.0),))
    good = closed_form(problem)
    low = Solution(multipliers=good.multipliers, constant=0.9 * good.constant)
    infeasible = Solution(multipliers=tuple(5 * m for m in good.multipliers), constant=good.constant)
    for solution in (low, infeasible):
        with pytest.raises(NotApplicable, match="cannot be proven"):
            certify(problem, solution)


def _definite(matrix: list[list[Fraction]]) -> bool:
    """Sylvester's criterion by exact elimination."""
    rows = [row[:] for row in matrix]
    for i in range(len(rows)):
        if rows[i][i] <= 0:
            return False
        for j in range(i + 1, len(rows)):
            factor = rows[j][i] / rows[i][i]
            rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    return True


@pytest.mark.parametrize("slopes", [(0.0, 1.0), (-0.5, 1.5), (0.25, 1.0)])
def test_proof_agrees_with_exact_arithmetic(slopes: tuple[float, float]) -> None:
    weights = tuple(torch.from_numpy(w) for w in he_weights((2, 3, 2)))
    problem = Problem(weights=weights, slopes=(slopes,))
    solution = closed_form(problem)
    value, _ = certify(problem, solution)
    first, second = ([[Fraction(v) for v in row] for row in w.tolist()] for w in weights)
    T = [Fraction(v) for v in solution.multipliers[0].tolist()]
    a, b, rho = Fraction(slopes[0]), Fraction(slopes[1]), Fraction(value) ** 2
    n, h = 2, 3
    matrix = [[Fraction(0)] * (n + h) for _ in range(n + h)]
    for i, j in itertools.product(range(n), repeat=2):
        matrix[i][j] = Fraction(i == j) + 2 * a * b * sum(first[k][i] * T[k] * first[k][j] for k in range(h))
    for i, j in itertools.product(range(h), range(n)):
        matrix[n + i][j] = matrix[j][n + i] = -(a + b) * T[i] * first[i][j]
    for i, j in itertools.product(range(h), repeat=2):
        matrix[n + i][n + j] = 2 * T[i] * (i == j) - sum(row[i] * row[j] for row in second) / rho
    assert _definite(matrix)


def test_other_norms_and_graphs_are_refused() -> None:
    with pytest.raises(NotApplicable, match="norm: l2"):
        measure(QUICK, mlp(he_weights((2, 3, 2))), (2,), "l1")
    with pytest.raises(NotApplicable, match="plain chain"):
        measure(QUICK, nn.Softmax(1), (3,))


def test_rerun_is_bit_identical_and_convolutions_work() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3, stride=2), nn.GELU(), nn.Flatten(), nn.Linear(27, 4)).requires_grad_(False)
    values = [measure(QUICK, network, (1, 8, 8)) for _ in range(2)]
    assert values[0] == values[1]
    product = measure(SpectralProduct(), network, (1, 8, 8)).value
    assert 0 < values[0].value <= product
    assert math.isfinite(values[0].value)
