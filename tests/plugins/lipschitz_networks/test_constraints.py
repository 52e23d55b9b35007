# SPDX-License-Identifier: Apache-2.0
"""Normalised kernels: fixed points, the factors of convolutions, agreement with deel-torchlip."""

from __future__ import annotations

import math

import pytest
import torch
from lip_cases import context, orthonormal_error
from lipbench_lipschitz_networks.constraints import Orthonormal, bjorck, conv_factor, power_iteration, settle
from lipbench_lipschitz_networks.layers import conv, dense, layer_norm, plain, seeded, torchlip
from lipbench_lipschitz_networks.models.single import LipLayer
from torch import nn

from lipbench.api import DataSpec


def _map(start: float, steps: int) -> float:
    return float(bjorck(torch.tensor([[start]], dtype=torch.float64), steps))


@pytest.mark.parametrize(("start", "end"), [(0.5, 1.0), (1.0, 1.0), (1.7, 1.0), (1.8, -1.0), (2.1, -1.0), (0.0, 0.0)])
def test_singular_values_go_to_the_fixed_points(start: float, end: float) -> None:
    assert _map(start, 40) == pytest.approx(end, abs=1e-12)


def test_a_small_singular_value_grows_by_half_a_step() -> None:
    for steps in (1, 5, 10):
        assert 0.98 * 1.5**steps <= _map(1e-4, steps) / 1e-4 <= 1.5**steps


def test_a_singular_value_above_root_five_diverges() -> None:
    assert abs(_map(2.3, 6)) > 1e6


@pytest.mark.parametrize("shape", [(20, 6), (6, 20), (8, 8)])
def test_kernels_are_orthonormal_after_settling(shape: tuple[int, int]) -> None:
    with seeded(context()):
        layer = dense(shape[1], shape[0], "bjorck", bias=True, k=1.0, niter=(3, 15))
    layer.parametrizations["weight"].original.data.add_(0.3)  # what a step of an optimiser may do
    settle(layer)
    assert orthonormal_error(layer.weight.detach()) < 1e-5


def test_few_power_iterations_leave_a_norm_above_one_without_bjorck() -> None:
    W = torch.diag(torch.tensor([1.0, 0.99]))
    u = torch.tensor([0.1, 1.0])
    sigma, _ = power_iteration(W, u / u.norm(), 3)
    assert float(torch.linalg.matrix_norm(W / sigma, 2)) > 1.001
    assert float(torch.linalg.matrix_norm(bjorck(W / sigma, 15), 2)) == pytest.approx(1, abs=1e-6)


def test_the_estimate_is_kept_from_step_to_step() -> None:
    W = torch.diag(torch.tensor([1.0, 0.97, 0.5]))
    part = Orthonormal(torch.eye(3), niter_spectral=1, niter_bjorck=0)
    part.u = torch.ones(3) / math.sqrt(3)
    norms = [float(torch.linalg.matrix_norm(part(W), 2)) for _ in range(200)]
    assert norms[0] > norms[20] > norms[-1] == pytest.approx(1, abs=1e-4)


def test_the_factor_is_that_of_deel_torchlip() -> None:
    from deel.torchlip.utils.lconv_norm import compute_lconv_coef

    for size in ((14, 14), (28, 20)):
        assert conv_factor("deel", 3, size) == pytest.approx(compute_lconv_coef((3, 3), (1, 1, *size)))
    assert conv_factor("strict", 3, (14, 14)) == pytest.approx(compute_lconv_coef((3, 3)))


def test_the_factor_of_the_source_is_no_bound() -> None:
    spec = DataSpec(shape=(1, 14, 14), low=0, high=1)
    layer = LipLayer(of="conv", conv_bound="deel", units=16).make(spec, context())[0]
    # Orthonormal rows 1 -> 16 make the operator three times an isometry inside; the factor is 0.35.
    assert layer_norm(layer, (1, 14, 14)) == pytest.approx(3 * conv_factor("deel", 3, (14, 14)), rel=1e-4)
    assert layer_norm(layer, (1, 14, 14)) > 1.04


@pytest.mark.parametrize(("side", "above"), [(14, True), (8, True), (6, False)])
def test_the_factor_of_the_source_with_equal_weights(side: int, above: bool) -> None:
    layer = LipLayer(of="conv", units=1, kernel="ones").make(DataSpec(shape=(1, side, side), low=0, high=1), context())[0]
    # The operator is a Kronecker product of two tridiagonal matrices of ones, with eigenvalue 1 + 2 cos(pi / (n + 1)).
    exact = (1 + 2 * math.cos(math.pi / (side + 1))) ** 2 / 3 * conv_factor("deel", 3, (side, side))
    assert layer_norm(layer, (1, side, side)) == pytest.approx(exact, rel=1e-5)
    assert (exact > 1) == above


@pytest.mark.parametrize(("bound", "inputs", "outputs"), [("strict", 1, 4), ("strict", 3, 2), ("power_iteration", 2, 3)])
def test_sound_convolutions_are_at_most_one(bound: str, inputs: int, outputs: int) -> None:
    with seeded(context()):
        module = nn.Sequential(conv(inputs, outputs, (6, 6), "bjorck", bound, bias=False, k=1.0, niter=(3, 15)))
    settle(module)
    norm = layer_norm(plain(module)[0], (inputs, 6, 6))
    assert norm <= 1 + 1e-5
    assert bound == "strict" or norm > 0.999


def test_deel_torchlip_normalises_the_same_kernel_to_the_same() -> None:
    with seeded(context()):
        theirs = torchlip().SpectralLinear(12, 5)
        ours = dense(12, 5, "bjorck", bias=True, k=1.0, niter=(3, 15))
        raw = torch.randn(5, 12)
    theirs.parametrizations["weight"].original.data.copy_(raw)
    ours.parametrizations["weight"].original.data.copy_(raw)
    settle(theirs)
    settle(ours)
    assert torch.allclose(theirs.weight, ours.weight, atol=1e-4)
