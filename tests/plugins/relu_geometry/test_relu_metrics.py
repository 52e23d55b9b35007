# SPDX-License-Identifier: Apache-2.0
"""Metrics against direct computation, and the same values on any number of threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lipbench_basics.datasets.noise import UniformNoise
from lipbench_basics.networks.mlp import MLP
from lipbench_relu_geometry.engine.enumerate import enumerate_cells
from lipbench_relu_geometry.engine.network import ReluNet, net_of
from lipbench_relu_geometry.metrics import counting
from lipbench_relu_geometry.metrics.counting import EnumerationFaults, RegionCount
from lipbench_relu_geometry.metrics.graph import GraphExcess
from lipbench_relu_geometry.metrics.points import ActiveBits, ClassDistances, NearestAgreement
from lipbench_relu_geometry.metrics.sizes import BoundaryDistance, ChebyshevRadius, FacetDistance
from lipbench_relu_geometry.task import Geometry, ReluGeometry, Unchanged
from relu_nets import duplicated, normal_net

from lipbench.api import Context, DataSpec, InvalidInput, Metric, NotApplicable

CTX = Context(scope="test", seed=0)


def _geometry(*nets: ReluNet, points: int = 30, classes: int = 3) -> Geometry:
    r = np.random.default_rng(0)
    x = r.uniform(-1, 1, (points, nets[0].inputs))
    return Geometry(
        nets=nets,
        spec=DataSpec(shape=(nets[0].inputs,), low=-1.0, high=1.0, classes=classes),
        x=x,
        clean=x,
        y=np.arange(points) % classes,
        other=lambda: (x, None),
        split="test",
        attacked=False,
        errors=None,
        past=(),
        rng=CTX.rng,
    )


def test_pixels_are_looked_at_in_units_of_the_whole_range() -> None:
    data, network = UniformNoise(shape=(1, 4, 4)), MLP(hidden=(8,), outputs=3)
    network.build(data.spec(), CTX)
    found = ReluGeometry(points=20).evidence(network, data, Unchanged(), CTX)
    raw = data.split("test", CTX).inputs
    assert (data.spec().unit, found.spec.low, found.spec.high) == (255, 0, 1)
    assert 0 <= found.x.min() < 0.1 < 0.9 < found.x.max() <= 1
    assert found.other()[0].max() <= 1
    assert {tuple(row) for row in (255 * found.x).round().astype(int)} <= {
        tuple(row) for row in raw.reshape(len(raw), -1).astype(int)
    }
    expected = network.module(torch.from_numpy((255 * found.x).astype(np.float32).reshape(-1, 1, 4, 4))).detach().numpy()
    np.testing.assert_allclose(found.nets[0](found.x), expected, atol=1e-5)


@pytest.mark.parametrize("by", ["hamming", "inputs"])
def test_distances_of_classes_are_means_over_pairs(by: str) -> None:
    evidence = _geometry(normal_net((4, 9, 9, 2), 0))
    found = ClassDistances(by=by).compute(evidence, CTX)  # type: ignore[arg-type]
    rows = evidence.nets[0].bits(evidence.x).astype(float) if by == "hamming" else evidence.x
    apart = ((rows[:, None] - rows[None]) ** 2).sum(2)
    y = evidence.labels("")
    others, same = ~np.eye(30, dtype=bool), y[:, None] == y[None]
    truth = [[apart[(y[:, None] == a) & (y[None] == b) & others].mean() for b in range(3)] for a in range(3)]
    np.testing.assert_allclose(found.extras["matrix"], truth, rtol=1e-4)
    assert found.value == pytest.approx(apart[same & others].mean() / apart[~same].mean())


@pytest.mark.parametrize(
    "metric",
    [ActiveBits(count=6), ChebyshevRadius(count=6), ChebyshevRadius(count=6, of="centre"), BoundaryDistance(count=6)],
    ids=["facets", "radii", "centres", "boundary"],
)
def test_values_are_the_same_on_any_number_of_threads(metric: Metric) -> None:
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(metric.compute(_geometry(normal_net((12, 8, 8, 3), 1)), CTX))
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_networks_whose_units_share_a_line_are_left_out_of_many_and_not_of_one() -> None:
    alone = GraphExcess().compute(_geometry(duplicated()), CTX)
    assert alone.extras["skipped"] == 0
    many = GraphExcess().compute(_geometry(duplicated(), normal_net((2, 5, 1), 11)), CTX)
    assert (many.value, many.extras["skipped"]) == (0, 1)


def test_the_decision_boundary_is_bounded_from_both_sides() -> None:
    evidence = _geometry(normal_net((3, 6, 6, 3), 5))
    values = {
        of: BoundaryDistance(of=of).compute(evidence, CTX)  # type: ignore[arg-type]
        for of in ("certified", "inside", "crossed", "linear")
    }
    assert values["certified"].value <= values["linear"].value  # type: ignore[operator]
    assert values["inside"].extras["count"] == round(30 * values["crossed"].value)  # type: ignore[operator]
    constant = ReluNet((np.eye(2), np.zeros((2, 2))), (np.ones(2), np.array([1.0, 0.0])))
    with pytest.raises(NotApplicable, match="crosses the cell of no point"):
        BoundaryDistance(of="inside").compute(_geometry(constant), CTX)


def test_neighbours_by_cosine_do_not_see_the_length_of_a_row() -> None:
    evidence = _geometry(ReluNet((np.eye(2), np.eye(2)), (np.full(2, 2.0), np.zeros(2))))
    rows = evidence.x + 2.0
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    products = rows @ rows.T
    np.fill_diagonal(products, -1)
    y = evidence.labels("")
    expected = float((y[products.argmax(axis=1)] == y).mean())
    assert NearestAgreement(by="cosine").compute(evidence, CTX).value == expected


def _layer(w: object, b: object) -> ReluNet:
    first = np.array(w, dtype=float)
    return net_of([(first, np.array(b, dtype=float)), (np.ones((1, len(first))), np.zeros(1))])


CENTRAL = np.random.default_rng(0).standard_normal((4, 3))


@pytest.mark.parametrize(
    ("net", "cells"),
    [
        (_layer(CENTRAL[:, :2], np.zeros(4)), 8),
        (_layer(CENTRAL, np.zeros(4)), 14),
        (_layer([[1.0, 2.0]] * 4, [0.0, 1.0, 2.0, 3.0]), 5),
        (_layer([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], [0.1, 0.2, 0.5, 1.0]), 7),
        (normal_net((2, 4, 1), 0), 11),
    ],
    ids=["lines through a point", "planes through a point", "parallel lines", "a unit without weights", "general position"],
)
def test_counts_of_special_arrangements_are_no_faults(net: ReluNet, cells: int) -> None:
    found = EnumerationFaults().compute(_geometry(net), CTX)
    assert (found.extras["cells"], found.extras["faults"]) == (cells, [])


@pytest.mark.parametrize("sizes", [(2, 4, 1), (2, 4, 4, 1), (3, 4, 1)])
def test_a_count_with_too_few_or_too_many_cells_is_a_fault(sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    net = normal_net(sizes, 0)
    true = enumerate_cells(net)
    assert counting._out_of_range(net, true) == []
    half = replace(true, packed=true.packed[:6], active=true.active[:6], bounded=None, inner=None)
    many = replace(true, packed=np.repeat(true.packed, 20, axis=0), bounded=None)
    assert any("no network of these widths" in w for w in counting._out_of_range(net, many))
    if len(sizes) > 3:
        assert any("of the first layer alone" in w for w in counting._out_of_range(net, half))
    few = replace(true, bounded=np.ones(len(true), dtype=bool))
    assert any("facets or fewer" in w for w in counting._out_of_range(net, few))
    monkeypatch.setattr(counting, "enumerate_cells", lambda *a, **k: half)
    assert EnumerationFaults().compute(_geometry(net), CTX).value > 0  # type: ignore[operator]


def test_the_count_says_where_units_share_a_line_and_keeps_to_its_limit() -> None:
    evidence = _geometry(duplicated())
    found = RegionCount().compute(evidence, CTX)
    assert found.value == 11
    assert found.extras["nongeneric"] > 0
    assert RegionCount().compute(_geometry(normal_net((2, 5, 1), 11)), CTX).extras["nongeneric"] == 0
    with pytest.raises(NotApplicable, match="more than 10 cells"):
        RegionCount(limit=10).compute(evidence, CTX)


def test_networks_without_a_hidden_layer_have_values_or_a_reason() -> None:
    evidence = _geometry(net_of([(np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]]), np.zeros(3))]))
    assert RegionCount().compute(evidence, CTX).value == 1
    assert EnumerationFaults().compute(evidence, CTX).value == 0
    assert ActiveBits(count=2).compute(evidence, CTX).value == 0
    euclid = NearestAgreement(by="euclid").compute(evidence, CTX).value
    assert NearestAgreement(by="penultimate").compute(evidence, CTX).value == euclid
    for by in ("cosine", "logits"):
        assert 0 <= NearestAgreement(by=by).compute(evidence, CTX).value <= 1  # type: ignore[arg-type, operator]
    with pytest.raises(NotApplicable, match="the network is affine"):
        FacetDistance().compute(evidence, CTX)
    jacobian = evidence.nets[0].jacobian(np.zeros((4, 0)))
    assert jacobian.flags.writeable


def test_one_point_has_no_nearest_neighbour() -> None:
    for by in ("hamming", "euclid"):
        with pytest.raises(InvalidInput, match="1 rows have no nearest neighbour"):
            NearestAgreement(by=by).compute(_geometry(normal_net((4, 9, 2), 0), points=1), CTX)  # type: ignore[arg-type]
