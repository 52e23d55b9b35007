# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from exact_networks import CTX, PLANAR, matrix_network, on_region, relu_network, seeded_mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_lipschitz.estimators.milp import Milp
from lipbench_lipschitz.estimators.regions import Regions
from lipbench_lipschitz.spectral import jacobians, operator_norm
from lipbench_relu_geometry.engine.enumerate import complexes
from lipbench_relu_geometry.engine.network import net_of
from lipbench_relu_geometry.engine.plane import decompose
from torch import nn

from lipbench.api import NotApplicable

BOX = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


@pytest.mark.parametrize("sizes", PLANAR)
def test_exact_constants_and_counts_of_the_planar_networks(sizes):
    box, wide, count, wide_count, _ = PLANAR[sizes]
    evidence = on_region(relu_network(sizes), 2)
    value = Regions().compute(evidence, CTX)
    assert value.value == pytest.approx(box, abs=6e-7)
    assert value.extras["regions"] == count
    assert value.extras["kind"] == "exact"
    assert value.extras["region"] == "box"
    far = Regions(box_radius=1000).compute(evidence, CTX)
    assert far.value == pytest.approx(wide, abs=6e-7)
    assert far.extras["regions"] == wide_count
    assert far.extras["region"] == "box(1000)"


@pytest.mark.parametrize(("neurons", "count"), [(3, 7), (5, 16), (8, 37), (16, 137)])
def test_generic_lines_cut_the_plane_into_the_known_number_of_regions(neurons, count):
    value = Regions(box_radius=1e4, heat_map=False).compute(on_region(relu_network((2, neurons, 1), seed=5), 2), CTX)
    assert value.extras["regions"] == count == 1 + neurons + math.comb(neurons, 2)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), norm=st.sampled_from(["l2", "l1", "linf"]))
def test_no_sample_is_above_and_the_winner_reaches_the_value(seed, norm):
    evidence = on_region(relu_network((2, 6, 5, 2), seed=seed), 2, norm, points=500)
    value = Regions().compute(evidence, CTX)
    assert float(operator_norm(jacobians(evidence.probe, evidence.points), norm).max()) <= value.value * (1 + 1e-12)
    winner = torch.tensor([value.extras["winner"]], dtype=torch.float64)
    assert float(operator_norm(jacobians(evidence.probe, winner), norm)) == pytest.approx(value.value, rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_pieces_of_bent_units_tile_the_box_and_have_their_bits(seed):
    rng = np.random.default_rng(seed)
    sizes = [(7, 2), (7, 7), (1, 7)]
    net = net_of([(rng.normal(size=s), 0.3 * rng.normal(size=s[0])) for s in sizes], below=[0.0, -0.7])
    plane = decompose([net], BOX, limit=10_000)
    assert plane.areas().sum() == pytest.approx(4.0, rel=1e-9)
    assert (plane.areas() > 0).all()
    (cells,) = complexes(plane)
    assert cells.faults(net) == []
    np.testing.assert_allclose(net.jacobian(cells.bits()), plane.slope, atol=1e-11)


def test_one_input_is_cut_into_intervals():
    network = nn.Sequential(nn.Linear(1, 2, dtype=torch.float64), nn.ReLU(), nn.Linear(2, 1, dtype=torch.float64))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0], [1.0]]))
        network[0].bias.copy_(torch.tensor([0.0, -0.5]))
        network[2].weight.copy_(torch.tensor([[1.0, -4.0]]))
    value = Regions().compute(on_region(network, 1), CTX)
    assert value.value == pytest.approx(3.0)
    assert value.extras["regions"] == 3
    assert 0.5 < value.extras["winner"][0] < 1
    assert value.extras["winner_share"] == pytest.approx(0.25)


def test_a_linear_network_is_one_region_in_every_norm():
    weight = torch.tensor([[1.0, -2.0], [3.0, 0.5], [0.0, 1.0]])
    for norm, expected in (("l2", float(torch.linalg.matrix_norm(weight.double(), 2))), ("l1", 4.0), ("linf", 3.5)):
        value = Regions().compute(on_region(matrix_network(weight), 2, norm), CTX)
        assert value.value == pytest.approx(expected, rel=1e-12)
        assert value.extras["regions"] == 1


def test_leaky_slopes_and_a_final_activation_are_followed():
    network = nn.Sequential(seeded_mlp((2, 6, 2), nn.LeakyReLU(0.3)), nn.ReLU())
    evidence = on_region(network, 2, points=3000)
    value = Regions().compute(evidence, CTX)
    assert float(operator_norm(jacobians(evidence.probe, evidence.points), "l2").max()) <= value.value * (1 + 1e-12)
    winner = torch.tensor([value.extras["winner"]], dtype=torch.float64)
    assert float(operator_norm(jacobians(evidence.probe, winner), "l2")) == pytest.approx(value.value, rel=1e-9)


def test_balls_are_polygons_in_l1_and_linf():
    network = relu_network((2, 16, 2))
    whole = Regions().compute(on_region(network, 2, "linf"), CTX)
    small = Regions().compute(on_region(network, 2, "linf", radius=0.05), CTX)
    covering = Regions().compute(on_region(network, 2, "linf", radius=2.0), CTX)
    assert small.value <= whole.value
    assert small.extras["scope"] == "ball"
    assert covering.value == pytest.approx(whole.value, rel=1e-12)
    diamond = Regions().compute(on_region(network, 2, "l1", radius=3.9, points=torch.zeros(1, 2)), CTX)
    assert diamond.value == pytest.approx(Regions().compute(on_region(network, 2, "l1"), CTX).value, rel=1e-12)
    with pytest.raises(NotApplicable, match="l2 balls"):
        Regions().compute(on_region(network, 2, radius=0.1), CTX)


def test_the_heat_map_holds_the_polygons_of_the_box_and_is_small():
    value = Regions().compute(on_region(relu_network((2, 8, 2)), 2), CTX)
    polygons, norms = value.extras["polygons"], value.extras["norms"]
    assert len(polygons) == len(norms) == 23
    assert max(norms) == pytest.approx(value.value, rel=1e-4)
    assert max(abs(c) for p in polygons for c in p) == 1.0
    json.dumps(dict(value.extras))
    assert "polygons" not in Regions(heat_map=False).compute(on_region(relu_network((2, 8, 2)), 2), CTX).extras


def test_lines_through_one_corner_do_not_make_slivers():
    angles = np.linspace(0.1, 3.0, 9)
    net = net_of([(np.stack([np.cos(angles), np.sin(angles)], 1), np.zeros(9)), (np.ones((1, 9)), np.zeros(1))])
    plane = decompose([net], BOX + 1e-17, limit=1000)
    assert len(plane) == 18
    assert plane.areas().min() > 1e-3


@pytest.mark.parametrize("norm", ["l2", "l1", "linf"])
@pytest.mark.parametrize(
    ("activation", "sizes"), [(nn.ReLU(), (3, 6, 5, 2)), (nn.LeakyReLU(0.3), (4, 6, 4, 3)), (nn.ReLU(), (6, 7, 2))]
)
def test_more_inputs_are_enumerated_too(activation, sizes, norm):
    evidence = on_region(seeded_mlp(sizes, activation, seed=3), sizes[0], norm, points=4000)
    value = Regions().compute(evidence, CTX)
    assert (value.extras["kind"], value.extras["nongeneric"]) == ("exact", 0)
    sampled = float(operator_norm(jacobians(evidence.probe, evidence.points), norm).max())
    assert 0.5 * value.value < sampled <= value.value * (1 + 1e-12)
    winner = torch.tensor([value.extras["winner"]], dtype=torch.float64)
    assert float(operator_norm(jacobians(evidence.probe, winner), norm)) == pytest.approx(value.value, rel=1e-9)


@pytest.mark.parametrize("radius", [None, 0.3])
def test_three_inputs_agree_with_the_mixed_integer_program(radius):
    evidence = on_region(relu_network((3, 5, 4, 1), seed=2), 3, "linf", radius=radius, points=3)
    assert Regions().compute(evidence, CTX).value == pytest.approx(Milp().compute(evidence, CTX).value, rel=1e-7)


def test_equal_units_of_three_inputs_are_counted_once():
    network = nn.Sequential(nn.Linear(3, 4, dtype=torch.float64), nn.ReLU(), nn.Linear(4, 1, dtype=torch.float64))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 0]]))
        network[0].bias.zero_()
        network[2].weight.copy_(torch.tensor([[2.0, -1.5, 1, 1]]))
    value = Regions().compute(on_region(network, 3), CTX)
    assert value.extras["regions"] == 4
    assert value.extras["nongeneric"] > 0
    assert value.value == pytest.approx(2**0.5, rel=1e-12)


@pytest.mark.parametrize("norm", ["l2", "l1", "linf"])
def test_the_interval_holds_the_constant_in_exact_arithmetic(norm):
    rng = np.random.default_rng(0)
    w = [rng.normal(size=s) for s in ((9, 2), (9, 9), (9, 9), (3, 9))]
    net = nn.Sequential(*(m for x in w for m in (matrix_network(torch.from_numpy(x)), nn.Identity())))
    value = Regions().compute(on_region(net, 2, norm), CTX)
    exact = rational_product(w)
    size = {"l1": lambda J: max(map(sum, zip(*J, strict=True))), "linf": lambda J: max(map(sum, J))}
    assert value.interval is not None
    assert value.interval.low < value.value < value.interval.high < value.value * (1 + 1e-10)
    if norm != "l2":
        top = size[norm]([[abs(x) for x in row] for row in exact])
        assert value.interval.low <= top <= value.interval.high


def rational_product(w):
    """The product of matrices in rational arithmetic."""
    rows = [[Fraction(x) for x in row] for row in w[0].tolist()]
    for matrix in w[1:]:
        rows = [
            [sum(Fraction(a) * b for a, b in zip(row, column, strict=True)) for column in zip(*rows, strict=True)]
            for row in matrix.tolist()
        ]
    return rows


def test_what_regions_cannot_read_is_said():
    with pytest.raises(NotApplicable, match="up to 6 inputs"):
        Regions().compute(on_region(relu_network((7, 4, 1)), 7), CTX)
    with pytest.raises(NotApplicable, match="l1 balls of 3 inputs"):
        Regions().compute(on_region(relu_network((3, 4, 1)), 3, "l1", radius=0.1), CTX)
    with pytest.raises(NotApplicable, match="tanh"):
        Regions().compute(on_region(seeded_mlp((2, 4, 1), nn.Tanh()), 2), CTX)
    with pytest.raises(NotApplicable, match="more than 20 cells"):
        Regions(limit=20).compute(on_region(relu_network((2, 16, 2)), 2), CTX)
