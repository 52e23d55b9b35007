# SPDX-License-Identifier: Apache-2.0
"""Facets, balls and distances of the cell around a point, in many dimensions."""

from __future__ import annotations

import numpy as np
import pytest
from lipbench_relu_geometry.engine.balls import chebyshev, facet_distance, nearest_centre
from lipbench_relu_geometry.engine.boundary import boundary_distance
from lipbench_relu_geometry.engine.enumerate import enumerate_cells
from lipbench_relu_geometry.engine.facets import active_bits
from lipbench_relu_geometry.engine.network import ReluNet, net_of
from lipbench_relu_geometry.engine.projection import nearest_point
from lipbench_relu_geometry.engine.segments import crossings
from relu_nets import duplicated, normal_net
from scipy.optimize import linprog, nnls

from lipbench.api import InvalidInput, NotApplicable


def _one_program_a_row(net: ReluNet, x: np.ndarray) -> np.ndarray:
    """Redundancy by definition: the largest value of a row under all others, relaxed by 1 itself."""
    cell = net.cells(net.bits(x[None]))
    size = np.linalg.norm(cell.rows[0], axis=1)
    found = np.zeros(net.units, dtype=bool)
    live = np.flatnonzero(size > 1e-12)
    a, c = cell.rows[0][live] / size[live, None], cell.bounds[0][live] / size[live]
    for k, i in enumerate(live):
        relaxed = c.copy()
        relaxed[k] += 1
        solved = linprog(-a[k], A_ub=a, b_ub=relaxed, bounds=[(None, None)] * net.inputs, method="highs")
        found[i] = -solved.fun > c[k] + 1e-7
    return found


@pytest.mark.parametrize("sizes", [(3, 5, 5, 1), (9, 6, 6, 1), (4, 12, 12, 2), (20, 12, 12, 12, 3), (2, 1, 3, 1)])
def test_active_bits_are_those_of_one_program_a_row(sizes: tuple[int, ...]) -> None:
    net, r = normal_net(sizes, 1), np.random.default_rng(0)
    for x in r.standard_normal((3, sizes[0])):
        found = active_bits(net, x, r)
        assert (found.active == _one_program_a_row(net, x)).all()
        assert found.rank == min(sizes[0], sizes[1])


def test_where_the_first_layer_has_full_rank_its_units_that_are_off_are_active() -> None:
    net, r = normal_net((30, 12, 12, 1), 2), np.random.default_rng(0)
    for x in r.standard_normal((5, 30)):
        off = net.bits(x[None])[0, :12] == 0
        assert active_bits(net, x, r).active[:12][off].all()


def test_active_bits_agree_with_the_enumeration() -> None:
    net, r = normal_net((3, 6, 6, 1), 5), np.random.default_rng(0)
    found = enumerate_cells(net)
    facets = dict(zip([b.tobytes() for b in found.packed], found.facets().astype(bool), strict=True))
    for x in r.standard_normal((20, 3)):
        key = np.packbits(net.bits(x[None]), axis=1).tobytes()
        assert (active_bits(net, x, r).active == facets[key]).all()


def test_units_on_one_hyperplane_are_active_together() -> None:
    net = duplicated()
    for x in np.random.default_rng(0).standard_normal((10, 2)):
        active = active_bits(net, x, np.random.default_rng(0)).active
        assert active[3] == active[4]


def test_largest_balls_of_known_polyhedra() -> None:
    for m in (1, 2, 3, 10, 50):
        sides = np.concatenate([np.eye(m), -np.eye(m)])
        assert chebyshev(sides, np.concatenate([np.ones(m), np.zeros(m)])).radius == pytest.approx(0.5, abs=1e-12)
        simplex = np.concatenate([-np.eye(m), np.ones((1, m))])
        ball = chebyshev(simplex, np.append(np.zeros(m), 1.0))
        assert ball.radius == pytest.approx(1 / (m + np.sqrt(m)), abs=1e-12)
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 4), -1).reshape(-1, 4)
    assert chebyshev(corners, np.ones(16)).radius == pytest.approx(0.5, abs=1e-12)


def test_a_box_limits_the_ball_and_without_one_there_may_be_none() -> None:
    quarter, bounds = -np.eye(2), np.zeros(2)
    ball = chebyshev(quarter, bounds, -1.0, 3.0)
    assert (ball.radius, ball.limited) == (pytest.approx(1.5), True)
    with pytest.raises(NotApplicable):
        chebyshev(quarter, bounds)
    with pytest.raises(InvalidInput, match="no point"):
        chebyshev(np.array([[1.0], [-1.0]]), np.array([0.0, -1.0]))


def test_the_ball_is_at_least_the_distance_from_the_nearest_facet() -> None:
    net = normal_net((5, 8, 8, 1), 0)
    x = np.random.default_rng(0).standard_normal((20, 5))
    cell, distance = net.cells(net.bits(x)), facet_distance(net, x)
    for i in range(20):
        assert chebyshev(cell.rows[i], cell.bounds[i], -10, 10).radius >= distance[i] - 1e-9
    ways = np.random.default_rng(1).standard_normal((20, 5))
    ways *= (0.999 * distance / np.linalg.norm(ways, axis=1))[:, None]
    assert (net.bits(x + ways) == net.bits(x)).all()


def test_the_nearest_point_of_a_polyhedron_obeys_the_law_of_projections() -> None:
    r = np.random.default_rng(0)
    for m, k in ((2, 5), (6, 20), (30, 80)):
        rows = r.standard_normal((k, m))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        bounds, x = rows @ r.standard_normal(m) + r.uniform(0, 1, k), 5 * r.standard_normal(m)
        found = nearest_point(rows, bounds, x)
        assert found is not None
        slack = bounds - rows @ found
        assert slack.min() >= -1e-9
        # x - found is made of the rows that are tight there, each with a weight not below 0.
        tight = slack <= 1e-8
        assert nnls(rows[tight].T, x - found)[1] == pytest.approx(0, abs=1e-8)
    assert nearest_point(np.array([[1.0], [-1.0]]), np.array([0.0, -1.0]), np.array([3.0])) is None
    np.testing.assert_array_equal(nearest_point(np.eye(2), np.ones(2), np.zeros(2)), np.zeros(2))  # type: ignore[arg-type]


def test_a_search_for_the_nearest_point_that_does_not_end_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*args: object, **kwargs: object) -> None:
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr("lipbench_relu_geometry.engine.projection.nnls", endless)
    with pytest.raises(NotApplicable, match="least squares found no nearest point"):
        nearest_point(np.eye(2), -np.ones(2), np.zeros(2))


def test_of_many_largest_balls_the_nearest_is_taken() -> None:
    # A strip of width 2 in a box: all centres with first coordinate 1 are largest.
    strip, bounds = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]), np.array([2.0, 0.0])
    ball = chebyshev(strip, bounds, -5, 5)
    assert (ball.radius, ball.limited) == (pytest.approx(1), False)
    for x, centre in (((0, 0, 0), (1, 0, 0)), ((7, 2, -9), (1, 2, -4))):
        np.testing.assert_allclose(
            nearest_centre(strip, bounds, ball.radius, np.array(x, dtype=float), -5, 5), centre, atol=1e-5
        )
    with pytest.raises(InvalidInput, match="no ball of radius 2"):
        nearest_centre(strip, bounds, 2.0, np.zeros(3), -5, 5)


def test_the_nearest_centre_does_not_depend_on_the_order_of_the_units_and_holds_the_ball() -> None:
    net, r = normal_net((20, 6, 6, 1), 3), np.random.default_rng(0)
    for x in r.uniform(-1, 1, (5, 20)):
        cell = net.cells(net.bits(x[None]))
        rows, bounds = cell.rows[0], cell.bounds[0]
        ball = chebyshev(rows, bounds, -1, 1)
        centre = nearest_centre(rows, bounds, ball.radius, x, -1, 1)
        assert facet_distance(net, centre[None])[0] >= ball.radius * (1 - 1e-5)
        assert np.abs(centre).max() <= 1 - ball.radius * (1 - 1e-5)
        assert np.linalg.norm(centre - x) <= np.linalg.norm(ball.centre - x) + 1e-9
        order = r.permutation(12)
        np.testing.assert_allclose(nearest_centre(rows[order], bounds[order], ball.radius, x, -1, 1), centre, atol=1e-7)


def _rescaled(net: ReluNet, r: np.random.Generator) -> tuple[ReluNet, np.ndarray]:
    """The same function with hidden units in another order and their weights multiplied; and the order of all units."""
    layers, orders, first = list(zip(net.weights, net.biases, strict=True)), [], 0
    for k, width in enumerate(net.widths):
        order, size = r.permutation(width), r.uniform(0.1, 10, width)
        (w, b), (after, c) = layers[k], layers[k + 1]
        layers[k], layers[k + 1] = (size[:, None] * w[order], size * b[order]), (after[:, order] / size, c)
        orders.append(first + order)
        first += width
    return net_of(layers), np.concatenate(orders)


def test_permuted_and_rescaled_units_keep_distances_radii_facets_and_crossings() -> None:
    r = np.random.default_rng(0)
    net = normal_net((6, 8, 8, 8, 3), 4)
    other, order = _rescaled(net, r)
    x, y = r.uniform(-1, 1, (2, 25, 6))
    bits, theirs = net.bits(x), other.bits(x)
    assert (theirs == bits[:, order]).all()
    np.testing.assert_array_equal((bits[:, None] != bits[None]).sum(2), (theirs[:, None] != theirs[None]).sum(2))
    np.testing.assert_allclose(facet_distance(other, x), facet_distance(net, x), rtol=1e-9)
    np.testing.assert_array_equal(crossings(other, x, y).counts(), crossings(net, x, y).counts())
    mine, again = net.cells(bits), other.cells(theirs)
    for i in range(6):
        radii = [chebyshev(c.rows[i], c.bounds[i], -1, 1).radius for c in (mine, again)]
        assert radii[0] == pytest.approx(radii[1], abs=1e-9)
        assert (active_bits(other, x[i], r).active == active_bits(net, x[i], r).active[order]).all()
    for a, b in zip(vars(boundary_distance(net, x)).values(), vars(boundary_distance(other, x)).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_decision_boundary_within_a_cell_is_where_the_polygons_have_it(outputs: int) -> None:
    net, r = normal_net((2, 7, 7, outputs), 2), np.random.default_rng(0)
    x = r.uniform(-1, 1, (60, 2))
    found = boundary_distance(net, x)
    assert (found.certified <= found.linear).all()
    assert (found.linear <= found.inside + 1e-12).all()
    assert np.isfinite(found.inside).any()
    assert np.isinf(found.inside).any()
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])

    def kind(points: np.ndarray) -> np.ndarray:
        value = net(points)
        return value[:, 0] > 0 if outputs == 1 else value.argmax(axis=1)

    for i in range(60):
        own = kind(x[i : i + 1])[0]
        # No class changes within the certified radius, and none within the cell below the distance inside it.
        assert (kind(x[i] + 0.999 * found.certified[i] * ring) == own).all()
        for share in (0.3, 0.7, 0.999):
            around = x[i] + share * min(float(found.inside[i]), 3.0) * ring
            home = (net.bits(around) == net.bits(x[i : i + 1])).all(axis=1)
            assert (kind(around)[home] == own).all()
        if np.isfinite(found.inside[i]):
            around = x[i] + (found.inside[i] + 1e-3) * ring
            assert (kind(around) != own).any() or found.inside[i] < 1e-3
