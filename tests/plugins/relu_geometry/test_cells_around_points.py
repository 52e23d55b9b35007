# SPDX-License-Identifier: Apache-2.0
"""Facets, balls and distances of the cell around a point, in many dimensions."""

from __future__ import annotations

import numpy as np
import pytest
from lipbench_relu_geometry.engine.balls import chebyshev, facet_distance
from lipbench_relu_geometry.engine.enumerate import enumerate_cells
from lipbench_relu_geometry.engine.facets import active_bits
from lipbench_relu_geometry.engine.network import ReluNet
from relu_nets import duplicated, normal_net
from scipy.optimize import linprog

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
