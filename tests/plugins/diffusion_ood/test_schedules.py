# SPDX-License-Identifier: Apache-2.0
"""Forward processes against published constants, their differential equations, and the diffusers library."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_diffusion_ood.schedules import VE, VP, DiscreteLinear, SubVP, first_time, make_schedule, times_at

from lipbench.api import InvalidInput

PROCESSES = ["ddpm", "vp", "subvp", "ve"]


def at(t: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor([t], dtype=dtype)


def test_constants_of_the_continuous_processes() -> None:
    assert float(VP().mean(at(1))) == pytest.approx(0.0065716, abs=5e-8)
    assert float(SubVP().mean(at(1))) == pytest.approx(0.0065716, abs=5e-8)
    assert float(SubVP().std(at(1))) == pytest.approx(0.999957, abs=5e-7)
    assert float(SubVP().std(at(1e-3))) == pytest.approx(1.099e-4, abs=5e-8)
    assert float(VP().std(at(1e-3))) == pytest.approx(0.010485, abs=5e-7)
    assert float(VE().std(at(1))) == pytest.approx(50, rel=1e-12)
    assert float(VE().diffusion(at(0.5))) == pytest.approx(0.01 * math.sqrt(5000) * math.sqrt(2 * math.log(5000)), rel=1e-12)


@pytest.mark.parametrize(
    ("t", "signal", "noise", "discrete"),
    [(0.25, 0.7237, 0.476, 0.7239), (0.5, 0.2812, 0.921, 0.2803), (0.75, 0.0587, 0.997, 0.0579)],
)
def test_signal_left_at_the_levels_of_denoising(t: float, signal: float, noise: float, discrete: float) -> None:
    assert float(VP().mean(at(t))) == pytest.approx(signal, abs=5.1e-5)
    assert float(SubVP().std(at(t))) == pytest.approx(noise, abs=5.1e-4)
    assert float(DiscreteLinear().mean(at(t))) == pytest.approx(discrete, abs=5.1e-5)


def test_linear_chain_ends_in_noise() -> None:
    chain = DiscreteLinear()
    assert float(chain.abar(1000)) == pytest.approx(4.0e-5, abs=5e-7)
    assert float(chain.abar(0)) == 1
    assert float(DiscreteLinear(T=100, beta_start=1e-3, beta_end=0.2).abar(100)) == pytest.approx(2.0e-5, abs=5e-7)


def test_chains_that_keep_signal_are_refused() -> None:
    with pytest.raises(
        InvalidInput, match=r"T=100.*abar_T = 0\.364.*write larger betas such as beta_start=0\.001, beta_end=0\.2"
    ):
        DiscreteLinear(T=100)
    with pytest.raises(InvalidInput, match="larger b1"):
        make_schedule("vp", b1=2.0)
    with pytest.raises(InvalidInput, match="larger sigma_max"):
        make_schedule("ve", sigma_max=5.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_grid_points_of_the_chain_are_exact(dtype: torch.dtype) -> None:
    chain = DiscreteLinear()
    k = torch.arange(1, 1001)
    abar = chain.abar(k)
    t = k.to(dtype) / 1000
    torch.testing.assert_close(chain.mean(t), abar.sqrt().to(dtype), rtol=torch.finfo(dtype).eps, atol=0)
    torch.testing.assert_close(chain.std(t), (1 - abar).sqrt().to(dtype), rtol=1e-6, atol=0)
    assert torch.equal(chain.drift(t), (500.0 * torch.log1p(-chain.betas)).to(dtype))


def test_chain_is_that_of_diffusers() -> None:
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear").alphas_cumprod
    torch.testing.assert_close(DiscreteLinear().abar(torch.arange(1, 1001)).float(), theirs, rtol=2e-5, atol=0)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(process=st.sampled_from(PROCESSES), position=st.integers(1, 998))
def test_moments_solve_their_differential_equations(process: str, position: int) -> None:
    schedule, t, h = make_schedule(process), (position + 0.5) / 1000, 1e-6  # inside a step of the chain
    c, std = schedule.mean(at(t)), schedule.std(at(t))
    dc = (schedule.mean(at(t + h)) - schedule.mean(at(t - h))) / (2 * h)
    dvar = (schedule.std(at(t + h)).square() - schedule.std(at(t - h)).square()) / (2 * h)
    torch.testing.assert_close(dc, schedule.drift(at(t)) * c, rtol=1e-5, atol=1e-7)
    expected = 2 * schedule.drift(at(t)) * std.square() + schedule.diffusion(at(t)).square()
    torch.testing.assert_close(dvar, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("process", PROCESSES)
def test_noise_grows_and_dtypes_are_kept(process: str) -> None:
    schedule = make_schedule(process)
    t = torch.linspace(schedule.t_min, 1, 997, dtype=torch.float64)
    ratio = schedule.std(t) / schedule.mean(t)
    assert bool((ratio.diff() > 0).all())
    for value in (schedule.mean, schedule.std, schedule.drift, schedule.diffusion):
        assert value(t.float()).dtype == torch.float32
        assert value(t).dtype == torch.float64
    torch.testing.assert_close(schedule.mean(t.float()).double(), schedule.mean(t), rtol=2e-5, atol=0)
    torch.testing.assert_close(schedule.std(t.float()).double(), schedule.std(t), rtol=2e-5, atol=0)


@pytest.mark.parametrize("process", PROCESSES)
def test_times_at_inverts_the_ratio(process: str) -> None:
    schedule = make_schedule(process)
    t = torch.linspace(first_time(schedule), 1, 101, dtype=torch.float64)
    log_ratio = torch.log(schedule.std(t) / schedule.mean(t))
    torch.testing.assert_close(times_at(schedule, log_ratio), t, rtol=1e-9, atol=1e-13)
    ends = times_at(schedule, torch.tensor([-100.0, 100.0]))
    assert ends.tolist() == pytest.approx([schedule.t_min, 1.0], rel=1e-12)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(InvalidInput, match="'cosine'; write one of ddpm, vp, subvp, ve"):
        make_schedule("cosine")
    with pytest.raises(InvalidInput, match="beta_end=2"):
        DiscreteLinear(beta_end=2.0)
    with pytest.raises(InvalidInput, match="b0=0"):
        VP(b0=0.0)
    with pytest.raises(InvalidInput, match="sigma_min < sigma_max"):
        VE(sigma_min=60.0)
