# SPDX-License-Identifier: Apache-2.0
"""Replacement inpainting does what its linear recursion says, bias included, and exact inpainting gives the known scores."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from lipbench_diffusion_ood.base import Denoiser
from lipbench_diffusion_ood.masks import checkerboard, everything, nothing
from lipbench_diffusion_ood.models.exact import GaussianExact
from lipbench_diffusion_ood.replacement import inpaint, inpainting_blocks
from lipbench_diffusion_ood.samplers import plan, time_grid
from lipbench_diffusion_ood.schedules import make_schedule
from sklearn.metrics import roc_auc_score
from torch import Tensor

from lipbench.api import Context, DataSpec, InvalidInput

ABAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))

# Slope and variance of the filled pixel for each correlation and number of resamplings, 1000 steps.
TABLE = {
    0.5: {1: (0.267, 0.817), 2: (0.352, 0.782), 5: (0.430, 0.753), 10: (0.464, 0.738), 20: (0.482, 0.724)},
    0.9: {1: (0.626, 0.308), 2: (0.765, 0.238), 5: (0.855, 0.200), 10: (0.880, 0.187), 20: (0.891, 0.178)},
    0.99: {1: (0.866, 0.0527), 2: (0.956, 0.0275), 5: (0.984, 0.0196), 10: (0.988, 0.0169), 20: (0.990, 0.0142)},
}


class Wavy(Denoiser):
    """No good denoiser, but a nonlinear one that couples neighbours; counts its evaluations."""

    def __init__(self, process: str = "ddpm") -> None:
        self.schedule = make_schedule(process)
        self.evaluations = 0

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Nothing."""

    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        self.evaluations += 1
        return 0.8 * x + 0.3 * torch.sin(x.roll(1, -1) + 5 * t[:, None, None, None].to(x.dtype))


def recursion(rho: float, resamplings: int, levels: list[int], *, up_from_clean: bool) -> tuple[float, float]:
    """Slope and variance of the filled pixel given the known one, exactly: the chain is linear in both.

    `levels` are the steps of the chain that are visited, falling. `up_from_clean` says whether the last step is diffused up
    again before it is repeated, or takes the clean image for a noisy one.
    """
    data = np.array([[1, rho], [rho, 1]])
    signal = [*(ABAR[k - 1] for k in levels), 1.0]
    slope, spread = np.zeros(2), np.eye(2)
    for here, there in itertools.pairwise(signal):
        ratio = here / there
        predicted = math.sqrt(here) * data @ np.linalg.inv(here * data + (1 - here) * np.eye(2))
        pull = math.sqrt(there) * (1 - ratio) / (1 - here)
        keep = math.sqrt(ratio) * (1 - there) / (1 - here)
        move = keep * np.eye(2) + pull * predicted
        for again in range(resamplings, 0, -1):
            slope = move @ slope
            spread = move @ spread @ move.T + (1 - there) * (1 - ratio) / (1 - here) * np.eye(2)
            slope[0], spread[0, 1], spread[1, 0], spread[0, 0] = math.sqrt(there), 0, 0, 1 - there
            if again > 1 and (there < 1 or up_from_clean):
                slope, spread = math.sqrt(ratio) * slope, ratio * spread + (1 - ratio) * np.eye(2)
    return float(slope[1]), float(spread[1, 1])


def drawn(rho: float, resamplings: int, steps: int, count: int) -> tuple[float, float]:
    """The same from filled pixels, by least squares on known pixels from N(0, 1)."""
    model = GaussianExact(process="ddpm")
    model.assume(torch.zeros(2), torch.tensor([[1, rho], [rho, 1]]))
    draws = torch.Generator().manual_seed(11)
    shape = (count, 1, 1, 2)

    def noise() -> Tensor:
        return torch.randn(shape, generator=draws, dtype=torch.float64)

    images = noise()
    chain = plan(model.schedule, time_grid(model.schedule, steps))
    known = torch.tensor([True, False]).view(1, 1, 1, 2)
    filled = inpaint(model, images, known, chain, noise, resamplings=resamplings, clip=False)[:, 0, 0]
    assert torch.equal(filled[:, 0], images[:, 0, 0, 0])
    x, y = filled[:, 0], filled[:, 1]
    slope = float((x * y).sum() / (x * x).sum())
    return slope, float((y - slope * x).var())


@pytest.mark.parametrize("rho", TABLE)
def test_the_recursion_gives_the_known_bias(rho: float) -> None:
    chain = list(range(1000, 0, -1))
    for resamplings, (slope, variance) in TABLE[rho].items():
        found = recursion(rho, resamplings, chain, up_from_clean=False)
        assert found[0] == pytest.approx(slope, abs=5.1e-4)
        assert found[1] == pytest.approx(variance, abs=5.1e-5 if rho == 0.99 else 5.1e-4)


@pytest.mark.parametrize(("rho", "resamplings"), [(0.5, 1), (0.99, 1), (0.9, 2)])
def test_the_sampler_has_the_known_bias_on_the_whole_chain(rho: float, resamplings: int) -> None:
    count = 1500
    slope, variance = drawn(rho, resamplings, 1000, count)
    assert slope == pytest.approx(TABLE[rho][resamplings][0], abs=3 * math.sqrt(variance / count))
    assert variance == pytest.approx(TABLE[rho][resamplings][1], abs=3 * variance * math.sqrt(2 / count))


@pytest.mark.parametrize("rho", [0.5, 0.9])
@pytest.mark.parametrize("resamplings", [1, 2, 5])
def test_the_sampler_follows_the_recursion_on_a_coarse_chain(rho: float, resamplings: int) -> None:
    count, steps = 20_000, 25
    slope, variance = drawn(rho, resamplings, steps, count)
    exact = recursion(rho, resamplings, list(range(1000, 0, -1000 // steps)), up_from_clean=True)
    assert slope == pytest.approx(exact[0], abs=3 * math.sqrt(exact[1] / count))
    assert variance == pytest.approx(exact[1], abs=3 * exact[1] * math.sqrt(2 / count))


@pytest.mark.parametrize("kind", ["ancestral", "ddim", "dpmsolver", "sde_dpmsolver"])
def test_known_pixels_come_back_and_nothing_known_gives_the_same_for_all_images(kind: Any) -> None:
    model = Wavy()
    steps = plan(model.schedule, time_grid(model.schedule, 6), kind)
    one, two = torch.rand(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def run(image: Tensor, known: Tensor) -> Tensor:
        draws = torch.Generator().manual_seed(1)
        return inpaint(model, image, known, steps, lambda: torch.randn(image.shape, generator=draws))

    assert torch.equal(run(one, everything(4)), one)
    assert torch.equal(run(one, nothing(4)), run(two, nothing(4)))
    board = checkerboard(4, 2)
    assert torch.equal(run(one, board)[..., board], one[..., board])
    assert not torch.equal(run(one, board)[..., ~board], run(two, board)[..., ~board])


@pytest.mark.parametrize("kind", ["ancestral", "dpmsolver"])
@pytest.mark.parametrize("resamplings", [1, 3])
def test_evaluations_and_noise_are_counted(kind: Any, resamplings: int) -> None:
    model = Wavy()
    steps = plan(model.schedule, time_grid(model.schedule, 7), kind)
    draws, asked = torch.Generator().manual_seed(1), []

    def noise() -> Tensor:
        asked.append(1)
        return torch.randn(2, 1, 4, 4, generator=draws)

    inpaint(model, torch.zeros(2, 1, 4, 4), checkerboard(4, 4), steps, noise, resamplings=resamplings)
    assert model.evaluations == 7 * resamplings
    assert len(asked) == inpainting_blocks(steps, resamplings)


def test_the_release_gives_known_pixels_at_their_mean_near_time_zero() -> None:
    model = Wavy("subvp")
    times = time_grid(model.schedule, 30, last=1e-3)
    steps = plan(model.schedule, times)
    image = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    known = checkerboard(4, 4)
    draws = torch.Generator().manual_seed(1)
    found = inpaint(
        model,
        image,
        known,
        steps,
        lambda: torch.randn(image.shape, generator=draws, dtype=torch.float64),
        convention="score_sde",
    )
    ratio = found[..., known] / image[..., known]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.999945), rtol=0, atol=5.1e-7)


def test_the_release_starts_with_known_pixels_in_place() -> None:
    class First(Wavy):
        seen: Tensor | None = None

        def eps(self, x: Tensor, t: Tensor) -> Tensor:
            self.seen = x.clone() if self.seen is None else self.seen
            return super().eps(x, t)

    block = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    image, known = torch.full_like(block, 0.5), checkerboard(4, 2)
    for convention, inside in (("alg2", block), ("score_sde", None)):
        model = First()
        steps = plan(model.schedule, time_grid(model.schedule, 5))
        inpaint(model, image, known, steps, block.clone, convention=convention)  # type: ignore[arg-type]
        level = steps[0].start
        expected = level.signal * image + level.noise * block if inside is None else inside
        assert model.seen is not None
        torch.testing.assert_close(model.seen[..., known], expected[..., known])
        assert torch.equal(model.seen[..., ~known], block[..., ~known])


def test_what_has_no_meaning_is_refused() -> None:
    model = Wavy()
    image = torch.zeros(1, 1, 4, 4)
    steps = plan(model.schedule, time_grid(model.schedule, 5))
    with pytest.raises(InvalidInput, match="write resamplings: 1"):
        inpaint(model, image, nothing(4), steps, image.clone, resamplings=2, convention="score_sde")
    with pytest.raises(InvalidInput, match="let the times end at 0"):
        inpaint(model, image, nothing(4), steps[:-1], image.clone)


def test_steps_are_those_of_repaint_in_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.RePaintScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", eta=1.0, clip_sample=False
    )
    scheduler.set_timesteps(20, jump_length=1, jump_n_sample=1)
    shape = (2, 1, 4, 4)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    start = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    known = checkerboard(4, 2).expand(shape)
    model, state, draws = Wavy(), start, torch.Generator().manual_seed(3)
    for index in scheduler.timesteps:
        t = torch.full((2,), (int(index) + 1) / 1000, dtype=torch.float64)
        # One block of noise a step there too: for known pixels and for the others.
        state = scheduler.step(model.eps(state, t), index, state, image, known.double(), generator=draws).prev_sample
    again = torch.Generator().manual_seed(3)
    blocks = iter([start] + [torch.randn(shape, generator=again, dtype=torch.float64) for _ in scheduler.timesteps])
    times = torch.cat([(scheduler.timesteps.double() + 1) / 1000, torch.zeros(1, dtype=torch.float64)])
    found = inpaint(Wavy(), image, known, plan(model.schedule, times), lambda: next(blocks), clip=False)
    torch.testing.assert_close(found, state, rtol=1e-4, atol=1e-4)


class ExactField:
    """A Gaussian field on 8x8 pixels and its conditional law given one parity of a checkerboard, in closed form."""

    def __init__(self, cells: int) -> None:
        at = np.stack(np.meshgrid(range(8), range(8), indexing="ij"), -1).reshape(-1, 2)
        self.covariance = np.exp(-np.linalg.norm(at[:, None] - at[None], axis=-1) / 3) + 1e-6 * np.eye(64)
        self.root = np.linalg.cholesky(self.covariance)
        self.parts = [self.conditional(checkerboard(8, cells, swapped=swapped).flatten().numpy()) for swapped in (False, True)]

    def conditional(self, known: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Known pixels, A of the conditional mean, and the conditional covariance."""
        s, k, m = self.covariance, known, ~known
        weights = np.linalg.solve(s[np.ix_(k, k)], s[np.ix_(k, m)]).T
        return k, weights, s[np.ix_(m, m)] - weights @ s[np.ix_(k, m)]

    def images(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, 64)."""
        return rng.normal(size=(count, 64)) @ self.root.T

    def distances(self, images: np.ndarray, attempts: int, rng: np.random.Generator) -> np.ndarray:
        """(attempts, n) mean squared errors of exact inpainting, alternating."""
        found = []
        for attempt in range(attempts):
            known, weights, left = self.parts[attempt % 2]
            noise = rng.normal(size=(len(images), len(left))) @ np.linalg.cholesky(left).T
            found.append(((images[:, known] @ weights.T + noise - images[:, ~known]) ** 2).sum(1) / 64)
        return np.array(found)


@pytest.mark.parametrize(("cells", "trace"), [(2, 18.47), (4, 11.61), (8, 8.78)])
def test_exact_inpainting_has_the_expected_distances(cells: int, trace: float) -> None:
    field = ExactField(cells)
    rng = np.random.default_rng(0)
    for _, _, left in field.parts:
        assert np.trace(left) == pytest.approx(trace, abs=5.1e-3)
    _, weights, left = field.parts[0]
    images = field.images(2000, rng)
    for given, expected in (
        (images, 2 * trace / 64),
        (0.3 * images, (1 + 0.3**2) * trace / 64),
        (rng.normal(size=images.shape), (np.trace(left) + 32 + (weights**2).sum()) / 64),
    ):
        found = field.distances(given, 1, rng)[0]
        assert found.mean() == pytest.approx(expected, abs=4 * found.std() / math.sqrt(len(found)))


@pytest.mark.parametrize(
    ("cells", "contrast", "once", "ten_times"),
    [
        (2, 0.3, 0.158, 0.008),
        (4, 0.3, 0.078, 0.001),
        (8, 0.3, 0.048, 0.000),
        (2, 1.5, 0.795, 0.936),
        (4, 1.5, 0.873, 0.979),
        (8, 1.5, 0.917, 0.990),
    ],
)
def test_exact_inpainting_sees_low_contrast_as_in_domain(cells: int, contrast: float, once: float, ten_times: float) -> None:
    field, rng, count = ExactField(cells), np.random.default_rng(1), 1500
    inside = field.distances(field.images(count, rng), 10, rng)
    outside = field.distances(contrast * field.images(count, rng), 10, rng)
    labels = np.repeat([0, 1], count)
    for attempts, auroc in ((1, once), (10, ten_times)):
        scores = np.concatenate([np.median(part[:attempts], 0) for part in (inside, outside)])
        # Three standard errors of both simulations, bounded by sqrt(p (1 - p) / n); the table's is of 4000 images.
        error = math.sqrt(max(auroc * (1 - auroc), 1e-3) * (1 / count + 1 / 4000))
        assert roc_auc_score(labels, scores) == pytest.approx(auroc, abs=3 * error)
