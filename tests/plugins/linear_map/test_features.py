# SPDX-License-Identifier: Apache-2.0
"""Fourier features of embeddings: what transforms must satisfy, and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from lipbench_linear_map.features import Embedding, Feature, MagnitudeSpectrum, PhaseCosSin, PhaseSpectrum
from torch import Tensor

ALL: tuple[Feature, ...] = (Embedding(), MagnitudeSpectrum(), PhaseSpectrum(), PhaseCosSin())


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("feature", ALL, ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("d", [1, 2, 7, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_widths_and_precision(feature: Feature, d: int, dtype: torch.dtype) -> None:
    z = normal(5, d).to(dtype)
    found = feature(z)
    width = {Embedding: d, MagnitudeSpectrum: d // 2 + 1, PhaseSpectrum: d // 2 + 1, PhaseCosSin: 2 * (d // 2 + 1)}
    assert found.shape == (5, width[type(feature)])
    assert found.dtype == dtype
    torch.testing.assert_close(feature(z[2:3]), found[2:3])


@pytest.mark.parametrize("d", [15, 16])
def test_parseval_and_the_half_that_the_full_transform_repeats(d: int) -> None:
    z = normal(10, d)
    half = MagnitudeSpectrum()(z)
    twice = torch.full((half.shape[1],), 2.0, dtype=torch.float64)
    twice[0] = 1
    if d % 2 == 0:
        twice[-1] = 1
    torch.testing.assert_close((half.square() * twice).sum(1) / d, z.square().sum(1), rtol=1e-14, atol=0)
    full = torch.fft.fft(z)
    torch.testing.assert_close(full.abs()[:, 1:], full.abs()[:, 1:].flip(1), rtol=1e-13, atol=0)
    k = range(1, (d + 1) // 2)
    phases = PhaseSpectrum()(z)
    torch.testing.assert_close(phases[:, k], -full.angle()[:, [d - i for i in k]], rtol=0, atol=1e-13)


def test_magnitudes_have_half_the_rank() -> None:
    assert int(torch.linalg.matrix_rank(torch.fft.fft(normal(100, 16)).abs())) == 9
    assert int(torch.linalg.matrix_rank(MagnitudeSpectrum()(normal(100, 16)))) == 9


def test_the_first_magnitude_is_the_largest_where_nothing_is_negative() -> None:
    assert bool((MagnitudeSpectrum()(normal(50, 20).relu()).argmax(1) == 0).all())


def test_a_cyclic_shift_keeps_magnitudes_and_another_order_does_not() -> None:
    z = normal(20, 16)
    magnitudes = MagnitudeSpectrum()(z)
    torch.testing.assert_close(MagnitudeSpectrum()(z.roll(3, 1)), magnitudes, rtol=0, atol=1e-13)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    assert float((MagnitudeSpectrum()(z[:, order]) - magnitudes).abs().max()) > 1


def test_phases_give_the_transform_back() -> None:
    z = normal(20, 11)
    phases, both = PhaseSpectrum()(z), PhaseCosSin()(z)
    torch.testing.assert_close(torch.polar(MagnitudeSpectrum()(z), phases), torch.fft.rfft(z), rtol=0, atol=1e-13)
    torch.testing.assert_close(both, torch.cat([phases.cos(), phases.sin()], 1), rtol=0, atol=0)


def test_a_negative_sum_has_the_phase_pi_never_minus_pi() -> None:
    for d in range(1, 20):
        phases = PhaseSpectrum()(-normal(30, d).abs())
        assert bool((phases[:, 0] == math.pi).all())


@pytest.mark.parametrize("feature", ALL[1:], ids=lambda f: type(f).__name__)
def test_gradients_are_right_and_finite_at_zero(feature: Feature) -> None:
    z = normal(3, 7).requires_grad_()
    assert torch.autograd.gradcheck(feature, (z,))
    for shape in ((2, 8), (2, 1)):
        zero = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(feature(zero).sum(), zero)
        assert float(gradient.abs().max()) == 0
    flat = torch.ones((1, 8), dtype=torch.float64, requires_grad=True)  # all but the first bin is 0
    (gradient,) = torch.autograd.grad(feature(flat).sum(), flat)
    assert bool(torch.isfinite(gradient).all())
