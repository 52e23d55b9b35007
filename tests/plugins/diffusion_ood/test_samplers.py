# SPDX-License-Identifier: Apache-2.0
"""Samplers against closed forms for Gaussian data, and against the schedulers of the diffusers library."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_diffusion_ood.base import Denoiser
from lipbench_diffusion_ood.models.exact import GaussianExact
from lipbench_diffusion_ood.noise import RowNoise
from lipbench_diffusion_ood.samplers import Step, denoise, noise_blocks, plan, time_grid
from lipbench_diffusion_ood.schedules import DiscreteLinear, make_schedule, times_at
from torch import Tensor

from lipbench.api import Context, DataSpec, InvalidInput

DDPM = make_schedule("ddpm")


class Wavy(Denoiser):
    """No good denoiser, but one that hangs on state and time in a nonlinear way; counts its evaluations."""

    schedule = DDPM

    def __init__(self) -> None:
        self.evaluations = 0

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Nothing."""

    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        self.evaluations += 1
        return 0.9 * x + 0.2 * torch.sin(3 * x + 5 * t[:, None, None, None])


def gaussian(process: str, mean: float, variance: float) -> GaussianExact:
    model = GaussianExact(process=process)  # type: ignore[arg-type]
    model.assume(torch.tensor([mean]), torch.tensor([[variance]]))
    return model


def no_noise() -> Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


def endpoint_error(kind: Any, n: int) -> float:
    """Distance to the solution of the probability-flow equation at the last of n + 1 levels uniform in log SNR."""
    mean, deviation, start = 0.3, 0.5, 1.7
    model = gaussian("ddpm", mean, deviation**2)
    times = time_grid(DDPM, n + 1, grid="log_snr")[:-1]
    steps = plan(DDPM, times, kind)
    found = denoise(model, torch.full((1, 1, 1, 1), start, dtype=torch.float64), steps, no_noise, clip=False)

    def spread(k: int) -> tuple[float, float]:
        abar = float(DDPM.abar(k))  # type: ignore[attr-defined]
        return math.sqrt(abar) * mean, math.sqrt(abar * deviation**2 + 1 - abar)

    (m1, s1), (mT, sT) = spread(1), spread(1000)
    assert mean + deviation * (start - mT) / sT == pytest.approx(1.14906, abs=5e-6)  # the map to the clean image
    return abs(float(found) - (m1 + s1 * (start - mT) / sT))


@pytest.mark.parametrize(
    ("kind", "n", "error", "unit"),
    [
        ("ddim", 10, 0.182, 1e-3),
        ("ddim", 20, 0.0966, 1e-4),
        ("ddim", 40, 0.0498, 1e-4),
        ("ddim", 80, 0.0253, 1e-4),
        ("dpmsolver", 10, 0.0281, 1e-4),
        ("dpmsolver", 20, 0.0112, 1e-4),
        ("dpmsolver", 40, 3.03e-3, 1e-5),
        ("dpmsolver", 80, 7.7e-4, 1e-5),
    ],
)
def test_endpoint_errors_for_gaussian_data(kind: str, n: int, error: float, unit: float) -> None:
    assert endpoint_error(kind, n) == pytest.approx(error, abs=0.51 * unit)


def test_ddim_is_of_first_and_dpmsolver_of_second_order() -> None:
    assert endpoint_error("ddim", 320) / endpoint_error("ddim", 640) == pytest.approx(2, rel=0.02)
    assert endpoint_error("dpmsolver", 320) / endpoint_error("dpmsolver", 640) == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("process", ["ddpm", "vp", "subvp", "ve"])
def test_every_process_is_mapped_to_the_same_clean_image(process: str) -> None:
    mean, deviation, start = -0.2, 0.4, 0.9
    model = gaussian(process, mean, deviation**2)
    steps = plan(model.schedule, time_grid(model.schedule, 400, grid="log_snr"), "dpmsolver")
    found = denoise(model, torch.full((1, 1, 1, 1), start, dtype=torch.float64), steps, no_noise, clip=False)
    end = steps[0].start
    expected = mean + deviation * (start - end.signal * mean) / math.hypot(end.signal * deviation, end.noise)
    assert float(found) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("process", ["vp", "subvp", "ve"])
def test_equal_signal_to_noise_ratios_give_equal_states_in_every_process(process: str) -> None:
    reference = gaussian("ddpm", 0.1, 0.3)
    model = gaussian(process, 0.1, 0.3)
    at = time_grid(DDPM, 10)[2:-2]  # a range of ratios that every process covers
    ratios = torch.log(DDPM.std(at) / DDPM.mean(at))
    same = times_at(model.schedule, ratios)
    state = torch.linspace(-2, 2, 7, dtype=torch.float64).view(7, 1, 1, 1)
    results = []
    for denoiser, times in ((reference, at), (model, same)):
        draws = torch.Generator().manual_seed(3)
        steps = plan(denoiser.schedule, times, "sde_dpmsolver")
        results.append(
            denoise(
                denoiser, state, steps, lambda g=draws: torch.randn(7, 1, 1, 1, generator=g, dtype=torch.float64), clip=False
            )
        )
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-8)


def final_variance(steps: list[Step], variance: float) -> float:
    """Variance of what comes out of N(0, 1) for data N(0, variance) and the exact denoiser: the chain is linear."""
    found = 1.0
    for step in steps:
        signal, noise = step.start.signal, step.start.noise
        gain = variance * signal / (variance * signal**2 + noise**2)  # of the predicted clean image
        found = (step.keep + step.pull * gain) ** 2 * found + step.fresh**2
    return found


@pytest.mark.parametrize(
    ("data", "which", "expected", "unit"),
    [
        (1.0, "beta", 0.9999, 1e-4),
        (1.0, "beta_tilde", 0.9911, 1e-4),
        (0.25, "beta", 0.2508, 1e-4),
        (0.25, "beta_tilde", 0.2461, 1e-4),
        (1e-4, "beta", 7.05e-5, 1e-7),
        (1e-4, "beta_tilde", 4.30e-5, 1e-7),
    ],
)
def test_variances_of_the_ancestral_chain(data: float, which: Any, expected: float, unit: float) -> None:
    steps = plan(DDPM, time_grid(DDPM, 1000), variance=which)
    assert final_variance(steps, data) == pytest.approx(expected, abs=0.51 * unit)


@pytest.mark.parametrize("kind", ["ancestral", "ddim"])
def test_drawn_images_have_the_variance_of_the_recursion(kind: Any) -> None:
    count, data = 20_000, 0.25
    steps = plan(DDPM, time_grid(DDPM, 40), kind, eta=0.5 if kind == "ddim" else 0.0)
    draws = torch.Generator().manual_seed(0)
    shape = (count, 1, 1, 1)
    start = torch.randn(shape, generator=draws)
    found = denoise(gaussian("ddpm", 0.0, data), start, steps, lambda: torch.randn(shape, generator=draws), clip=False)
    expected = final_variance(steps, data)
    assert float(found.double().var()) == pytest.approx(expected, abs=3 * expected * math.sqrt(2 / count))


@settings(max_examples=40, deadline=None)
@given(
    process=st.sampled_from(["ddpm", "vp", "subvp", "ve"]),
    kind=st.sampled_from(["ancestral", "ddim", "dpmsolver", "sde_dpmsolver"]),
    grid=st.sampled_from(["time", "log_snr"]),
    count=st.integers(1, 60),
    start=st.floats(0.1, 1.0),
    eta=st.floats(0, 1),
)
def test_every_step_keeps_the_law_of_the_forward_process(
    process: str, kind: Any, grid: Any, count: int, start: float, eta: float
) -> None:
    schedule = make_schedule(process)
    times = time_grid(schedule, count, start=start, grid=grid)
    assert len(times) == count + 1
    assert float(times[0]) == pytest.approx(start)
    assert float(times[-1]) == 0
    assert bool((times.diff() < 0).all())
    for step in plan(schedule, times, kind, eta=eta):
        # From y = signal x0 + noise z with the right x0, each step gives the same at the next level.
        assert step.keep * step.start.signal + step.pull == pytest.approx(step.stop.signal, rel=1e-9)
        assert (step.keep * step.start.noise) ** 2 + step.fresh**2 == pytest.approx(step.stop.noise**2, rel=1e-7, abs=1e-12)
        assert step.up_signal * step.stop.signal == pytest.approx(step.start.signal, rel=1e-9)
        assert (step.up_signal * step.stop.noise) ** 2 + step.up_noise**2 == pytest.approx(step.start.noise**2, rel=1e-9)


def test_ddim_with_eta_one_is_ancestral() -> None:
    times = time_grid(DDPM, 25)
    assert plan(DDPM, times, "ddim", eta=1.0) == plan(DDPM, times, "ancestral")


def test_multistep_samplers_start_and_land_with_first_order() -> None:
    steps = plan(DDPM, time_grid(DDPM, 8), "dpmsolver")
    assert steps[0].back == steps[-1].back == 0
    assert all(step.back > 0 for step in steps[1:-1])


def test_the_grid_in_log_snr_is_uniform() -> None:
    steps = plan(DDPM, time_grid(DDPM, 12, grid="log_snr"))
    gaps = torch.tensor([step.stop.log_snr - step.start.log_snr for step in steps[:-1]])
    torch.testing.assert_close(gaps, gaps[:1].expand_as(gaps), rtol=1e-6, atol=0)


def test_a_thousand_steps_visit_every_level_of_the_chain() -> None:
    steps = plan(DDPM, time_grid(DDPM, 1000))
    found = torch.tensor([step.start.signal for step in steps], dtype=torch.float64) ** 2
    expected = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).flip(0)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "eta", "variance"),
    [
        ("ancestral", 0.0, "beta_tilde"),
        ("ancestral", 0.0, "beta"),
        ("ddim", 0.0, "beta_tilde"),
        ("ddim", 0.6, "beta_tilde"),
        ("dpmsolver", 0.0, "beta_tilde"),
        ("sde_dpmsolver", 0.0, "beta_tilde"),
    ],
)
def test_steps_are_those_of_diffusers(kind: Any, eta: float, variance: Any) -> None:
    diffusers = pytest.importorskip("diffusers")
    chain = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    clip = kind in ("ancestral", "ddim")
    shape, count = (3, 2, 4, 4), 20
    blocks = torch.randn(count, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    start = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    if kind == "ancestral":
        small = "fixed_small" if variance == "beta_tilde" else "fixed_large"
        scheduler = diffusers.DDPMScheduler(**chain, variance_type=small, clip_sample=True, timestep_spacing="trailing")
    elif kind == "ddim":
        scheduler = diffusers.DDIMScheduler(**chain, clip_sample=True, timestep_spacing="trailing")
    else:
        scheduler = diffusers.DPMSolverMultistepScheduler(
            **chain,
            algorithm_type="dpmsolver++" if kind == "dpmsolver" else "sde-dpmsolver++",
            solver_order=2,
            timestep_spacing="trailing",
            final_sigmas_type="zero",
        )
    scheduler.set_timesteps(count)
    model, state = Wavy(), start
    draws = torch.Generator().manual_seed(7)
    # The library adds noise of variance beta to the clean image too, so that comparison ends one step before.
    taken = count - 1 if variance == "beta" else count
    for number, index in enumerate(scheduler.timesteps[:taken]):
        t = torch.full((len(state),), (int(index) + 1) / 1000, dtype=torch.float64)
        eps = model.eps(state, t)
        if kind == "ancestral":
            state = scheduler.step(eps, index, state, generator=draws).prev_sample
        elif kind == "ddim":
            last = number == count - 1
            noise = blocks[number] if eta else None
            state = scheduler.step(
                eps, index, state, eta=0.0 if last else eta, use_clipped_model_output=True, variance_noise=noise
            )
            state = state.prev_sample
        else:
            noise = blocks[number] if kind == "sde_dpmsolver" else None
            state = scheduler.step(eps, index, state, variance_noise=noise).prev_sample
    again = torch.Generator().manual_seed(7)
    ours = iter(blocks)
    steps = plan(DDPM, time_grid(DDPM, count)[: taken + 1], kind, eta=eta, variance=variance)
    found = denoise(
        Wavy(),
        start,
        steps,
        (lambda: torch.randn(shape, generator=again, dtype=torch.float64)) if kind == "ancestral" else (lambda: next(ours)),
        clip=clip,
    )
    # The library keeps its tables in float32.
    torch.testing.assert_close(found, state, rtol=1e-4, atol=1e-4)


def test_clipped_predictions_bound_what_comes_out() -> None:
    class Wild(Wavy):
        def eps(self, x: Tensor, t: Tensor) -> Tensor:
            return -100 * torch.ones_like(x)

    steps = plan(DDPM, time_grid(DDPM, 5))
    start = torch.zeros(2, 1, 2, 2)
    assert float(denoise(Wild(), start, steps, lambda: torch.randn(2, 1, 2, 2)).max()) <= 1
    assert float(denoise(Wild(), start, steps, lambda: torch.randn(2, 1, 2, 2), clip=False).max()) > 1


@pytest.mark.parametrize(("kind", "blocks"), [("ancestral", 8), ("ddim", 0), ("dpmsolver", 0), ("sde_dpmsolver", 8)])
def test_evaluations_and_noise_are_counted(kind: Any, blocks: int) -> None:
    steps = plan(DDPM, time_grid(DDPM, 9), kind)
    asked = []

    def noise() -> Tensor:
        asked.append(1)
        return torch.zeros(2, 1, 3, 3)

    model = Wavy()
    denoise(model, torch.zeros(2, 1, 3, 3), steps, noise)
    assert model.evaluations == 9
    assert len(asked) == noise_blocks(steps) == blocks


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: time_grid(DDPM, 0), "at least one step"),
        (lambda: time_grid(DDPM, 5, start=0.0), r"write a time in \(0, 1\]"),
        (lambda: time_grid(DDPM, 2000), "below the first time of the process, 0.001; write fewer steps:"),
        (lambda: time_grid(DDPM, 5, start=0.001, grid="log_snr"), "5 levels do not fit"),
        (lambda: plan(DDPM, torch.tensor([0.5, 0.5, 0.0])), "does not rise from t = 0.5 to 0.5"),
    ],
)
def test_impossible_grids_are_refused(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInput, match=words):
        call()


def test_a_coarser_chain_has_its_own_first_level() -> None:
    coarse = DiscreteLinear(T=100, beta_start=1e-3, beta_end=0.2)
    assert float(time_grid(coarse, 7, grid="log_snr")[-2]) == pytest.approx(0.01)


def test_rows_of_noise_do_not_hang_on_their_neighbours() -> None:
    def noise(seeds: list[int]) -> Tensor:
        source = RowNoise([torch.Generator().manual_seed(seed) for seed in seeds], (3, 5), 150)
        return torch.stack([source() for _ in range(150)])

    assert torch.equal(noise([4, 5, 6])[:, 1:2], noise([5]))
    assert noise([4]).unique().numel() == 150 * 15  # no number comes twice, over all refills


def test_noise_that_was_not_asked_for_is_refused() -> None:
    source = RowNoise([torch.Generator()], (2,), 1)
    source()
    with pytest.raises(InvalidInput, match="all noise of this batch has been used"):
        source()
