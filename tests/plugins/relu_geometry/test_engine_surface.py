# SPDX-License-Identifier: Apache-2.0
"""What other plugins may import of the engine, and networks that bend otherwise than ReLU."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from lipbench_relu_geometry import engine
from lipbench_relu_geometry.engine.boundary import boundary_distance
from lipbench_relu_geometry.engine.enumerate import complexes, enumerate_cells
from lipbench_relu_geometry.engine.network import ReluNet, net_of
from lipbench_relu_geometry.engine.plane import box, clip_to_box, decompose
from lipbench_relu_geometry.engine.segments import crossings
from relu_nets import normal_net

from lipbench.api import InvalidInput


def _bent(sizes: tuple[int, ...], below: tuple[float, ...], seed: int = 0) -> ReluNet:
    net = normal_net(sizes, seed)
    return net_of(zip(net.weights, net.biases, strict=True), below)


@pytest.mark.parametrize("module", engine.PUBLIC)
def test_the_public_names_are_there_and_documented(module: str) -> None:
    found = import_module(f"lipbench_relu_geometry.engine.{module}")
    for name in engine.PUBLIC[module]:
        assert name.isupper() or getattr(found, name).__doc__, name


@pytest.mark.parametrize("below", [(), (0.2, -1.0), (0.0, 1.5)])
def test_all_parts_agree_for_any_slope_below_zero(below: tuple[float, ...]) -> None:
    net = _bent((3, 6, 5, 2), below)
    x = np.random.default_rng(1).uniform(-1, 1, (500, 3))
    bits = net.bits(x)
    cells = net.cells(bits)
    assert ((cells.rows @ x[:, :, None])[:, :, 0] - cells.bounds).max() <= 1e-12
    np.testing.assert_allclose((cells.slope @ x[:, :, None])[:, :, 0] + cells.offset, net(x), atol=1e-12)
    np.testing.assert_allclose(net.jacobian(bits), cells.slope, atol=1e-12)
    np.testing.assert_allclose(net.jacobian(bits, [1]), cells.slope[:, 1:], atol=1e-12)
    walked, visited = (enumerate_cells(net, -1.0, 1.0, engine=e) for e in ("vertices", "traversal"))
    assert walked.faults(net) == []
    assert set(map(bytes, walked.packed)) == set(map(bytes, visited.packed))
    assert set(map(bytes, np.packbits(bits, axis=1))) <= set(map(bytes, walked.packed))
    crossed = crossings(net, x[:100], x[100:200])
    middle = np.stack([x[crossed.segment], x[100 + crossed.segment]])
    at = middle[0] + crossed.place[:, None] * (middle[1] - middle[0])
    assert np.abs(net.pre_activations(at)[np.arange(len(at)), crossed.unit]).max() <= 1e-12


def test_polygons_and_vertices_find_the_same_cells_of_bent_units() -> None:
    net = _bent((2, 8, 8, 1), (-1.0, 0.3))
    planar, walked = (enumerate_cells(net, -1.0, 1.0, engine=e) for e in ("polygons", "vertices"))
    assert planar.faults(net) == []
    assert set(map(bytes, planar.packed)) == set(map(bytes, walked.packed))


def test_windows_of_their_own_are_decomposed_together_as_alone() -> None:
    net, rng = normal_net((2, 9, 9, 1), 3), np.random.default_rng(0)
    centres = rng.uniform(-1, 1, (6, 2))
    diamond = np.array([[0.4, 0], [0, 0.4], [-0.4, 0], [0, -0.4]])
    windows = [clip_to_box(c + diamond, -1, 1) if i % 2 else box(c - 0.3, c + 0.2) for i, c in enumerate(centres)]
    plane = decompose([net] * 6, windows)
    for window, cells in zip(windows, complexes(plane), strict=True):
        alone = decompose([net], window)
        assert set(map(bytes, cells.packed)) == set(map(bytes, alone.packed))
        assert cells.inner is not None
        assert (np.packbits(net.bits(cells.inner), axis=1) == cells.packed).all()
    areas = np.bincount(plane.net, weights=plane.areas())
    np.testing.assert_allclose(areas[::2], 0.25, rtol=1e-9)


def test_wrong_windows_and_slopes_are_refused() -> None:
    net = normal_net((2, 4, 1), 0)
    with pytest.raises(InvalidInput, match="1 windows are given for 2 networks"):
        decompose([net, net], [box([0, 0], [1, 1])])
    with pytest.raises(InvalidInput, match="slopes below 0"):
        net_of(zip(net.weights, net.biases, strict=True), [0.1, 0.2])
    with pytest.raises(InvalidInput, match="same layers"):
        decompose([net, _bent((2, 4, 1), (0.5,))], box([0, 0], [1, 1]))


@pytest.mark.parametrize("below", [(), (0.2, -1.0)])
def test_other_units_of_input_and_the_last_hidden_layer_are_the_same_network(below: tuple[float, ...]) -> None:
    net, x = _bent((3, 6, 5, 2), below), np.random.default_rng(1).uniform(-1, 1, (50, 3))
    np.testing.assert_allclose(net.in_units(255)(x / 255), net(x), atol=1e-12)
    np.testing.assert_allclose(net.without_output()(x) @ net.weights[-1].T + net.biases[-1], net(x), atol=1e-12)
    found = boundary_distance(net, x)
    scaled = boundary_distance(net.in_units(255), x / 255)
    np.testing.assert_allclose(255 * scaled.certified, found.certified, rtol=1e-9)
    np.testing.assert_allclose(255 * scaled.inside, found.inside, rtol=1e-6)
