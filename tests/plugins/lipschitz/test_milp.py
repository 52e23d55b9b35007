# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from exact_networks import CTX, SCALAR, on_region, relu_network, seeded_mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_lipschitz.estimators.milp import Milp
from lipbench_lipschitz.estimators.regions import Regions
from lipbench_lipschitz.spectral import jacobians, operator_norm
from torch import nn

from lipbench.api import NotApplicable

Layer = tuple[list[list[float]], list[float]]


def relu_layers(*layers: Layer) -> nn.Sequential:
    """A ReLU network with these weights and biases, in float64."""
    steps: list[nn.Module] = []
    for weight, bias in layers:
        w = torch.tensor(weight, dtype=torch.float64)
        layer = nn.Linear(w.shape[1], w.shape[0], dtype=torch.float64)
        layer.weight.data.copy_(w)
        layer.bias.data.copy_(torch.tensor(bias, dtype=torch.float64))
        steps += [layer, nn.ReLU()]
    return nn.Sequential(*steps[:-1]).requires_grad_(False)


# A network, its number of inputs, the ends of its box, its exact constant.
ON_KINKS = {
    "twins": (relu_layers(([[1], [1]], [0, 0]), ([[1, -1]], [0])), 1, -1.0, 1.0, 0.0),
    "twins in the plane": (relu_layers(([[1, 0.3], [1, 0.3]], [0.1, 0.1]), ([[1, -1]], [0])), 2, -1.0, 1.0, 0.0),
    "twins of two sizes": (relu_layers(([[1, 0.3], [2, 0.6]], [0.1, 0.2]), ([[2, -1]], [0])), 2, -1.0, 1.0, 0.0),
    "the identity": (relu_layers(([[1], [-1]], [0, 0]), ([[1, -1]], [0])), 1, -1.0, 1.0, 1.0),
    "a gap below the solver's tolerance": (relu_layers(([[1], [-1]], [0, -1e-8]), ([[1, -1]], [0])), 1, -1.0, 1.0, 1.0),
    "a kink on the rim": (relu_layers(([[1], [1]], [1, 0]), ([[1, -1]], [0])), 1, 0.0, 1.0, 0.0),
    "a neuron of zeros": (relu_layers(([[0, 0], [1, 0]], [0, -5]), ([[3, 1]], [0])), 2, -1.0, 1.0, 0.0),
    "a box far out": (
        relu_layers(([[1, 1 / 3], [3, 1]], [-1e6 - 1e6 / 3, -4e6]), ([[3, -1]], [0])),
        2,
        1e6 - 1,
        1e6 + 1,
        0.0,
    ),
    "twins in the second layer": (
        relu_layers(([[1, 0.5], [-1, 0.7], [0.2, 1]], [0.1, 0.2, 0]), ([[1, -1, 2], [3, -3, 6]], [0, 0]), ([[3, -1]], [0])),
        2,
        -1.0,
        1.0,
        0.0,
    ),
}


@pytest.mark.parametrize("seed", SCALAR)
def test_program_and_regions_find_the_same_scalar_gains(seed):
    evidence = on_region(relu_network((2, 10, 10, 1), seed), 2, "linf")
    program, regions = Milp().compute(evidence, CTX), Regions().compute(evidence, CTX)
    assert program.value == pytest.approx(SCALAR[seed], abs=6e-7)
    assert program.value == pytest.approx(regions.value, rel=1e-9)
    assert (program.extras["kind"], program.extras["scope"]) == ("exact", "box")
    assert program.interval is not None
    assert program.interval.low <= program.value <= program.interval.high <= program.value * (1 + 1e-5)


@pytest.mark.parametrize("sizes", [(2, 8, 1), (2, 6, 2), (2, 5, 4, 4, 1), (1, 7, 5, 1)])
def test_other_depths_and_several_outputs_agree_with_regions(sizes):
    evidence = on_region(relu_network(sizes, seed=7), sizes[0], "linf")
    program = Milp().compute(evidence, CTX)
    assert program.value == pytest.approx(Regions().compute(evidence, CTX).value, rel=1e-7)
    assert program.extras["programs"] == sizes[-1]


def test_balls_agree_with_regions():
    evidence = on_region(relu_network((2, 10, 10, 1)), 2, "linf", radius=0.1, points=4)
    program = Milp().compute(evidence, CTX)
    assert program.value == pytest.approx(Regions().compute(evidence, CTX).value, rel=1e-7)
    assert program.extras["scope"] == "ball"


def test_a_stopped_program_is_an_upper_bound_that_is_not_ranked():
    evidence = on_region(relu_network((2, 10, 10, 1), seed=2), 2, "linf")
    stopped = Milp(node_limit=1).compute(evidence, CTX)
    assert stopped.extras["kind"] == "upper"
    assert not stopped.extras["certified"]
    assert stopped.unranked is not None
    assert "node limit" in stopped.unranked
    assert stopped.value >= SCALAR[2] - 1e-6


def test_what_the_program_cannot_read_is_said():
    relu = relu_network((2, 4, 1))
    with pytest.raises(NotApplicable, match="norm: linf"):
        Milp().compute(on_region(relu, 2, "l2"), CTX)
    with pytest.raises(NotApplicable, match="tanh"):
        Milp().compute(on_region(seeded_mlp((2, 4, 1), nn.Tanh()), 2, "linf"), CTX)
    with pytest.raises(NotApplicable, match="at most 1 outputs"):
        Milp(outputs=1).compute(on_region(relu_network((2, 4, 2)), 2, "linf"), CTX)
    with pytest.raises(NotApplicable, match="linear layer"):
        Milp().compute(on_region(nn.Sequential(relu, nn.ReLU()), 2, "linf"), CTX)


@pytest.mark.parametrize("case", ON_KINKS)
def test_patterns_that_hold_on_a_kink_only_do_not_count(case):
    network, inputs, low, high, exact = ON_KINKS[case]
    evidence = on_region(network, inputs, "linf", low=low, high=high)
    program = Milp().compute(evidence, CTX)
    assert (program.extras["kind"], program.extras["certified"]) == ("exact", True)
    assert program.value == pytest.approx(exact, abs=1e-12)
    assert program.interval is not None
    assert program.interval.low <= exact <= program.interval.high <= exact + 2e-5


@pytest.mark.parametrize("size", [1.0, 1e-5, 1e-7, 1e-9, 1e9])
def test_rescaled_layers_have_the_same_value(size):
    rng = np.random.default_rng(1)
    w = [rng.normal(size=(b, a)) * (2 / a) ** 0.5 for a, b in ((2, 6), (6, 6), (6, 1))]
    b = [0.5 * rng.normal(size=k) for k in (6, 6, 1)]
    parts = [(w[0] * size, b[0] * size), (w[1], b[1] * size), (w[2] / size, b[2])]
    evidence = on_region(relu_layers(*((x.tolist(), y.tolist()) for x, y in parts)), 2, "linf")
    program = Milp().compute(evidence, CTX)
    assert program.extras["kind"] == "exact"
    assert program.value == pytest.approx(1.283572125219151, rel=1e-12)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), rounded=st.booleans(), biased=st.booleans(), spread=st.sampled_from([0, 6]))
def test_networks_with_many_ties_agree_with_regions(seed, rounded, biased, spread):
    rng = np.random.default_rng(seed)
    w = [rng.normal(size=(b, a)) for a, b in ((2, 5), (5, 3), (3, 1))]
    b = [biased * 0.5 * rng.normal(size=k) for k in (5, 3, 1)]
    if rounded:  # parallel and equal neurons, kinks that meet in points and on the rim
        w, b = [np.round(x) for x in w], [np.round(2 * x) / 2 for x in b]
    for i in range(2):
        size = 10.0 ** rng.integers(-spread, spread + 1, size=len(w[i]))
        w[i], b[i], w[i + 1] = w[i] * size[:, None], b[i] * size, w[i + 1] / size
    evidence = on_region(relu_layers(*((x.tolist(), y.tolist()) for x, y in zip(w, b, strict=True))), 2, "linf")
    program, regions = Milp().compute(evidence, CTX), Regions(heat_map=False).compute(evidence, CTX)
    assert program.extras["kind"] == "exact"
    assert program.value == pytest.approx(regions.value, rel=1e-9, abs=1e-12)
    assert program.interval is not None
    assert regions.value <= program.interval.high * (1 + 1e-12)


@pytest.mark.parametrize("radius", [None, 0.1])
def test_the_witness_attains_the_value(radius):
    evidence = on_region(relu_network((2, 6, 5, 2)), 2, "linf", radius=radius, points=3)
    program = Milp().compute(evidence, CTX)
    witness = torch.tensor([program.extras["witness"]], dtype=torch.float64)
    assert float(operator_norm(jacobians(evidence.probe, witness), "linf")) == pytest.approx(program.value, rel=1e-12)
    assert witness.abs().max() <= 1
    if radius is not None:
        assert (witness - evidence.points.double()).abs().amax(1).min() <= radius * (1 + 1e-12)


def test_an_unfinished_search_for_a_real_piece_is_an_upper_bound():
    network = relu_layers(([[1], [-1]], [0, -1e-8]), ([[1, -1]], [0]))
    value = Milp(rounds=1).compute(on_region(network, 1, "linf"), CTX)
    assert (value.extras["kind"], value.extras["certified"]) == ("upper", False)
    assert value.unranked is not None
    assert "kink" in value.unranked
    assert value.interval is not None
    assert value.interval.low == 1.0
    assert value.value == pytest.approx(2.0, rel=1e-5)


def test_kinks_that_rounding_blurs_leave_no_exact_value():
    network = relu_layers(([[1], [1]], [-1e12, -1e12 - 0.5]), ([[1, -3]], [0]))
    value = Milp().compute(on_region(network, 1, "linf", low=1e12 - 1, high=1e12 + 1), CTX)
    assert value.extras["kind"] == "upper"
    assert value.value >= 2.0
