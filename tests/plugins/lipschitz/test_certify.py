# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import hashlib
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_lipschitz.certify import (
    certify_directions,
    certify_pairs,
    confined,
    diameter,
    lower_bound,
    pairs_in_region,
    segment_in_region,
    witness,
)
from lipbench_lipschitz.rounding import UNIT, lengths
from lipbench_lipschitz.task import ORDER, Norm
from searched_networks import all_pairs, evidence_for, exact_square_ratio, gelu_mlp, staircase
from torch import nn

NORMS = ("l2", "l1", "linf")


def small_relu() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)).requires_grad_(False)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), exponent=st.integers(0, 46))
def test_certified_ratio_never_exceeds_the_exact_one(seed: int, exponent: int) -> None:
    net, g = small_relu(), torch.Generator().manual_seed(seed)
    evidence = evidence_for(net, (2,), low=-1.0)
    x = 2 * torch.rand((1, 2), generator=g, dtype=torch.float64) - 1
    y = x + torch.randn((1, 2), generator=g, dtype=torch.float64) * 2.0**-exponent
    found = certify_pairs(evidence, x, y)
    assert found.rigorous
    exact = float(exact_square_ratio(net, x, y)) ** 0.5
    assert float(found.k_cert) <= exact * (1 + 4 * UNIT)
    assert float(found.k_cert) >= exact - 3 * float(found.error / found.distance) - 1e-12


def test_float32_claims_more_than_exact_arithmetic_on_close_pairs() -> None:
    net = small_relu()
    evidence = evidence_for(net, (2,), low=-1.0)
    g = torch.Generator().manual_seed(0)
    x = torch.rand((200, 2), generator=g)
    found = certify_pairs(evidence, x, x + 2e-7 * torch.randn((200, 2), generator=g))
    exact = torch.linalg.matrix_norm(net[0].weight.double(), 2) * torch.linalg.matrix_norm(net[2].weight.double(), 2)
    assert float(found.k_raw.max()) > float(exact) > float(found.k_cert.max()) > 0


@pytest.mark.parametrize("norm", NORMS)
def test_formula(norm: str) -> None:
    evidence = evidence_for(gelu_mlp(20, 30, 7), (20,), norm=norm)  # type: ignore[arg-type]
    found = certify_pairs(evidence, *all_pairs(evidence))
    p = ORDER[norm]
    x, y = (ends.double() for ends in all_pairs(evidence))
    f = evidence.probe.at(torch.float64)
    d = torch.linalg.vector_norm(x - y, p, dim=1)
    top = torch.linalg.vector_norm(f(x) - f(y), p, dim=1)
    assert torch.allclose(found.distance, d, rtol=1e-15)
    assert torch.allclose(found.k_ref, top / d, rtol=1e-12)
    low = (top * (1 - 9 * UNIT) - found.error) / (d * (1 + 22 * UNIT))
    assert torch.allclose(found.k_cert, low, rtol=1e-13)
    assert torch.allclose(found.k_raw, found.k_ref, rtol=1e-5)
    assert bool((found.k_cert < found.k_ref).all())


def test_pair_of_equal_points_counts_nothing() -> None:
    evidence = evidence_for(gelu_mlp(4, 3), (4,))
    x, _ = all_pairs(evidence)
    found = certify_pairs(evidence, x, x)
    for k in (found.k_raw, found.k_ref, found.k_cert):
        assert k.tolist() == [0.0] * len(x)


def test_known_raw_ratios_save_forwards() -> None:
    evidence = evidence_for(gelu_mlp(4, 3), (4,))
    certify_pairs(evidence, *all_pairs(evidence), k_raw=torch.ones(8))
    assert evidence.probe.meter.forwards == 16
    certify_pairs(evidence, *all_pairs(evidence))
    assert evidence.probe.meter.forwards == 16 + 32


def test_staircase_is_certified_as_the_identity() -> None:
    evidence = evidence_for(staircase(), (1,))
    x = torch.tensor([[0.999481201171875]])
    found = certify_pairs(evidence, x, x + 2.0**-15)
    assert float(found.k_raw) == 32
    assert float(found.k_ref) == 1
    assert 1 - 1e-5 < float(found.k_cert) <= 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [None, 0.3])
def test_finite_pairs_along_a_direction_find_a_linear_map_and_stay_inside(norm: str, radius: float | None) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    evidence = evidence_for(layer, (6,), norm=norm, radius=radius)  # type: ignore[arg-type]
    directions = torch.randn(8, 6, dtype=torch.float64)
    corners = evidence.points.round() if radius is None else evidence.points
    found, x, y = certify_directions(evidence, corners, directions)
    expected = lengths(directions @ layer.weight.double().T, norm) / lengths(directions, norm)
    assert torch.allclose(found.k_ref, expected, rtol=1e-9)
    assert bool((found.k_cert > expected * (1 - 1e-9)).all())
    assert 0 <= float(torch.cat([x, y]).min()) <= float(torch.cat([x, y]).max()) <= 1
    if radius is not None:
        for ends in (x, y):
            assert float(lengths(ends - evidence.points.double(), norm).max()) <= radius


def test_direction_pairs_stay_in_the_ball_of_a_point_on_its_rim() -> None:
    evidence = evidence_for(nn.Linear(3, 2), (3,), radius=0.05, count=1)
    outward = torch.randn(1, 3, dtype=torch.float64)
    rim = evidence.points.double() + 0.05 * outward / outward.norm()
    for ends in segment_in_region(evidence, rim, 0.01 * outward):
        assert float((ends - evidence.points.double()).norm()) <= 0.05
        assert 0 <= float(ends.min()) <= float(ends.max()) <= 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("centre", [None, 0.0])
def test_given_pairs_are_drawn_into_the_balls(norm: Norm, dtype: torch.dtype, centre: float | None) -> None:
    evidence = evidence_for(nn.Linear(5, 2), (5,), low=-1.0, norm=norm, radius=0.2, dtype=dtype)
    if centre is not None:  # rounding is then relative to the radius alone
        evidence = dataclasses.replace(evidence, points=torch.full((1, 5), centre))
    pairs = pairs_in_region(evidence)
    x, y = pairs.first(100)
    assert len(pairs) == len(x) == 8
    for ends in (x, y):
        assert ends.dtype == dtype
        assert float(lengths(ends.double() - evidence.points.double(), norm).max()) <= 0.2
        assert -1 <= float(ends.min()) <= float(ends.max()) <= 1
    assert float(lengths(x.double() - y.double(), norm).max()) > 0.1
    again = pairs.take(torch.tensor([6, 2]))
    assert torch.equal(again[0], x[[6, 2]])
    assert torch.equal(again[1], y[[6, 2]])
    box = dataclasses.replace(evidence, radius=None)
    assert pairs_in_region(box) is box.pairs


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_is_certified_outside_the_region(norm: Norm) -> None:
    evidence = evidence_for(nn.Linear(2, 2), (2,), norm=norm, radius=0.25)
    evidence = dataclasses.replace(evidence, points=torch.tensor([[0.5, 0.5], [0.9, 0.9]]))
    x = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.95, 0.95], [0.95, 0.95]], dtype=torch.float64)
    # Inside, on the rim, just beyond it, inside the other ball, and inside the ball but not the box.
    away = torch.tensor([[0.1, 0.0], [0.25, 0.0], [0.25 + 1e-12, 0.0], [0.04, 0.0], [0.06, 0.0]], dtype=torch.float64)
    found = confined(evidence, x, x + away, certify_pairs(evidence, x, x + away))
    assert (found.k_cert > 0).tolist() == [True, False, False, True, False]
    assert bool((found.k_ref > 0).all())
    free = dataclasses.replace(evidence, radius=None)
    assert (confined(free, x, x + away, certify_pairs(free, x, x + away)).k_cert > 0).tolist() == [True] * 4 + [False]


def test_diameter() -> None:
    for norm, wide in (("l2", 2 * 3**0.5), ("l1", 6.0), ("linf", 2.0)):
        evidence = evidence_for(nn.Linear(3, 2), (3,), low=-1.0, norm=norm)  # type: ignore[arg-type]
        assert diameter(evidence) == pytest.approx(wide)
        assert diameter(dataclasses.replace(evidence, radius=0.25)) == 0.5


def test_report_has_both_units_and_the_best_pair() -> None:
    evidence = evidence_for(gelu_mlp(4, 3, scale=1 / 255), (4,), high=255.0, unit=255.0)
    x, y = all_pairs(evidence)
    found = certify_pairs(evidence, x, y)
    value = lower_bound(evidence, x, y, found, origin=lambda i: {"pair": i}, note="kept")
    i = int(found.k_cert.argmax())
    assert value.value == pytest.approx(255 * float(found.k_cert[i]))
    assert (value.direction, value.unranked) == ("higher", None)
    extras = value.extras
    assert extras["raw"] == extras["k_cert"] == float(found.k_cert[i])
    assert extras["inflation"] == extras["k_raw"] / extras["k_ref"]
    assert extras["fp_artifact"] is False
    assert (extras["kind"], extras["scope"], extras["rigorous"], extras["note"]) == ("lower", "box", True, "kept")
    assert (extras["certified"], extras["certificate"]) == (True, "proved")
    assert extras["witness"] == {"pair": i, "x": x[i].double().tolist(), "y": y[i].double().tolist()}


def test_witness_of_many_coordinates_is_a_digest() -> None:
    point = torch.arange(65.0)
    found = witness("l1", {"pair": 7}, x=point)
    # Computed without this code: 65 little-endian doubles.
    digest = hashlib.sha256(struct.pack("<65d", *range(65))).hexdigest()
    assert found == {"pair": 7, "norm_x": 65 * 32.0, "sha256_x": digest}
    assert witness("l1", {}, x=point[:64]) == {"x": [float(i) for i in range(64)]}


def test_estimated_errors_are_never_called_certified() -> None:
    evidence = evidence_for(nn.Sequential(nn.Linear(4, 3), nn.Softplus()), (4,))
    x, y = all_pairs(evidence)
    value = lower_bound(evidence, x, y, certify_pairs(evidence, x, y), origin=lambda i: {"pair": i})
    assert (value.extras["certified"], value.extras["rigorous"], value.extras["certificate"]) == (False, False, "estimated")
    assert value.unranked is None
    assert value.extras["k_cert"] == pytest.approx(value.extras["k_ref"], rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_ratio_that_its_certificate_does_not_reach_is_flagged(dtype: torch.dtype) -> None:
    evidence = evidence_for(nn.Sequential(nn.Linear(4, 3), nn.Softplus()), (4,), dtype=dtype)
    x = all_pairs(evidence)[0].double() / 2
    near = certify_pairs(evidence, x, x + 1e-14)
    value = lower_bound(evidence, x, x + 1e-14, near, origin=lambda i: {"pair": i})
    assert value.extras["fp_artifact"] is True
    assert value.extras["raw"] == value.extras["k_cert"] < value.extras["k_ref"]
