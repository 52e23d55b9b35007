# SPDX-License-Identifier: Apache-2.0
"""Networks in no general position, where the published traversal counts too few cells in silence."""

from __future__ import annotations

import numpy as np
import pytest
from lipbench_relu_geometry.engine.enumerate import enumerate_cells
from lipbench_relu_geometry.engine.network import net_of
from lipbench_relu_geometry.engine.traversal import published, traverse
from lipbench_relu_geometry.engine.vertices import NotGeneric
from relu_nets import brute_force, duplicated, hexagon, keys, normal_net, tent, without_biases

from lipbench.api import InvalidInput

START = np.array([0.013, 0.027])


@pytest.mark.parametrize("factor", [2.0, 1.0, -3.0])
def test_units_on_one_hyperplane(factor: float) -> None:
    net = duplicated(factor)
    truth = brute_force(net)
    assert len(truth) == 11
    for engine in ("polygons", "traversal"):
        found = enumerate_cells(net, engine=engine)  # type: ignore[arg-type]
        assert keys(found.bits()) == truth
        assert found.nongeneric > 0
    with pytest.raises(NotGeneric):
        enumerate_cells(net, engine="vertices")
    starts = np.random.default_rng(0).standard_normal((12, 2))
    assert {len(published(net, s)) for s in starts} == {5, 6}


def test_hyperplanes_that_are_nearly_one() -> None:
    net = duplicated(2.0, 1e-9)
    assert len(enumerate_cells(net)) == 15
    assert len(published(net, START)) < 11
    assert len(published(net, START, tolerance=1e-10)) == 15


def test_networks_without_biases() -> None:
    net = without_biases()
    truth = brute_force(net)
    assert len(truth) == 6
    for engine in ("polygons", "traversal"):
        found = enumerate_cells(net, engine=engine)  # type: ignore[arg-type]
        assert keys(found.bits()) == truth
        assert found.nongeneric > 0
        assert found.faults(net) == []
    assert {len(published(net, s)) for s in np.random.default_rng(0).standard_normal((8, 2))} <= {4, 5}
    one_layer = net_of([(np.random.default_rng(0).standard_normal((4, 2)), np.zeros(4)), (np.ones((1, 4)), np.zeros(1))])
    assert len(enumerate_cells(one_layer)) == 8


def test_degenerate_units_in_three_dimensions_are_counted_by_the_traversal() -> None:
    net = normal_net((3, 4, 3, 1), 0)
    w, b = net.weights[0].copy(), net.biases[0].copy()
    w[3], b[3] = -2 * w[2], -2 * b[2]
    twin = net_of([(w, b), (net.weights[1], net.biases[1]), (net.weights[2], net.biases[2])])
    found = enumerate_cells(twin)
    assert found.engine == "traversal"
    assert keys(found.bits()) == brute_force(twin)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_the_tent_map_has_all_its_pieces(depth: int) -> None:
    found = enumerate_cells(tent(depth), 0, 1)
    assert len(found) == 2**depth
    assert set(np.abs(tent(depth).jacobian(found.bits()))[:, 0, 0]) == {2.0**depth}


def test_the_published_traversal_finds_half_of_a_tent_map() -> None:
    assert [len(published(tent(3), np.array([s]))) for s in (0.01, 0.2, 0.4, 0.7)] == [4] * 4


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_folding_makes_four_times_as_many_cells_a_layer(depth: int) -> None:
    # Each layer maps x to |x| - c in both coordinates, by two units that share a line for each.
    fold = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    absolute = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    layers = [(fold, np.zeros(4))]
    layers += [(fold @ absolute, fold @ np.full(2, -(0.5**k))) for k in range(1, depth)]
    net = net_of([*layers, (np.ones((1, 4)), np.zeros(1))])
    assert len(enumerate_cells(net)) == 4**depth
    assert len(enumerate_cells(net, engine="traversal")) == 4**depth


@pytest.mark.parametrize(("m", "count"), [(2, 6), (3, 14)])
def test_a_unit_that_is_zero_everywhere_is_off_whatever_rounding_says(m: int, count: int) -> None:
    # |sum of x| less a sum that is the same in exact arithmetic: 0, computed as up to 1e-16.
    first = np.concatenate([np.ones((1, m)), -np.ones((1, m)), np.eye(m), -np.eye(m)])
    second = np.concatenate([[1.0, -1.0], -np.ones(m), np.ones(m)])[None]
    scaled = np.linspace(0.3, 1.7, len(first))
    layers = [(scaled[:, None] * first, np.zeros(len(first))), (second / scaled, np.zeros(1)), (np.ones((1, 1)), np.zeros(1))]
    net = net_of(layers)
    zeroed = net_of([layers[0], (0 * second, np.zeros(1)), layers[2]])
    for engine in ("auto", "traversal"):
        found = enumerate_cells(net, engine=engine)  # type: ignore[arg-type]
        assert len(found) == count
        assert keys(found.bits()) == keys(enumerate_cells(zeroed, engine="traversal").bits())
        assert found.faults(net) == []
    assert not net.steady_bits(np.random.default_rng(0).standard_normal((50, m)))[0][:, -1].any()


def test_a_start_on_a_boundary_is_refused() -> None:
    for visit in (traverse, published):
        with pytest.raises(InvalidInput, match="lies on the boundary"):
            visit(hexagon(), np.zeros(2))
    assert len(traverse(hexagon(), START).bits) == 6


def test_parallel_lines_and_units_that_never_switch() -> None:
    w = np.array([[1.0, 2.0]] * 4 + [[0.0, 0.0]])
    net = net_of([(w, np.array([0.0, 1.0, 2.0, -1.0, 0.0])), (np.ones((1, 5)), np.zeros(1))])
    found = enumerate_cells(net)
    assert (len(found), int(found.bounded.sum())) == (5, 0)  # type: ignore[union-attr]
    assert int(found.facets().sum()) == 8
    constant = net_of([(np.zeros((2, 2)), np.array([1.0, -1.0])), (np.ones((1, 2)), np.zeros(1))])
    assert enumerate_cells(constant).bits().tolist() == [[1, 0]]


def test_fewer_units_than_inputs_make_cells_without_vertices() -> None:
    net = normal_net((5, 3, 4, 1), 0)
    found = enumerate_cells(net)
    assert found.faults(net) == []
    assert not found.bounded.any()  # type: ignore[union-attr]
    assert keys(found.bits()) == keys(enumerate_cells(net, engine="traversal").bits())
