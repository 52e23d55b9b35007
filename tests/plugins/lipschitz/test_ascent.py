# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from exact_networks import PLANAR, relu_network
from lipbench_lipschitz.certify import diameter
from lipbench_lipschitz.estimators.ascent import PairAscent
from lipbench_lipschitz.estimators.pairs import RandomPairs
from lipbench_lipschitz.probe import Probe
from searched_networks import CTX, Formula, evidence_for, gelu_mlp, staircase, unit_interval
from torch import nn

from lipbench.api import InvalidInput

NORMS = ("l2", "l1", "linf")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [None, 0.1])
def test_linear_map_is_found_from_below(norm: str, radius: float | None) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    w = layer.weight.detach().double()
    top = {"l2": float(torch.linalg.matrix_norm(w, 2)), "l1": float(w.abs().sum(0).max()), "linf": float(w.abs().sum(1).max())}
    evidence = evidence_for(layer, (6,), norm=norm, radius=radius)  # type: ignore[arg-type]
    value = PairAscent(restarts=16, steps=150).compute(evidence, CTX)
    assert top[norm] * 0.95 < value.value <= top[norm]


def test_piecewise_linear_networks_are_climbed_beyond_random_pairs() -> None:
    for sizes, (box, *_) in PLANAR.items():
        evidence = evidence_for(relu_network(sizes), sizes[:1], low=-1.0, count=8)
        value = PairAscent(restarts=24, steps=100).compute(evidence, CTX)
        assert RandomPairs().compute(evidence, CTX).value < value.value <= box * (1 + 1e-6)
        assert value.value > 0.8 * box


def test_staircase_does_not_pay() -> None:
    value = PairAscent(restarts=8, steps=40).compute(unit_interval(staircase()), CTX)
    assert value.value == pytest.approx(1, abs=1e-6)
    assert value.extras["k_raw"] < 1.03
    assert value.extras["d"] >= 0.99 * value.extras["d_min"] > 0.05


@pytest.mark.parametrize("norm", NORMS)
def test_pairs_stay_in_the_balls(norm: str) -> None:
    evidence = evidence_for(Formula(lambda x: x + 100 * torch.relu((x - 0.5).abs() - 0.26)), (2,), norm=norm, radius=0.25)  # type: ignore[arg-type]
    evidence = dataclasses.replace(evidence, points=torch.full((3, 2), 0.5))
    value = PairAscent(restarts=8, steps=60, lr=0.2).compute(evidence, CTX)
    assert value.value == pytest.approx(1, abs=1e-3)
    assert value.extras["scope"] == "ball"


def test_pairs_stay_in_the_box() -> None:
    evidence = evidence_for(Formula(lambda x: x + 100 * torch.relu((x - 0.5).abs() - 0.5)), (3,))
    value = PairAscent(restarts=8, steps=60, lr=0.2).compute(evidence, CTX)
    assert value.value == pytest.approx(1, abs=1e-6)
    assert min(value.extras["witness"]["x"] + value.extras["witness"]["y"]) >= 0
    assert max(value.extras["witness"]["x"] + value.extras["witness"]["y"]) <= 1


def test_distances_keep_to_their_limits() -> None:
    evidence = evidence_for(gelu_mlp(10, 20, 4), (10,))
    value = PairAscent(restarts=8, steps=30, r_min=0.2, r_max=0.3).compute(evidence, CTX)
    assert 0.2 * (1 - 1e-5) <= value.extras["d"] <= 0.3 * (1 + 1e-5)
    free = PairAscent(restarts=8, steps=30).compute(evidence, CTX)
    assert free.extras["d"] <= diameter(evidence)
    with pytest.raises(InvalidInput, match="r_min"):
        PairAscent(r_min=2.0, r_max=1.0).compute(evidence, CTX)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    evidence = evidence_for(gelu_mlp(10, 20, 4), (10,), dtype=dtype)
    value = PairAscent(restarts=8, steps=30).compute(evidence, CTX)
    assert value.value > RandomPairs().compute(evidence, CTX).value
    assert value.unranked is None


def test_cost_and_rerun() -> None:
    evidence = evidence_for(gelu_mlp(10, 20, 4), (10,))
    estimator = PairAscent(restarts=12, steps=5)
    first, second = estimator.compute(evidence, CTX), estimator.compute(evidence, CTX)
    assert first == second
    assert first.forwards == 64 + 2 * 12 + 2 * 12 * 6 + 2 * 8
    assert first.backwards == 2 * 12 * 5
    json.dumps(dict(first.extras), allow_nan=False)
    other = estimator.compute(evidence, dataclasses.replace(CTX, seed=1))
    assert other.value != first.value


def test_more_steps_never_lose() -> None:
    evidence = evidence_for(gelu_mlp(10, 20, 4), (10,))
    values = [PairAscent(restarts=8, steps=s).compute(evidence, CTX).value for s in (0, 10, 40)]
    assert values == sorted(values)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("radius", [0.0093, 0.05])
def test_pairs_stay_in_the_ball_when_they_are_rounded(dtype: torch.dtype, radius: float) -> None:
    # Slope 1 inside, 101 beyond the rim: (0.59 + radius) has no exact form in half precision.
    for centre in (0.5901, 0.633, 0.7177):
        evidence = evidence_for(nn.Identity(), (1,), norm="linf", dtype=dtype, radius=radius)
        evidence = dataclasses.replace(evidence, points=torch.tensor([[centre]]))
        rim = float(evidence.points) + radius
        net = Formula(lambda x, rim=rim: x + 100 * torch.relu(x - rim))
        evidence = dataclasses.replace(evidence, probe=Probe(net, (1,), dtype))
        value = PairAscent(restarts=8, steps=30).compute(evidence, CTX)
        assert value.value <= 1
        if dtype in (torch.float32, torch.float64):
            assert value.value == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_pairs_stay_in_a_box_whose_end_has_no_exact_form(dtype: torch.dtype) -> None:
    net = Formula(lambda x: x + 1000 * torch.relu(x - 0.1))
    evidence = evidence_for(net, (1,), high=0.1, dtype=dtype)
    value = PairAscent(restarts=8, steps=40).compute(evidence, CTX)
    assert value.value <= 1
    assert max(value.extras["witness"]["x"][0], value.extras["witness"]["y"][0]) <= 0.1


def test_the_way_up_and_the_winner_are_reported() -> None:
    evidence = evidence_for(gelu_mlp(70, 20, 4), (70,))
    extras = PairAscent(restarts=6, steps=150).compute(evidence, CTX).extras
    trace = extras["trace"]
    assert len(trace["step"]) == len(trace["best"]) <= 64
    assert (trace["step"][0], trace["step"][-1]) == (0, 150)
    assert trace["best"] == sorted(trace["best"])
    assert trace["best"][-1] == extras["per_restart"][-1]
    found = extras["witness"]
    assert 0 <= found["restart"] < 6
    assert 0 <= found["step"] <= 150
    assert len(found["sha256_x"]) == 64
