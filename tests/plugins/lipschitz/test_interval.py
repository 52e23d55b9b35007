# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from exact_networks import CTX, PLANAR, matrix_network, on_region, relu_network, seeded_mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_lipschitz.activations import Activation
from lipbench_lipschitz.balls import uniform_region
from lipbench_lipschitz.estimators.interval import IntervalJacobian
from lipbench_lipschitz.estimators.regions import Regions
from lipbench_lipschitz.intervals import Interval, activation_range
from lipbench_lipschitz.spectral import jacobians, operator_norm
from torch import nn

from lipbench.api import NotApplicable

ACTIVATIONS = [
    nn.ReLU(),
    nn.LeakyReLU(0.2),
    nn.ReLU6(inplace=True),
    nn.ELU(),
    nn.SELU(),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.SiLU(inplace=True),
    nn.Mish(),
    nn.Tanh(),
    nn.Sigmoid(),
    nn.Softplus(),
    nn.Hardswish(),
]


@pytest.mark.parametrize("sizes", PLANAR)
def test_interval_bounds_of_the_planar_networks(sizes):
    value = IntervalJacobian().compute(on_region(relu_network(sizes), 2), CTX)
    assert value.value == pytest.approx(PLANAR[sizes][4], abs=6e-5 if len(sizes) < 5 else 6e-4)
    assert (value.extras["kind"], value.extras["scope"], value.extras["certified"]) == ("upper", "box", True)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_no_jacobian_in_the_region_is_above(activation):
    network = seeded_mlp((3, 8, 8, 2), activation)
    for norm in ("l2", "l1", "linf"):
        for radius in (None, 0.1):
            evidence = on_region(network, 3, norm, radius=radius, low=-2.0, high=2.0)
            value = IntervalJacobian().compute(evidence, CTX)
            x = uniform_region(evidence, 1000, torch.Generator().manual_seed(1)).double()
            assert float(operator_norm(jacobians(evidence.probe, x), norm).max()) <= value.value


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), radius=st.sampled_from([1e-3, 0.05, 0.5]))
def test_the_bound_is_above_the_exact_value_on_the_same_balls(seed, radius):
    evidence = on_region(relu_network((2, 6, 5, 2), seed=seed), 2, "linf", radius=radius, points=8)
    upper, exact = IntervalJacobian().compute(evidence, CTX), Regions().compute(evidence, CTX)
    assert exact.value <= upper.value
    assert upper.extras["region"] == exact.extras["region"] == f"ball({radius:g})"


def test_a_linear_network_is_bounded_by_its_norm_from_above():
    weight = torch.randn((4, 6), generator=torch.Generator().manual_seed(0))
    exact = float(torch.linalg.matrix_norm(weight.double(), 2))
    for radius in (None, 0.5):
        value = IntervalJacobian().compute(on_region(matrix_network(weight), 6, radius=radius), CTX)
        assert exact <= value.value <= exact * (1 + 1e-11)


@pytest.mark.parametrize("slope", [0.01, 0.1, 0.2])
def test_slopes_of_leaky_relu_are_not_rounded_to_single_precision(slope):
    weight = torch.ones((1, 1), dtype=torch.float64)
    network = nn.Sequential(matrix_network(weight), nn.LeakyReLU(slope), matrix_network(weight))
    evidence = on_region(network, 1, "linf", radius=0.1, points=torch.full((1, 1), -0.5))
    value = IntervalJacobian().compute(evidence, CTX)
    assert slope <= value.value <= slope * (1 + 1e-12)
    assert Regions().compute(evidence, CTX).value == slope
    step = Activation(name="leaky_relu", low=slope, high=1.0)
    below = activation_range(step, Interval.between(torch.full((1,), -2.0).double(), torch.full((1,), -1.0).double()))
    assert float(below.low) <= -2 * slope < -slope <= float(below.high)
    assert float(below.high - below.low) == pytest.approx(slope, rel=1e-12)


def test_small_balls_give_the_jacobian_at_their_centres():
    evidence = on_region(seeded_mlp((3, 8, 8, 2), nn.Tanh()), 3, radius=1e-7)
    value = IntervalJacobian().compute(evidence, CTX)
    at_centres = operator_norm(jacobians(evidence.probe, evidence.points), "l2")
    assert value.value == pytest.approx(float(at_centres.max()), rel=1e-5)
    assert value.extras["balls"] == pytest.approx(at_centres.tolist(), rel=1e-5)
    assert value.extras["worst_point"] == int(at_centres.argmax())


def test_a_ball_is_bounded_more_tightly_than_its_box():
    network, points = relu_network((20, 16, 16, 3)), torch.full((4, 20), 0.2)
    ball = IntervalJacobian().compute(on_region(network, 20, radius=0.3, points=points), CTX)
    cube = IntervalJacobian().compute(on_region(network, 20, low=-0.1, high=0.5, points=points), CTX)
    assert ball.value < 0.8 * cube.value


def test_wide_inputs_take_the_other_order_and_stay_sound():
    network = nn.Sequential(nn.Flatten(), seeded_mlp((1200, 6, 6, 3), nn.GELU()))
    evidence = on_region(network, (3, 20, 20), radius=1e-4, points=3)
    value = IntervalJacobian().compute(evidence, CTX)
    at_centres = operator_norm(jacobians(evidence.probe, evidence.points), "l2")
    assert float(at_centres.max()) <= value.value <= 1.5 * float(at_centres.max())


def test_a_network_that_is_no_chain_is_refused():
    class Doubling(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * x

    with pytest.raises(NotApplicable):
        IntervalJacobian().compute(on_region(nn.Sequential(nn.Linear(2, 2), Doubling()), 2), CTX)
