# SPDX-License-Identifier: Apache-2.0
"""What segments cross, by two exact methods and the published one; nearest neighbours by bits."""

from __future__ import annotations

import numpy as np
import pytest
from lipbench_relu_geometry.engine.neighbours import nearest_euclid, nearest_hamming
from lipbench_relu_geometry.engine.network import ReluNet
from lipbench_relu_geometry.engine.segments import bisect, crossings
from relu_nets import normal_net, tent


def _sweep(net: ReluNet, a: np.ndarray, b: np.ndarray) -> list[float]:
    """An independent method: leave one cell after the other through the facet that the ray meets first."""
    bits, place, found, d = net.bits(a[None]), 0.0, [], b - a
    while True:
        cell = net.cells(bits)
        speed = cell.rows[0] @ d
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(speed > 1e-12, (cell.bounds[0] - cell.rows[0] @ a) / speed, np.inf)
        i = int(times.argmin())
        if times[i] >= 1:
            return found
        assert times[i] >= place - 1e-9
        place = times[i]
        found.append(place)
        bits[0, i] ^= 1


@pytest.mark.parametrize("sizes", [(3, 8, 1), (5, 12, 12, 2), (20, 20, 20, 20, 1), (2, 6, 6, 6, 6, 1)])
def test_segments_are_cut_where_a_sweep_from_cell_to_cell_cuts_them(sizes: tuple[int, ...]) -> None:
    net, r = normal_net(sizes, 0), np.random.default_rng(1)
    a, b = r.standard_normal((2, 50, sizes[0]))
    found = crossings(net, a, b)
    assert found.touched == 0
    for i in range(50):
        np.testing.assert_allclose(found.place[found.segment == i], _sweep(net, a[i], b[i]), atol=1e-9)


def test_crossings_are_at_least_the_hamming_distance_and_differ_by_an_even_number() -> None:
    net, r = normal_net((20, 40, 40, 40, 1), 0), np.random.default_rng(1)
    a, b = r.standard_normal((2, 100, 20))
    apart = (net.bits(a) != net.bits(b)).sum(1)
    counts = crossings(net, a, b).counts()
    assert (counts >= apart).all()
    assert ((counts - apart) % 2 == 0).all()
    one_layer = normal_net((20, 60, 1), 0)
    assert (crossings(one_layer, a, b).counts() == (one_layer.bits(a) != one_layer.bits(b)).sum(1)).all()


def test_the_published_bisection_stalls_and_the_repaired_one_misses_pairs_of_crossings() -> None:
    net, r = normal_net((20, 40, 40, 40, 1), 0), np.random.default_rng(1)
    a, b = r.standard_normal((2, 100, 20))
    exact = crossings(net, a, b).counts()
    repaired = bisect(net, a, b, "repaired")
    assert bisect(net, a, b, "published").stalled.all()
    assert not repaired.stalled.any()
    missed = exact - repaired.counts
    assert (missed >= 0).all()
    assert (missed % 2 == 0).all()
    assert missed.any()


def test_the_tent_map_bends_everywhere_and_touches_are_counted() -> None:
    one = crossings(tent(3), np.array([[0.01]]), np.array([[0.99]]))
    assert one.touched > 0
    np.testing.assert_allclose(np.unique(one.place.round(9)) * 0.98 + 0.01, np.arange(1, 8) / 8, atol=1e-9)


def test_probes_of_one_layer_cross_as_many_units_as_the_closed_form_says() -> None:
    from scipy.special import betainc

    net, r = normal_net((12, 30, 1), 0), np.random.default_rng(3)
    x = 0.3 * r.standard_normal(12)
    slack = np.abs(net.weights[0] @ x + net.biases[0]) / np.linalg.norm(net.weights[0], axis=1)
    for radius in (0.3, 0.6, 1.5):
        expected = sum(0.5 * betainc(5.5, 0.5, 1 - (s / radius) ** 2) for s in slack if s < radius)
        u = r.standard_normal((200_000, 12))
        u *= radius / np.linalg.norm(u, axis=1, keepdims=True)
        measured = (net.bits(x + u) != net.bits(x[None])).sum(1)
        assert measured.mean() == pytest.approx(expected, abs=5 * measured.std() / np.sqrt(200_000) + 1e-9)


def _breakpoints(w: np.ndarray, b: np.ndarray, t: float) -> int:
    net = ReluNet((w[:, None], np.ones((1, len(w)))), (b, np.zeros(1)))
    return int(crossings(net, np.array([[-t]]), np.array([[t]])).counts()[0])


def test_breakpoints_of_one_input_follow_their_law() -> None:
    r, n = np.random.default_rng(0), 10_000
    for t in (1.0, 2.0):
        close = {"abs": 4 * np.sqrt(n) / 2}
        assert _breakpoints(*r.standard_normal((2, n)), t) == pytest.approx(n * 2 / np.pi * np.arctan(t), **close)
        # Torch's default initial weights and biases of a layer with one input are uniform in [-1, 1].
        assert _breakpoints(*r.uniform(-1, 1, (2, n)), t) == pytest.approx(n * (1 - 1 / (2 * t)), **close)


@pytest.mark.parametrize("whole", [True, False], ids=["bytes", "floats"])
@pytest.mark.parametrize("same", [True, False], ids=["themselves", "others"])
def test_nearest_neighbours_are_those_of_all_distances(same: bool, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ROWS", 7), ("COLUMNS", 13), ("_multiplies_bytes", lambda device: whole)):
        monkeypatch.setattr(f"lipbench_relu_geometry.engine.neighbours.{name}", value)
    r = np.random.default_rng(0)
    queries = r.integers(0, 2, (60, 12), dtype=np.uint8)
    references = queries if same else r.integers(0, 2, (90, 12), dtype=np.uint8)
    apart = (queries[:, None] != references[None]).sum(2).astype(float)
    euclid = np.sqrt(((queries[:, None].astype(float) - references[None]) ** 2).sum(2))
    for found, truth in (
        (nearest_hamming(queries, references, same=same), apart),
        (nearest_euclid(queries, references, same=same), euclid),
    ):
        if same:
            np.fill_diagonal(truth, np.inf)
        assert (found.index == truth.argmin(1)).all()
        np.testing.assert_allclose(found.distance, truth.min(1), atol=1e-9)
        assert (found.tied == ((truth == truth.min(1, keepdims=True)).sum(1) > 1)).all()
