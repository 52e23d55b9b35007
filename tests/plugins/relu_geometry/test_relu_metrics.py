# SPDX-License-Identifier: Apache-2.0
"""Metrics against direct computation, and the same values on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lipbench_basics.datasets.noise import UniformNoise
from lipbench_basics.networks.mlp import MLP
from lipbench_relu_geometry.engine.network import ReluNet
from lipbench_relu_geometry.metrics.graph import GraphExcess
from lipbench_relu_geometry.metrics.points import ActiveBits, ClassDistances, NearestAgreement
from lipbench_relu_geometry.metrics.sizes import BoundaryDistance, ChebyshevRadius
from lipbench_relu_geometry.task import Geometry, ReluGeometry, Unchanged
from relu_nets import duplicated, normal_net

from lipbench.api import Context, DataSpec, Metric, NotApplicable

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
