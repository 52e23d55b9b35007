# SPDX-License-Identifier: Apache-2.0
"""The denoiser of Gaussian data against direct formulas and the exact probability-flow map."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from lipbench_basics.datasets.digits import Digits
from lipbench_basics.datasets.gaussfield import GaussField, field_covariance
from lipbench_diffusion_ood.models.exact import GaussianExact
from lipbench_diffusion_ood.schedules import make_schedule, times_at

from lipbench.api import Context, DataSpec, InvalidInput, NotApplicable

CTX = Context(scope="test", seed=0)
PROCESSES = ["ddpm", "vp", "subvp", "ve"]


def random_covariance(size: int) -> torch.Tensor:
    root = torch.randn(size, size, generator=CTX.generator("root"), dtype=torch.float64)
    return root @ root.T / size


@pytest.mark.parametrize("process", PROCESSES)
def test_noise_is_that_of_the_formula(process: str) -> None:
    mean, covariance = torch.linspace(-0.5, 0.5, 12, dtype=torch.float64), random_covariance(12)
    model = GaussianExact(process=process)  # type: ignore[arg-type]
    model.assume(mean, covariance)
    x = torch.randn(5, 3, 2, 2, generator=CTX.generator("x"), dtype=torch.float64)
    t = torch.tensor([0.01, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    found = model.eps(x, t)
    for row in range(5):
        c, std = model.schedule.mean(t)[row], model.schedule.std(t)[row]
        mixed = c**2 * covariance + std**2 * torch.eye(12, dtype=torch.float64)
        expected = std * torch.linalg.solve(mixed, x[row].flatten() - c * mean)
        torch.testing.assert_close(found[row].flatten(), expected, rtol=1e-9, atol=1e-9)
    assert model.eps(x.float(), t.float()).dtype == torch.float32


@pytest.mark.parametrize("covariance", [0.0, 1.0])
def test_point_mass_and_standard_normal(covariance: float) -> None:
    model = GaussianExact(process="vp")
    model.assume(torch.full((4,), 0.25), covariance * torch.eye(4))
    noise = torch.randn(3, 1, 2, 2, generator=CTX.generator("noise"), dtype=torch.float64)
    t = torch.full((3,), 0.3, dtype=torch.float64)
    c, std = model.schedule.mean(t)[0], model.schedule.std(t)[0]
    x = c * 0.25 + std * noise
    expected = noise if covariance == 0 else std * (x - c * 0.25)
    torch.testing.assert_close(model.eps(x, t), expected)


Slope = Callable[[float, int], float]


def heun(f: Slope, x: float, k: int, h: float) -> float:
    k1 = f(x, k)
    return x + h / 2 * (k1 + f(x + h * k1, k + 2))


def rk4(f: Slope, x: float, k: int, h: float) -> float:
    k1 = f(x, k)
    k2 = f(x + h / 2 * k1, k + 1)
    k3 = f(x + h / 2 * k2, k + 1)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + f(x + h * k3, k + 2))


RULES = {"heun": heun, "rk4": rk4}


def endpoint_error(rule: str, n: int) -> float:
    """Error at the first level of the chain after n steps of a rule in r = std / c from x = 1.7 at t = 1; mean .3, sd .5.

    The levels are uniform in log r; every second entry of `nodes` is one, with the middles of the steps between them.
    """
    model = GaussianExact()
    model.assume(torch.tensor([0.3]), torch.tensor([[0.25]]))
    schedule = make_schedule("ddpm")
    ends = torch.tensor([1.0, schedule.t_min], dtype=torch.float64)
    levels = torch.logspace(
        *torch.log(schedule.std(ends) / schedule.mean(ends)).tolist(), n + 1, base=math.e, dtype=torch.float64
    )
    nodes = torch.empty(2 * n + 1, dtype=torch.float64)
    nodes[::2], nodes[1::2] = levels, (levels[1:] + levels[:-1]) / 2
    times = times_at(schedule, torch.log(nodes))
    signal = schedule.mean(times)

    def slope(state: float, k: int) -> float:
        return float(model.eps((signal[k] * state).reshape(1, 1, 1, 1), times[k : k + 1]))

    state = start = 1.7 / float(signal[0])
    for k in range(0, 2 * n, 2):
        state = RULES[rule](slope, state, k, float(nodes[k + 2] - nodes[k]))
    exact = 0.3 + (start - 0.3) * math.hypot(0.5, float(nodes[-1])) / math.hypot(0.5, float(nodes[0]))
    return abs(state - exact)


@pytest.mark.parametrize(
    ("rule", "n", "error", "unit"),
    [
        ("heun", 10, 0.129, 1e-3),
        ("heun", 20, 0.0282, 1e-4),
        ("heun", 40, 6.6e-3, 1e-4),
        ("heun", 80, 1.6e-3, 1e-4),
        ("rk4", 10, 6.6e-3, 1e-4),
        ("rk4", 20, 4.1e-4, 1e-5),
        ("rk4", 40, 2.6e-5, 1e-6),
        ("rk4", 80, 1.6e-6, 1e-7),
    ],
)
def test_rules_reach_the_exact_image_with_their_errors(rule: str, n: int, error: float, unit: float) -> None:
    assert endpoint_error(rule, n) == pytest.approx(error, abs=0.51 * unit)


def test_moments_are_those_of_the_images_in_the_unit_of_the_model() -> None:
    data = Digits(image=True)
    model = GaussianExact()
    model.build(data.spec(), CTX)
    model.fit(data, CTX)
    rows = 2 * data.split("train", CTX).inputs.reshape(-1, 64).astype(np.float64) - 1
    np.testing.assert_allclose(model.mean.numpy(), rows.mean(0), atol=1e-12)
    covariance = (model.vectors * model.values) @ model.vectors.T
    np.testing.assert_allclose(covariance.numpy(), np.cov(rows.T, bias=True), atol=1e-12)


def test_fitted_noise_prediction_is_the_best_linear_one() -> None:
    data = Digits(image=True)
    model = GaussianExact(process="vp")
    model.build(data.spec(), CTX)
    before = _mean_error(model, data)
    model.fit(data, CTX)
    assert _mean_error(model, data) < 0.6 * before


def _mean_error(model: GaussianExact, data: Digits) -> float:
    x = torch.from_numpy(2 * data.split("test", CTX).inputs - 1)
    noise, t = torch.randn(x.shape, generator=CTX.generator("noise")), torch.full((len(x),), 0.3)
    noisy = model.schedule.mean(t)[0] * x + model.schedule.std(t)[0] * noise
    return float((model.eps(noisy, t) - noise).square().mean())


def test_field_has_its_exact_moments() -> None:
    data = GaussField(size=4, scale=1.5)
    model = GaussianExact(field=True)
    model.build(data.spec(), CTX)
    model.fit(data, CTX)
    covariance = (model.vectors * model.values) @ model.vectors.T
    np.testing.assert_allclose(covariance.numpy(), field_covariance(4) * (2 * 1.5 / 16) ** 2, atol=1e-12)
    assert model.mean.tolist() == pytest.approx([0.0] * 16)
    with pytest.raises(InvalidInput, match="Digits is no Gaussian field"):
        model.fit(Digits(image=True), CTX)


def test_state_comes_back() -> None:
    spec = DataSpec(shape=(1, 3, 3), low=0, high=1)
    first, second = GaussianExact(), GaussianExact()
    for model in (first, second):
        model.build(spec, CTX)
    first.assume(torch.linspace(-1, 1, 9), random_covariance(9))
    x, t = torch.ones(2, 1, 3, 3), torch.tensor([0.1, 0.7])
    assert not torch.equal(first.eps(x, t), second.eps(x, t))
    second.load_state(first.state())
    assert torch.equal(first.eps(x, t), second.eps(x, t))


def test_what_it_cannot_do_is_said() -> None:
    model = GaussianExact()
    with pytest.raises(InvalidInput, match="needs images"):
        model.build(DataSpec(shape=(64,), low=0, high=1), CTX)
    with pytest.raises(InvalidInput, match="empty"):
        model.fit(_Flat(image=True), CTX)
    with pytest.raises(InvalidInput, match="symmetric"):
        model.assume(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(InvalidInput, match="eigenvalue -1"):
        model.assume(torch.zeros(2), torch.diag(torch.tensor([1.0, -1.0])))
    model.assume(torch.zeros(4), torch.eye(4))
    with pytest.raises(NotApplicable, match="no network"):
        model.features(torch.zeros(1, 1, 2, 2), torch.ones(1))


class _Flat(Digits):
    def spec(self) -> DataSpec:
        return DataSpec(shape=(1, 8, 8), low=1.0, high=1.0)
