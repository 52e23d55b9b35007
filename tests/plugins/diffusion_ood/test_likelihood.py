# SPDX-License-Identifier: Apache-2.0
"""Log-likelihoods by the probability-flow equation against Gaussian densities."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from lipbench_diffusion_ood.base import Denoiser
from lipbench_diffusion_ood.likelihood import bits_per_dim, log_likelihood
from lipbench_diffusion_ood.models.exact import GaussianExact
from lipbench_diffusion_ood.schedules import first_time
from torch import Tensor
from torch.distributions import MultivariateNormal

from lipbench.api import Context, DataSpec, InvalidInput, NotFinite

CTX = Context(scope="test", seed=0)
MEAN = torch.tensor([0.1, -0.2, 0.3, 0.0], dtype=torch.float64)
ROOT = torch.tensor([[0.7, 0, 0, 0], [0.2, 0.6, 0, 0], [-0.1, 0.2, 0.6, 0], [0.1, 0, -0.2, 0.5]], dtype=torch.float64)
COVARIANCE = ROOT @ ROOT.T
Process = Literal["ddpm", "vp", "subvp", "ve"]


def model_of(process: Process, mean: Tensor = MEAN, covariance: Tensor = COVARIANCE) -> GaussianExact:
    model = GaussianExact(process=process)
    model.assume(mean, covariance)
    return model


def images(count: int, seed: int = 0) -> Tensor:
    """Draws of the Gaussian, as images in [0, 1]."""
    z = torch.randn(count, 4, generator=Context(scope="images", seed=seed).generator(), dtype=torch.float64)
    return ((MEAN + z @ ROOT.T + 1) / 2).reshape(-1, 1, 2, 2)


def density(x: Tensor, mean: Tensor = MEAN, covariance: Tensor = COVARIANCE) -> Tensor:
    return MultivariateNormal(mean, covariance).log_prob((2 * x - 1).flatten(1))


@pytest.mark.parametrize("process", ["vp", "subvp"])
def test_adaptive_solver_gives_the_gaussian_density(process: Process) -> None:
    x, mean = images(3), torch.zeros(4, dtype=torch.float64)  # a mean would leave its trace in the prior, c(1) of it
    nats, passes = log_likelihood(model_of(process, mean), x, exact_trace=True, method="rk45", ctx=CTX)
    torch.testing.assert_close(nats, density(x, mean), rtol=0, atol=5e-4)
    assert 200 < passes < 400  # 40 to 80 evaluations, each of one forward and four backwards


def test_standard_normal_stays_what_it_is() -> None:
    model = model_of("vp", torch.zeros(4), torch.eye(4))
    x = images(2)
    nats, _ = log_likelihood(model, x, exact_trace=True, method="rk45", ctx=CTX)
    expected = density(x, torch.zeros(4).double(), torch.eye(4).double())
    torch.testing.assert_close(nats, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("process", ["ddpm", "vp", "subvp", "ve"])
def test_heun_is_of_second_order(process: Process) -> None:
    model, x = model_of(process), images(4)
    # The density of images with the noise of the first level, which is where the path begins.
    start = torch.tensor(first_time(model.schedule), dtype=torch.float64)
    c, std = model.schedule.mean(start), model.schedule.std(start)
    expected = density(x, c * MEAN, c**2 * COVARIANCE + std**2 * torch.eye(4))
    errors = []
    for intervals in (20, 40, 80):
        nats, passes = log_likelihood(model, x, exact_trace=True, intervals=intervals, ctx=CTX)
        errors.append(float((nats - expected).abs().max()))
        assert passes == 2 * intervals * 5
    assert errors[1] < 0.2
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.7)
    assert errors[1] / errors[2] > 3  # what the prior leaves out does not shrink


def test_random_probes_estimate_the_exact_trace() -> None:
    model, x = model_of("vp"), images(1)
    exact, _ = log_likelihood(model, x, exact_trace=True, intervals=10, ctx=CTX)
    blocks = [log_likelihood(model, x, intervals=10, probes=20, ctx=Context(scope="t", seed=seed))[0] for seed in range(20)]
    found = torch.cat(blocks)
    error = float(found.std() / math.sqrt(len(found)))
    assert abs(float(found.mean() - exact)) < 2 * error
    assert error < 0.05
    assert log_likelihood(model, x, intervals=10, probes=20, ctx=CTX)[1] == 20 * 21


def test_probes_hang_on_the_image_and_the_seed_alone() -> None:
    model, x = model_of("ddpm"), images(7)
    together, _ = log_likelihood(model, x, intervals=8, ctx=CTX)
    again, _ = log_likelihood(model, x, intervals=8, ctx=Context(scope="another"))
    assert torch.equal(together, again)
    alone = torch.cat([log_likelihood(model, x[k : k + 1], intervals=8, ctx=CTX)[0] for k in (6, 2)])
    torch.testing.assert_close(together[[6, 2]], alone, rtol=1e-12, atol=1e-12)
    reseeded, _ = log_likelihood(model, x, intervals=8, ctx=Context(scope="test", seed=1))
    assert not torch.allclose(together, reseeded)


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = model_of("vp"), images(7)
    whole, passes = log_likelihood(model, x, intervals=5, ctx=CTX)
    monkeypatch.setattr("lipbench_diffusion_ood.likelihood.BATCH_VALUES", 12)
    split, same = log_likelihood(model, x, intervals=5, ctx=CTX)
    torch.testing.assert_close(whole, split, rtol=1e-12, atol=1e-12)
    assert passes == same == 20


def test_works_within_inference_mode_and_on_no_images() -> None:
    model, x = model_of("vp"), images(2)
    with torch.inference_mode():
        inside, _ = log_likelihood(model, x.clone(), intervals=5, ctx=CTX)
    assert torch.equal(inside.clone(), log_likelihood(model, x, intervals=5, ctx=CTX)[0])
    assert log_likelihood(model, x[:0], ctx=CTX)[0].shape == (0,)


@pytest.mark.parametrize("dimension", [4, 3072])
def test_uniform_density_costs_eight_bits(dimension: int) -> None:
    nats = torch.full((2,), -dimension * math.log(2), dtype=torch.float64)
    assert bits_per_dim(nats, dimension).tolist() == pytest.approx([8, 8])


class _Broken(Denoiser):
    schedule = GaussianExact(process="vp").schedule

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Nothing."""

    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        return x * torch.where(x[:1] > 5, math.nan, 1.0)


def test_misuse_is_named() -> None:
    with pytest.raises(InvalidInput, match="64 pixels at most, the images have 81"):
        log_likelihood(model_of("vp"), torch.zeros(1, 1, 9, 9), exact_trace=True, ctx=CTX)
    with pytest.raises(InvalidInput, match="intervals"):
        log_likelihood(model_of("vp"), images(1), intervals=0, ctx=CTX)
    with pytest.raises(NotFinite, match="image 0 is nan"):
        log_likelihood(_Broken(), torch.full((2, 1, 2, 2), 9.0), ctx=CTX)
