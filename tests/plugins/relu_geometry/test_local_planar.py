# SPDX-License-Identifier: Apache-2.0
"""Planar networks of the second suite: hand-set truths, order of the counts, and replicas that are stored and read again."""

from __future__ import annotations

import numpy as np
import pytest
from lipbench_relu_geometry.engine.plane import box, decompose
from lipbench_relu_geometry.local.data import CircleAnnulus
from lipbench_relu_geometry.local.evolution import RegionEvolution, ReplicaLearning
from lipbench_relu_geometry.local.oracles import LocalOracle, PlanarTruth, oracle
from lipbench_relu_geometry.local.planar import (
    distinct,
    grid,
    grid_maps,
    on_grid,
    pick,
    positive_area,
    scalar_maps,
    unit_zeros,
    zero_loops,
    zero_segments,
)
from lipbench_relu_geometry.local.replicas import ReluClassifiers
from lipbench_relu_geometry.local.task import Local, LocallyLinear, NoTarget
from relu_nets import torch_net

from lipbench.api import Context, DataSpec, InvalidInput, Model, NotApplicable

CTX = Context(scope="local planar")
SQUARE = box([-1, -1], [1, 1])


def evidence(network: Model, data: CircleAnnulus) -> Local:
    task = LocallyLinear()
    return task.evidence(
        network, NoTarget(), data, task.local_maps(network, data, CTX), task.local_maps(NoTarget(), data, CTX), CTX
    )


def trained(**params: object) -> tuple[ReluClassifiers, CircleAnnulus]:
    data, model = CircleAnnulus(count=2000), ReluClassifiers(**params)  # type: ignore[arg-type]
    model.build(data.spec(), CTX)
    model.fit(data, CTX)
    return model, data


def test_exclusive_or_is_what_its_formula_says() -> None:
    net = oracle("exclusive_or")
    corners = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert net(corners)[:, 0].tolist() == [-3, 1, 1, -1]
    # At (1, -1) and (-1, 1) the first unit is on and the second, exactly 0, is off.
    _, _, slope, offset = net.affine(net.bits(corners))
    assert np.column_stack([slope[:, 0], offset]).tolist() == [[-2, -2, 1], [2, 2, 1], [2, 2, 1], [0, 0, -1]]
    _, hits = grid_maps(net, grid(-50, 50, 101) / 50)
    sums = [i + j for i in range(-50, 51) for j in range(-50, 51)]
    assert sorted(hits.tolist()) == [sum(s <= -50 for s in sums), sum(-50 < s <= 0 for s in sums), sum(s > 0 for s in sums)]
    plane = decompose([net], SQUARE)
    assert positive_area(plane.polygons(), scalar_maps(plane, pick(net))) == pytest.approx(4 * 0.4375, abs=1e-12)


def test_disc_and_annulus_have_the_points_that_integers_count() -> None:
    test = CircleAnnulus().split("test", CTX)
    square = [i * i + j * j for i in range(-50, 51) for j in range(-50, 51)]
    assert test.targets is not None
    assert np.bincount(test.targets).tolist() == [sum(1250 < s < 1875 for s in square), sum(s < 625 for s in square)]
    train = CircleAnnulus(count=20_000).split("train", CTX)
    assert train.targets is not None
    assert len(train.targets) == 20_000
    assert abs(train.targets.mean() - 0.5) < 4 * 0.5 / 20_000**0.5


def test_four_circles_swap_classes_with_the_sign_of_the_centre() -> None:
    data = CircleAnnulus(count=4000, xor=True)
    train = data.split("train", CTX)
    assert train.targets is not None
    assert (np.abs(train.inputs) <= 2).all()
    centres = np.array([[1.0, 1], [-1, -1], [1, -1], [-1, 1], [1.8, 1], [1.8, -1], [0, 0]])
    assert data.labels(centres).tolist() == [1, 1, 0, 0, 0, 1, -1]


@pytest.mark.parametrize(
    ("kind", "of", "truth"),
    [
        ("exclusive_or", "grid_maps", 3),
        ("exclusive_or", "cells", 3),
        ("exclusive_or", "loops", 0),
        ("hexagon", "right", 3905),
        ("hexagon", "cells", 6),
        ("hexagon", "loops", 1),
        ("corner", "bounded_cells", 1),
        ("corner", "cells", 7),
    ],
)
def test_hand_set_networks_are_what_is_known_of_them(kind: str, of: str, truth: float) -> None:
    data = CircleAnnulus(count=10)
    model = LocalOracle(kind=kind)  # type: ignore[arg-type]
    model.build(data.spec(), CTX)
    found = PlanarTruth(of=of, truth=truth).compute(evidence(model, data), CTX)  # type: ignore[arg-type]
    assert found.value == pytest.approx(0, abs=1e-12)
    assert PlanarTruth(of=of, truth=truth + 1).compute(evidence(model, data), CTX).value == pytest.approx(-1)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
def test_zero_sets_are_straight_in_earlier_cells_and_continuous_across_them(seed: int) -> None:
    net = torch_net((2, 6, 5, 4, 1), seed)
    layers, at = unit_zeros(net, SQUARE), 0
    assert [len(units) for units in layers] == [6, 5, 4]
    for k, units in enumerate(layers):
        for segments in units:
            # All along a segment, not at its ends alone, the unit is at zero.
            points = segments[:, :1] + np.linspace(0, 1, 7)[:, None] * (segments[:, 1:] - segments[:, :1])
            assert np.abs(net.pre_activations(points.reshape(-1, 2))[:, at]).max(initial=0) < 1e-12
            assert len(segments) <= 1 or k > 0
            # An end inside the window is the end of one more segment.
            ends = segments.reshape(-1, 2)
            inner = ends[np.abs(ends).max(axis=1) < 1 - 1e-9]
            near = np.linalg.norm(inner[:, None] - inner[None], axis=2) < 1e-9
            assert (near.sum(axis=1) == 2).all()
            at += 1
    # A unit that changes its sign in the window has a zero set in it.
    signs = net.bits(grid(-1, 1, 60))
    for unit, segments in enumerate(s for units in layers for s in units):
        assert (len(segments) > 0) or len(np.unique(signs[:, unit])) == 1


def test_width_two_closes_a_cell_with_a_circle_in_it() -> None:
    plane = decompose([oracle("corner")])
    (triangle,) = (p for p, bounded in zip(plane.polygons(), plane.bounded, strict=True) if bounded)
    x, y = triangle.T
    area = abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2
    assert 2 * area / np.linalg.norm(triangle - np.roll(triangle, -1, axis=0), axis=1).sum() == pytest.approx(1 - 0.5**0.5)


@pytest.mark.parametrize("sizes", [(2, 2, 1), (2, 2, 2, 1), (2, 2, 2, 2, 1)])
def test_width_two_closes_no_decision(sizes: tuple[int, ...]) -> None:
    for seed in range(20):
        net = torch_net(sizes, seed)
        plane = decompose([net], box([-50, -50], [50, 50]))
        assert zero_loops(zero_segments(plane.polygons(), scalar_maps(plane, pick(net))), 100) == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_grid_sees_no_more_than_there_is(seed: int) -> None:
    net = torch_net((2, 8, 8, 8, 2), seed)
    plane = decompose([net], SQUARE)
    maps = scalar_maps(plane, pick(net))
    coarse, fine = (grid_maps(net, grid(-1, 1, side))[0] for side in (101, 401))
    # Each point of the coarse grid is one of the fine grid.
    assert len(coarse) <= len(fine) <= len(plane)
    assert distinct(fine, 2) <= len(fine)
    assert distinct(maps, 9) <= len(plane)
    for side, seen in ((101, coarse), (401, fine)):
        hit = maps[on_grid(plane, [net], np.linspace(-1, 1, side))]
        assert len(hit) == len(seen)
        np.testing.assert_allclose(hit[np.lexsort(hit.T)], seen[np.lexsort(seen.T)], atol=1e-9)


def test_the_published_count_is_on_the_grid_of_the_source() -> None:
    model, data = trained(hidden=(8, 8, 8), replicas=2, batches=0)
    found = evidence(model, data)
    seen = [grid_maps(net, grid(-1, 1, 401))[0] for net in model.past()[-1][1]]
    assert RegionEvolution(of="grid").compute(found, CTX).value == np.mean([len(rows) for rows in seen])
    assert RegionEvolution(of="published").compute(found, CTX).value == np.mean([distinct(rows, 2) for rows in seen])


def test_replicas_learn_are_kept_and_are_read_again() -> None:
    model, data = trained(hidden=(8, 8), replicas=4, batches=60, snapshots=3)
    again = ReluClassifiers(hidden=(8, 8), replicas=4, batches=60, snapshots=3)
    again.build(data.spec(), CTX)
    again.load_state(model.state())
    assert [b for b, _ in again.past()] == [b for b, _ in model.past()] == [0, 1, 8, 60]
    test = data.split("test", CTX)
    for r, net in enumerate(again.nets):
        right = (net(test.inputs.astype(np.float64)).argmax(axis=1) == test.targets).mean()
        assert right == pytest.approx(float(again.curve[-1, r]), abs=1e-3)
    found = evidence(again, data)
    counts = {of: RegionEvolution(of=of).compute(found, CTX) for of in ("exact", "distinct", "grid", "published")}  # type: ignore[arg-type]
    for small, large in (("published", "grid"), ("grid", "exact"), ("distinct", "exact")):
        assert all(a <= b for a, b in zip(counts[small].extras["means"], counts[large].extras["means"], strict=True))
    frames = counts["exact"].extras["frames"]
    assert [f["batch"] for f in frames] == [0, 1, 8, 60]
    assert all(len(f["polygons"]) == len(f["dual"]) for f in frames)
    assert all(len(f["layers"]) == 2 for f in frames)
    share = ReplicaLearning(of="reached", level=0.01).compute(found, CTX)
    first = ReplicaLearning(of="first_batch", level=0.01).compute(found, CTX)
    assert (share.value, first.value) == (1, 1)
    never = ReplicaLearning(of="first_batch", level=1.0).compute(found, CTX)
    assert never.value <= 60


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="this data has none"):
        ReluClassifiers().build(DataSpec(shape=(2,), low=0, high=1), CTX)
    with pytest.raises(InvalidInput, match="2 inputs"):
        LocalOracle().build(DataSpec(shape=(3,), low=0, high=1, classes=2), CTX)
    model, data = trained(hidden=(3,), replicas=2, batches=0)
    with pytest.raises(NotApplicable, match="batches"):
        ReplicaLearning().compute(evidence(model, data), CTX)
    with pytest.raises(NotApplicable, match="one planar network"):
        PlanarTruth(of="cells", truth=1).compute(evidence(model, data), CTX)
