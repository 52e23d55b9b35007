# SPDX-License-Identifier: Apache-2.0
"""All cells by each engine against closed forms, brute force and each other."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_relu_geometry.engine import enumerate as enumerate_module
from lipbench_relu_geometry.engine.enumerate import CellComplex, Engine, enumerate_cells
from lipbench_relu_geometry.engine.network import net_of
from lipbench_relu_geometry.engine.plane import box, decompose
from lipbench_relu_geometry.engine.vertices import walk
from relu_nets import brute_force, hexagon, keys, normal_net, torch_net

from lipbench.api import InvalidInput, NotApplicable

# (m, n) -> cells, bounded cells, sum of facets over the cells of n generic hyperplanes.
ARRANGEMENTS = [(1, 5, 6, 4, 10), (2, 3, 7, 1, 18), (2, 8, 37, 21, 128), (2, 10, 56, 36, 200), (3, 6, 42, 10, 192), (3, 8, 93, 35, 464), (4, 7, 99, 15, 588)]  # fmt: skip
DEEP = [((2, 4, 4, 1), 0, 28), ((2, 4, 4, 1), 1, 27), ((2, 3, 3, 3, 1), 2, 27), ((3, 4, 4, 1), 3, 68), ((3, 4, 3, 3, 1), 4, 56), ((1, 4, 4, 3, 1), 5, 10), ((4, 5, 5, 1), 6, 232), ((3, 5, 5, 1), 7, 130), ((2, 5, 5, 1), 8, 46), ((4, 4, 4, 4, 1), 9, 112)]  # fmt: skip
SQUARE = [((2, 10, 10, 1), 0, 59, 115), ((2, 5, 5, 5, 1), 1, 12, 55), ((2, 20, 1), 2, 74, 121), ((2, 10, 10, 10, 1), 3, 78, 201), ((2, 25, 25, 25, 1), 4, 696, 1560)]  # fmt: skip


def _engines(m: int) -> list[Engine]:
    return ["polygons", "vertices"] if m == 2 else ["vertices"]


@pytest.mark.parametrize(("m", "n", "cells", "bounded", "facets"), ARRANGEMENTS)
def test_generic_hyperplanes_have_the_known_cells_and_facets(m: int, n: int, cells: int, bounded: int, facets: int) -> None:
    assert cells == sum(comb(n, j) for j in range(m + 1))
    assert bounded == comb(n - 1, m)
    assert facets == 2 * n * sum(comb(n - 1, j) for j in range(m))
    net = normal_net((m, n, 1), 0)
    for engine in _engines(m):
        found = enumerate_cells(net, engine=engine)
        assert (len(found), int(found.bounded.sum()), int(found.facets().sum())) == (cells, bounded, facets)  # type: ignore[union-attr]
        assert found.faults(net) == []


@pytest.mark.parametrize(("sizes", "seed", "count"), DEEP)
def test_the_set_of_cells_is_that_of_brute_force(sizes: tuple[int, ...], seed: int, count: int) -> None:
    net = normal_net(sizes, seed)
    truth = brute_force(net)
    for engine in (*_engines(sizes[0]), *(("traversal",) if sizes[0] < 4 else ())):
        found = enumerate_cells(net, engine=engine)  # type: ignore[arg-type]
        assert len(found) == count
        assert keys(found.bits()) == truth
        assert found.faults(net) == []


@pytest.mark.parametrize(("sizes", "seed", "by_torch", "by_normal"), SQUARE)
def test_windows_are_filled_by_the_known_number_of_cells(
    sizes: tuple[int, ...], seed: int, by_torch: int, by_normal: int
) -> None:
    for net, count in ((torch_net(sizes, seed), by_torch), (normal_net(sizes, seed), by_normal)):
        found = decompose([net], box([-1, -1], [1, 1]))
        assert len(found) == count
        assert found.areas().sum() == pytest.approx(4, abs=1e-12)
        grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 60)] * 2), -1).reshape(-1, 2)
        assert keys(net.bits(grid)) <= keys(found.bits())
        by_vertices = enumerate_cells(net, -1, 1, engine="vertices")
        assert keys(by_vertices.bits()) == keys(found.bits())


@pytest.mark.parametrize(
    ("sizes", "seed", "count"), [((2, 10, 10, 1), 0, 203), ((3, 6, 6, 1), 1, 230), ((2, 25, 25, 25, 1), 4, 2940)]
)
def test_the_whole_space_has_the_seeded_counts(sizes: tuple[int, ...], seed: int, count: int) -> None:
    net = torch_net(sizes, seed)
    for engine in _engines(sizes[0]):
        assert len(enumerate_cells(net, engine=engine)) == count


@pytest.mark.parametrize(("sizes", "seed", "count"), [((2, 10, 10, 1), 0, 203), ((2, 25, 25, 25, 1), 4, 2940)])
def test_neither_a_shift_nor_the_unit_of_the_inputs_changes_the_count(sizes: tuple[int, ...], seed: int, count: int) -> None:
    net = torch_net(sizes, seed)
    far = [net.on_plane(np.array([s, -s / 2]), np.eye(2)) for s in (3e4, 1e5, 1e6)]
    for moved in (*far, net.in_units(1e-8), net.in_units(1e8)):
        found = enumerate_cells(moved, engine="polygons")
        assert (len(found), found.nongeneric) == (count, 0)
    apart = decompose([far[0], net])
    assert apart.counts(2).tolist() == [count, count]


def test_vertices_are_asked_where_polygons_leave_facets_without_a_partner(monkeypatch: pytest.MonkeyPatch) -> None:
    net, by_polygons = normal_net((2, 6, 6, 1), 4), enumerate_module._by_polygons

    def without_one(*args: object) -> CellComplex:
        found = by_polygons(*args)  # type: ignore[arg-type]
        return replace(found, packed=found.packed[1:], active=found.active[1:], nongeneric=3)

    monkeypatch.setattr(enumerate_module, "_by_polygons", without_one)
    assert (len(enumerate_cells(net)), enumerate_cells(net).engine) == (62, "vertices")
    assert len(enumerate_cells(net, engine="polygons")) == 61
    assert enumerate_cells(hexagon()).engine == "polygons"  # in no general position: vertices refuse it


def test_networks_without_a_hidden_layer_are_one_cell() -> None:
    for m in (2, 3):
        net = net_of([(np.ones((2, m)), np.zeros(2))])
        for ends in ((), (-1.0, 1.0)):
            found = enumerate_cells(net, *ends)
            assert (len(found), found.bits().shape, found.faults(net)) == (1, (1, 0), [])


@pytest.mark.parametrize(("sizes", "most"), [((2, 10, 10, 1), 56**2), ((3, 5, 4, 1), 26 * 15), ((2, 1, 6, 1), 2 * 7)])
def test_counts_lie_between_those_of_the_first_layer_and_of_all_as_if_alone(sizes: tuple[int, ...], most: int) -> None:
    for seed in range(5):
        net = normal_net(sizes, seed)
        found, first = enumerate_cells(net), enumerate_cells(net_of([*zip(net.weights[:1], net.biases[:1], strict=True), (np.ones((1, sizes[1])), np.zeros(1))]))  # fmt: skip
        assert len(first) <= len(found) <= most
        facets = found.facets().sum(axis=1)
        assert (facets[found.bounded] >= sizes[0] + 1).all()


def test_a_wider_window_has_more_of_the_cells() -> None:
    net = torch_net((2, 10, 10, 1), 0)
    assert [len(decompose([net], box([-r, -r], [r, r]))) for r in (1, 10, 100, 1e3, 1e6)] == [59, 183, 201, 203, 203]


def test_a_cell_that_has_no_vertex_in_the_window_is_counted() -> None:
    net = normal_net((2, 10, 10, 1), 0)
    assert len(decompose([net], box([-0.25, -0.25], [0.25, 0.25]))) == 20


def test_each_polygon_carries_the_map_of_the_network() -> None:
    nets = [normal_net((2, 6, 6, 3), s) for s in range(4)]
    found = decompose(nets, box([-2, -1], [1, 3]))
    assert (found.rings.centres()[:, 2] > 0).all()
    inner = np.stack([p.mean(0) for p in found.polygons()])
    for r, net in enumerate(nets):
        mine = found.net == r
        value = (found.slope[mine] @ inner[mine][:, :, None])[:, :, 0] + found.offset[mine]
        np.testing.assert_allclose(value, net(inner[mine]), atol=1e-12)
        assert (net.bits(inner[mine]) == found.bits()[mine]).all()
        assert found.areas()[mine].sum() == pytest.approx(12, abs=1e-11)
        assert keys(found.bits()[mine]) == keys(decompose([net], box([-2, -1], [1, 3])).bits())


def test_euler_counts_vertices_edges_and_cells() -> None:
    found = enumerate_cells(normal_net((2, 6, 6, 1), 4))
    edges, lone = found.neighbours()
    assert (len(found), len(edges), lone) == (62, 111, 0)
    assert int(found.facets().sum()) == 2 * 111
    vertices = walk(normal_net((2, 6, 6, 1), 4)).vertices
    assert (vertices, vertices - len(edges) + len(found)) == (50, 1)


def _excess(found: CellComplex) -> dict[int, int]:
    bits = found.bits()
    apart = found.distances(np.arange(len(found))) - (bits[:, None] != bits[None]).sum(2)
    values, counts = np.unique(apart[np.triu_indices(len(found), 1)], return_counts=True)
    return dict(zip(values.astype(int).tolist(), counts.tolist(), strict=True))


def test_the_dual_graph_is_longer_than_the_hamming_distance_by_even_numbers() -> None:
    found = enumerate_cells(normal_net((2, 8, 8, 1), 3))
    assert (len(found), len(found.neighbours()[0])) == (173, 329)
    assert _excess(found) == {0: 12172, 2: 2160, 4: 446, 6: 95, 8: 5}
    one_layer = enumerate_cells(normal_net((2, 9, 1), 3))
    assert set(_excess(one_layer)) == {0}
    assert one_layer.distances(np.arange(len(one_layer))).max() == 9


def test_three_units_close_a_hexagon() -> None:
    assert len(enumerate_cells(hexagon())) == 6
    shifted = enumerate_cells(hexagon(0.02, 0.59))
    assert (len(shifted), int(shifted.bounded.sum())) == (7, 1)  # type: ignore[union-attr]


def test_the_limit_gives_no_part_of_a_count() -> None:
    net = normal_net((2, 10, 1), 0)
    assert len(decompose([net], limit=56)) == 56
    with pytest.raises(NotApplicable, match="more than 55 cells"):
        decompose([net], limit=55)
    with pytest.raises(NotApplicable, match="more than 10 vertices"):
        enumerate_cells(net, engine="vertices", limit=10)
    with pytest.raises(NotApplicable, match="more than 10 cells"):
        enumerate_cells(net, engine="traversal", limit=10)


def test_what_is_no_plane_or_no_window_is_refused() -> None:
    with pytest.raises(InvalidInput, match="2 coordinates"):
        decompose([normal_net((3, 4, 1), 0)])
    with pytest.raises(InvalidInput, match="some area"):
        decompose([normal_net((2, 4, 1), 0)], np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]))
    with pytest.raises(InvalidInput, match="same layers"):
        decompose([normal_net((2, 4, 1), 0), normal_net((2, 5, 1), 0)])
    with pytest.raises(InvalidInput, match="is empty"):
        enumerate_cells(normal_net((2, 4, 1), 0), 1, 1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), alpha=st.floats(0.1, 10))
def test_permuted_and_rescaled_units_have_the_same_cells(seed: int, alpha: float) -> None:
    net, order = normal_net((2, 5, 5, 1), seed), np.random.default_rng(seed).permutation(5)
    (w1, w2, w3), (b1, b2, b3) = net.weights, net.biases
    other = net_of([(alpha * w1[order], alpha * b1[order]), (w2[:, order] / alpha, b2), (w3, b3)])
    bits = enumerate_cells(net).bits()
    assert keys(bits[:, [*order, *range(5, 10)]]) == keys(enumerate_cells(other).bits())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), m=st.integers(2, 4), widths=st.lists(st.integers(2, 5), min_size=1, max_size=3))
def test_the_engines_agree_in_a_box(seed: int, m: int, widths: list[int]) -> None:
    net = normal_net((m, *widths, 1), seed)
    found = enumerate_cells(net, -1, 1)
    assert found.faults(net) == []
    assert keys(found.bits()) >= keys(net.bits(np.random.default_rng(seed).uniform(-1, 1, (200, m))))
    if m == 2:
        assert keys(found.bits()) == keys(enumerate_cells(net, -1, 1, engine="vertices").bits())


def test_classes_on_a_plane_are_those_of_the_network_everywhere() -> None:
    from lipbench_relu_geometry.metrics.pictures import _classes

    net, r = normal_net((6, 8, 8, 4), 0), np.random.default_rng(0)
    plane = net.on_plane(r.standard_normal(6), r.standard_normal((2, 6)))
    found = decompose([plane], box([-2, -2], [2, 2]))
    shapes, classes = _classes(found)
    area = 0.0
    for shape, c in zip(shapes, classes, strict=True):
        p = np.array(shape).reshape(-1, 2)
        weights = r.dirichlet(np.full(len(p), 2.0), 5)
        q = np.roll(p, -1, axis=0)
        size = abs((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()) / 2
        area += size
        if size > 1e-4:  # corners are rounded to five digits
            assert set(plane(weights @ p).argmax(1).tolist()) == {c}
    assert area == pytest.approx(16, abs=1e-3)
    assert len(set(classes)) > 1
