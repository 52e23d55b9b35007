# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import struct
from typing import Literal

import pytest
import torch
from exact_networks import PLANAR, relu_network
from lipbench_lipschitz.estimators.pairs import LineSearch, LineSearchJvp, RandomPairs
from lipbench_lipschitz.pairsource import GivenPairs
from lipbench_lipschitz.result import Estimator
from lipbench_lipschitz.task import ORDER, NetworkOnRegion, Norm
from searched_networks import (
    CTX,
    Formula,
    all_pairs,
    evidence_for,
    exact_square_ratio,
    gelu_mlp,
    staircase,
    unit_interval,
)
from torch import Tensor, nn

from lipbench.api import NotFinite

ALL = (RandomPairs(), LineSearch(), LineSearch(stop="published"), LineSearchJvp())
NORMS = ("l2", "l1", "linf")


def named(estimator: Estimator) -> str:
    return type(estimator).__name__ + "-" + getattr(estimator, "stop", "")


def test_published_stop_on_the_staircase_is_flagged_and_not_ranked() -> None:
    value = LineSearch(stop="published").compute(unit_interval(staircase()), CTX)
    assert value.value == 32
    assert value.unranked is not None
    assert "rounding noise" in value.unranked
    extras = value.extras
    assert (extras["k_raw"], extras["k_ref"], extras["inflation"]) == (32, 1, 32)
    assert extras["fp_artifact"] is True
    assert extras["certified"] is False
    assert extras["k_published"] == 32
    # What remains of the last pair, and of the best on the way.
    assert extras["k_cert"] == pytest.approx(1, abs=1e-5)
    assert extras["best_k_cert"] == pytest.approx(1, abs=1e-8)
    assert extras["d"] == 2.0**-15
    assert len(extras["witness"]["halves"]) == 15
    assert extras["local_exponent"] == pytest.approx(1)
    assert extras["trace"]["k_raw"] == [1.0] * 11 + [2.0, 4.0, 8.0, 16.0, 32.0]
    assert extras["trace"]["k_ref"] == [1.0] * 16


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("estimator", [RandomPairs(), LineSearch(), LineSearchJvp()], ids=named)
def test_sound_searches_see_the_identity_behind_the_staircase(estimator: Estimator, dtype: torch.dtype) -> None:
    # An offset of 10 makes steps of 2^-7 in float16 and of 2^-4 in bfloat16.
    offset = 1e4 if dtype in (torch.float32, torch.float64) else 10.0
    value = estimator.compute(unit_interval(Formula(lambda x: (x + offset) - offset), dtype), CTX)
    assert value.value == pytest.approx(1, abs=1e-6)
    assert value.value <= 1
    assert value.unranked is None


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("estimator", ALL, ids=named)
def test_linear_map_is_approached_from_below(estimator: Estimator, norm: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(2, 3)
    evidence = evidence_for(layer, (2,), count=200, norm=norm)  # type: ignore[arg-type]
    w = layer.weight.detach().double()
    top = {"l2": float(torch.linalg.matrix_norm(w, 2)), "l1": float(w.abs().sum(0).max()), "linf": float(w.abs().sum(1).max())}
    value = estimator.compute(evidence, CTX)
    assert top[norm] * 0.97 < value.value <= top[norm]


def test_all_certified_values_stay_below_exact_constants() -> None:
    for sizes, (box, *_) in PLANAR.items():
        evidence = evidence_for(relu_network(sizes), sizes[:1], low=-1.0, count=300)
        values = [e.compute(evidence, CTX).value for e in (RandomPairs(), LineSearch(), LineSearchJvp())]
        assert max(values) <= box * (1 + 1e-6)
        assert values[1] >= values[0] > 0.4 * box
        assert values[2] > 0.9 * values[1]


def test_reported_pair_has_at_least_the_reported_ratio_in_exact_arithmetic() -> None:
    net = relu_network((2, 8, 2)).requires_grad_(False)
    value = LineSearch().compute(evidence_for(net, (2,), low=-1.0, count=50), CTX)
    pair = [torch.tensor(value.extras["witness"][end], dtype=torch.float64) for end in ("x", "y")]
    assert value.extras["raw"] <= float(exact_square_ratio(net, *pair)) ** 0.5 * (1 + 1e-15)  # type: ignore[arg-type]


def test_derivative_of_the_sine() -> None:
    ends = torch.tensor([[0.0]]), torch.tensor([[math.pi / 10]])
    evidence = evidence_for(Formula(lambda x: torch.sin(10 * x)), (1,), pair=ends, dtype=torch.float64)
    for estimator in (LineSearch(), LineSearchJvp()):
        assert estimator.compute(evidence, CTX).value == pytest.approx(10, abs=1e-4)


@pytest.mark.parametrize(
    ("dtype", "epsilon", "inflation"),
    [(torch.bfloat16, 5e-5, 5), (torch.float16, 5e-5, 5), (torch.float32, 5e-5, 5), (torch.float64, 1e-14, 5)],
)
def test_published_stop_fails_in_every_precision(dtype: torch.dtype, epsilon: float, inflation: float) -> None:
    net = gelu_mlp(600, 64, 64, 32, scale=1 / 255)
    evidence = evidence_for(net, (600,), high=255.0, dtype=dtype, count=4, unit=255.0)
    published = LineSearch(stop="published", epsilon=epsilon).compute(evidence, CTX)
    sound = LineSearch(epsilon=epsilon).compute(evidence, CTX)
    assert published.unranked is not None
    assert published.value > inflation * sound.value
    assert sound.unranked is None
    assert sound.extras["inflation"] == pytest.approx(1, abs=0.02)
    assert sound.extras["k_raw"] == pytest.approx(sound.extras["k_cert"], rel=0.02)
    if dtype == torch.float64:
        # No better network to compare with: the certificate alone says it.
        assert published.extras["k_ref"] > 2 * published.extras["k_cert"]
    # Below d_min a stored pair of few digits may point in a slightly steeper direction.
    assert 0.99 < published.extras["best_k_cert"] / sound.extras["k_cert"] < 1.1


def test_derivative_needs_no_distance() -> None:
    net = gelu_mlp(600, 64, 64, 32, scale=1 / 255)
    at = {d: evidence_for(net, (600,), high=255.0, dtype=d, count=4) for d in (torch.float32, torch.float64)}
    low, high = (LineSearchJvp().compute(e, CTX) for e in at.values())
    assert low.extras["jvp_inflation"] == pytest.approx(1, abs=2e-6)
    assert low.value == pytest.approx(high.value, rel=1e-3)
    assert low.extras["k_cert"] == pytest.approx(low.extras["k_raw"], rel=1e-4)


def test_published_stop_without_artefact_is_ranked_by_its_certificate() -> None:
    torch.manual_seed(0)
    evidence = evidence_for(nn.Linear(3, 2), (3,), dtype=torch.float64)
    value = LineSearch(stop="published", epsilon=1e-3).compute(evidence, CTX)
    assert value.unranked is None
    assert value.extras["fp_artifact"] is False
    assert value.extras["raw"] == value.extras["k_cert"] <= value.extras["k_ref"] * (1 + 1e-9)


@pytest.mark.parametrize("estimator", ALL, ids=named)
def test_rerun_gives_the_same_bits_and_json(estimator: Estimator) -> None:
    evidence = evidence_for(gelu_mlp(50, 20, 5), (50,))
    first, second = estimator.compute(evidence, CTX), estimator.compute(evidence, CTX)
    assert first == second
    assert len(json.dumps(dict(first.extras), allow_nan=False)) < 20_000


@pytest.mark.parametrize("estimator", ALL, ids=named)
@pytest.mark.parametrize("norm", NORMS)
def test_pairs_stay_in_the_balls(estimator: Estimator, norm: str) -> None:
    # Steep outside the ball, flat inside: a pair that leaves it would show.
    evidence = evidence_for(Formula(lambda x: x + 100 * torch.relu((x - 0.5).abs() - 0.26)), (2,), norm=norm, radius=0.25)  # type: ignore[arg-type]
    evidence = dataclasses.replace(evidence, points=torch.full((3, 2), 0.5))
    value = estimator.compute(evidence, CTX)
    assert value.value == pytest.approx(1, abs=1e-3)
    assert (value.extras["scope"], value.extras["region"]) == ("ball", "ball(0.25)")


def test_cost_is_counted() -> None:
    evidence = evidence_for(gelu_mlp(50, 20, 5), (50,), count=6)
    assert RandomPairs(recheck=2).compute(evidence, CTX).forwards == 2 * 6 + 2 * 2
    value = LineSearch().compute(evidence, CTX)
    per_pair = [_halvings(evidence, i) for i in range(6)]
    assert value.extras["halvings"] in per_pair
    assert value.forwards < 64 + 12 + 6 * (max(per_pair) + 2) + 12 + max(per_pair) + 2 + 8 + 1
    assert value.backwards == 0


def _halvings(evidence: NetworkOnRegion, pair: int) -> int:
    x, y = evidence.pairs.take(torch.tensor([pair]))
    alone = dataclasses.replace(evidence, pairs=GivenPairs(x=x, y=y))
    return int(LineSearch().compute(alone, CTX).extras["halvings"])


def test_large_networks_are_rechecked_in_part() -> None:
    # An intermediate result of 3 MiB a row, so that a batch of 8 does not fit the cache.
    wide = Formula(lambda x: x.repeat(1, 200_000))
    evidence = evidence_for(nn.Sequential(wide, Formula(lambda v: v[:, -2:]), nn.Softplus()), (2,), count=6)
    value = LineSearch().compute(evidence, CTX)
    assert value.extras["rechecked_pairs"] == 4
    shown = value.extras["trace"]["k_ref"]
    assert sum(k is not None for k in shown) <= 8 < len(shown)
    assert value.extras["trace_in_float64"].startswith(f"{sum(k is not None for k in shown)} of")
    assert value.value <= value.extras["k_ref"]


def test_network_that_overflows_is_named() -> None:
    with pytest.raises(NotFinite, match="row"):
        LineSearch().compute(evidence_for(Formula(lambda x: x / 0), (2,)), CTX)


def test_equal_ends_do_no_harm() -> None:
    evidence = evidence_for(nn.Linear(3, 2), (3,))
    x, _ = all_pairs(evidence)
    evidence = dataclasses.replace(evidence, pairs=GivenPairs(x=x, y=x))
    for estimator in ALL:
        assert estimator.compute(evidence, CTX).value == 0


def test_constant_network_gives_zero() -> None:
    def constant(x: Tensor) -> Tensor:
        return 0 * x

    for estimator in ALL:
        assert estimator.compute(evidence_for(Formula(constant), (3,)), CTX).value == 0


@pytest.mark.parametrize("estimator", ALL, ids=named)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_of_float64_is_neither_certified_nor_ranked(estimator: Estimator, dtype: torch.dtype) -> None:
    # (x, x) in real arithmetic, K = sqrt 2; steps of 2^-6 in float64, and nothing of x left in float32.
    net = Formula(lambda x: torch.cat([(x + 1e14) - 1e14, x], 1))
    ends = torch.tensor([[0.4921876]], dtype=torch.float64), torch.tensor([[0.4921874]], dtype=torch.float64)
    value = estimator.compute(evidence_for(net, (1,), dtype=dtype, pair=ends), CTX)
    assert value.extras["certified"] is False
    assert value.extras["certificate"] == "estimated"
    if value.unranked is None:
        assert value.value <= 2**0.5
    assert value.extras["fp_artifact"] is (value.extras["k_ref"] > 0)


@pytest.mark.parametrize("estimator", ALL, ids=named)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reported_numbers_are_those_of_the_reported_pair(estimator: Estimator, dtype: torch.dtype) -> None:
    net = gelu_mlp(6, 12, 4)
    extras = estimator.compute(evidence_for(net, (6,), dtype=dtype, count=40), CTX).extras
    x, y = (torch.tensor([extras["witness"][end]], dtype=torch.float64) for end in ("x", "y"))
    outputs = net.double()(torch.cat([x, y])).detach()
    assert extras["d"] == pytest.approx(float((x - y).norm()), rel=1e-12)
    assert extras["k_ref"] == pytest.approx(float((outputs[0] - outputs[1]).norm() / (x - y).norm()), rel=1e-6)
    assert 0 <= extras["k_cert"] <= extras["k_ref"]


@pytest.mark.parametrize("stop", ["d_min", "published"])
def test_witness_of_a_line_search_leads_to_its_pair(stop: Literal["d_min", "published"]) -> None:
    evidence = evidence_for(gelu_mlp(6, 12, 4), (6,), count=20)
    extras = LineSearch(stop=stop).compute(evidence, CTX).extras
    found = extras["witness"]
    x, y = evidence.pairs.take(torch.tensor([found["pair"]]))
    for half in found["halves"]:
        middle = (x + y) * 0.5
        x, y = (x, middle) if half == "L" else (middle, y)
    assert found["x"] == x.double().flatten().tolist()
    assert found["y"] == y.double().flatten().tolist()
    assert found["pair"] == extras["pair"]


@pytest.mark.parametrize("estimator", ALL, ids=named)
def test_large_witness_is_named_and_hashed(estimator: Estimator) -> None:
    evidence = evidence_for(gelu_mlp(70, 12, 4), (70,), count=9)
    found = estimator.compute(evidence, CTX).extras["witness"]
    assert 0 <= found["pair"] < 9
    assert "x" not in found
    assert len(found["sha256_x"]) == len(found["sha256_y"]) == 64
    assert 0 < found["norm_y"] < 70
    if isinstance(estimator, RandomPairs):
        x, _ = evidence.pairs.take(torch.tensor([found["pair"]]))
        assert found["sha256_x"] == hashlib.sha256(struct.pack("<70d", *x[0].tolist())).hexdigest()


def test_derivative_search_shows_the_way_of_its_pair() -> None:
    evidence = evidence_for(gelu_mlp(6, 12, 4), (6,), count=20)
    extras = LineSearchJvp().compute(evidence, CTX).extras
    trace = extras["trace"]
    assert len(trace["d"]) == len(trace["k_raw"]) == extras["halvings"] + 1 == len(extras["witness"]["halves"]) + 1
    assert trace["d"][-1] == extras["d_search"]
    assert trace["d"] == sorted(trace["d"], reverse=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("estimator", ALL, ids=named)
def test_reported_pairs_lie_in_a_ball_also_in_low_precision(estimator: Estimator, norm: Norm, dtype: torch.dtype) -> None:
    evidence = evidence_for(gelu_mlp(4, 8, 3), (4,), low=-1.0, norm=norm, dtype=dtype, radius=0.1)
    extras = estimator.compute(evidence, CTX).extras
    if extras["certified"]:
        ends = torch.tensor([extras["witness"]["x"], extras["witness"]["y"]], dtype=torch.float64)
        away = torch.cdist(ends, evidence.points.double(), p=ORDER[norm])
        assert float(away.amax(0).min()) <= 0.1
