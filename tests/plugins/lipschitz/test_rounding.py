# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from lipbench_lipschitz.rounding import MOVED_PROBES, PROBES, Reference, d_min, lengths, probe_inputs
from searched_networks import Formula, all_pairs, evidence_for, exact_outputs, gelu_mlp, staircase
from torch import nn


def relu_mlp(*sizes: int) -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_bound_covers_the_distance_to_exact_arithmetic_without_being_wildly_loose() -> None:
    net = relu_mlp(12, 40, 40, 5)
    evidence = evidence_for(net, (12,), count=6)
    x, _ = all_pairs(evidence)
    out, error = Reference(evidence)(x)
    for i, row in enumerate(x):
        exact = exact_outputs(net, row)
        true = math.sqrt(sum(float(Fraction(v) - t) ** 2 for v, t in zip(out[i].tolist(), exact, strict=True)))
        assert 0 < true <= float(error[i]) < 1e-12


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_bound_covers_float32_rounding_when_scaled_to_it(norm: str) -> None:
    # The same analysis with u = 2^-24 must cover what float32 does, in each norm of the outputs.
    evidence = evidence_for(gelu_mlp(30, 50, 20), (30,), norm=norm)  # type: ignore[arg-type]
    x, _ = all_pairs(evidence)
    out, error = Reference(evidence)(x)
    seen = lengths(evidence.probe(x).double() - out, norm)
    assert bool((seen > 0).all())
    assert bool((seen <= error * 2.0**29).all())


def test_small_network_of_the_literature_has_an_error_near_1e_10() -> None:
    reference = Reference(evidence_for(gelu_mlp(3072, 256, 256, 128, scale=1 / 255), (3072,), high=255.0))
    assert reference.rigorous
    _, error = reference(255 * torch.rand((4, 3072), generator=torch.Generator().manual_seed(0)))
    assert 1e-11 < float(error.max()) < 3e-10


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Dropout(), nn.Sequential(nn.Linear(3, 2))), (2, 2)),
        (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.LeakyReLU(3.0)), (4,)),
        (staircase(), (3,)),
    ],
)
def test_plain_chains_are_rigorous(module: nn.Module, shape: tuple[int, ...]) -> None:
    evidence = evidence_for(module, shape)
    reference = Reference(evidence)
    assert reference.rigorous
    x, _ = all_pairs(evidence)
    out, error = reference(x)
    assert torch.allclose(out, evidence.probe.at(torch.float64)(x), rtol=1e-14)
    assert bool((error > 0).all())


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)), (1, 4, 4)),
        (nn.Sequential(nn.Linear(4, 3), nn.Softplus()), (4,)),
        (Formula(lambda x: x * x), (2,)),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (4,)),
    ],
)
def test_other_networks_are_estimated(module: nn.Module, shape: tuple[int, ...]) -> None:
    evidence = evidence_for(module, shape)
    reference = Reference(evidence)
    assert not reference.rigorous
    q = probe_inputs(evidence).float()
    still = evidence.probe.at(torch.float64)(q)
    gap = float((evidence.probe(q).double() - still).norm(dim=1).max())
    assert reference.noise_floor() == gap
    x, _ = all_pairs(evidence)
    _, error = reference(x)
    assert error.tolist() == [reference.estimate] * len(x)
    # Never below what float32 says, and far below what float32 would err where nothing cancels.
    assert 4 * 2.0**-29 * gap <= reference.estimate < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [1e4, 1e8, 1e14])
def test_estimate_sees_rounding_that_float32_does_not_show(offset: float, dtype: torch.dtype) -> None:
    # float32 loses x itself from an offset of 1e8 on, so its error stops growing where that of float64 does not.
    net = Formula(lambda x: torch.cat([(x + offset) - offset, x], 1))
    evidence = evidence_for(net, (1,), dtype=dtype)
    out, error = Reference(evidence)(torch.rand((200, 1), generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    worst = float((out[:, 0] - out[:, 1]).abs().max())
    assert worst > 0.4 * math.ulp(offset)
    assert worst < float(error.min()) < 50 * worst


def test_estimate_sees_operations_in_place_and_leaves_the_network_as_it_is() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.tensor([1e12]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.clone()
            y += self.shift.contiguous()
            y.sub_(self.shift)
            low, high = y.chunk(2, 1)
            return torch.cat([high, low], 1)

    evidence = evidence_for(InPlace(), (4,))
    reference = Reference(evidence)
    x, _ = all_pairs(evidence)
    before = evidence.probe.at(torch.float64)(x)
    assert 2.0**-14 < reference.estimate < 2.0**-8  # a unit in the last place of 1e12 is 2^-13
    assert torch.equal(reference(x)[0], before)


def test_estimate_is_paid_for_once_and_by_each() -> None:
    evidence = evidence_for(Formula(lambda x: x * x), (2,))
    x, _ = all_pairs(evidence)
    for turn in (1, 2):
        reference = Reference(evidence)
        reference.noise_floor()
        reference(x)
        reference(x)
        assert evidence.probe.meter.forwards == turn * (2 * PROBES + MOVED_PROBES + 2 * len(x))
    first, second = Reference(evidence), Reference(evidence_for(Formula(lambda x: x * x), (2,)))
    assert first.estimate == second.estimate > 0


def test_noise_floor_grows_as_precision_falls() -> None:
    net = gelu_mlp(100, 50, 20)
    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    floors = [Reference(evidence_for(net, (100,), dtype=d)).noise_floor() for d in kinds]
    assert floors == sorted(floors)
    assert floors[2] > 100 * floors[1]


def test_probe_inputs_lie_in_the_box_and_are_all_different() -> None:
    evidence = evidence_for(nn.Linear(3, 2), (3,), low=-2.0, high=5.0, count=3)
    q = probe_inputs(evidence)
    assert q.shape == (PROBES, 3)
    assert len(q.unique(dim=0)) == PROBES
    assert -2 <= float(q.min()) <= float(q.max()) <= 5


def test_resolution() -> None:
    # bfloat16, float16 and float32 of a 3072-256-256-128 network: noise, ratio, smallest sound distance.
    for noise, ratio, expected in ((1.37e-3, 3.86e-5, 7.1e3), (1.64e-4, 3.88e-5, 845), (1.07e-7, 3.89e-5, 0.55)):
        assert d_min(noise, ratio, 0.01) == pytest.approx(expected, rel=0.01)
    assert d_min(1.0, 0.0, 0.01) == math.inf
    assert d_min(0.0, 0.0, 0.01) == 0.0
