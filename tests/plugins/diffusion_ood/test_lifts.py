# SPDX-License-Identifier: Apache-2.0
"""Lifts: what comes back, at what cost, and that an image's result is its own affair."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lipbench_diffusion_ood import lifts
from lipbench_diffusion_ood.base import Denoiser, Lift
from lipbench_diffusion_ood.flow import ProbabilityFlow
from lipbench_diffusion_ood.lifts import DenoiseFrom, Inpaint, NoLift
from lipbench_diffusion_ood.masks import checkerboard
from lipbench_diffusion_ood.models.exact import GaussianExact
from lipbench_diffusion_ood.samplers import denoise, plan, time_grid
from lipbench_diffusion_ood.schedules import make_schedule
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, NotFinite

CTX = Context(scope="test", seed=0)
SAMPLERS = ["ancestral", "ddim", "dpmsolver", "sde_dpmsolver"]
SMALL: dict[str, Any] = {"attempts": 3, "steps": 4}
LIFTS = [
    *(Inpaint(cells=4, sampler=sampler, **SMALL) for sampler in SAMPLERS),  # type: ignore[arg-type]
    Inpaint(mask="random_patch", patch=2, resamplings=2, **SMALL),
    Inpaint(mask="center", convention="score_sde", grid="log_snr", **SMALL),
    *(DenoiseFrom(t=0.4, sampler=sampler, **SMALL) for sampler in SAMPLERS),  # type: ignore[arg-type]
]
IDS = [f"{type(lift).__name__}-{lift.sampler}-{number}" for number, lift in enumerate(LIFTS)]


class Pixelwise(Denoiser):
    """Exact for independent pixels from N(0.1, 0.3^2): each pixel alone, so bit by bit the same in any batch."""

    def __init__(self, process: str = "ddpm") -> None:
        self.schedule = make_schedule(process)
        self.rows = 0

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Nothing."""

    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        self.rows += len(x)
        c, s = (part[:, None, None, None] for part in (self.schedule.mean(t), self.schedule.std(t)))
        return s * (x - c * 0.1) / (c**2 * 0.09 + s**2)


class Convolution(Pixelwise):
    """A small random network."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 2, 3, padding=1))

    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        return x + self.net(x * t[:, None, None, None])


class OneImage(Pixelwise):
    """The perfect denoiser of a data set of one image: all that is not that image is noise."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = image * 2 - 1

    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        c, s = (part[:, None, None, None] for part in (self.schedule.mean(t), self.schedule.std(t)))
        return (x - c * self.image) / s


def pictures(count: int = 5, side: int = 8) -> Tensor:
    return torch.rand(count, 2, side, side, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("lift", LIFTS, ids=IDS)
def test_an_image_comes_back_the_same_alone_and_again(lift: Any) -> None:
    x, model = pictures(), Pixelwise()
    together = lift.reconstruct(model, x, CTX)
    assert together.shape == (3, 5, 2, 8, 8)
    assert together.dtype == torch.float32
    assert float(together.min()) >= 0
    assert float(together.max()) <= 1
    assert torch.equal(together, lift.reconstruct(model, x, CTX))
    for i in range(len(x)):
        assert torch.equal(together[:, i : i + 1], lift.reconstruct(model, x[i : i + 1], CTX))
    assert torch.equal(together.flip(1), lift.reconstruct(model, x.flip(0), CTX))


@pytest.mark.parametrize("lift", LIFTS, ids=IDS)
def test_evaluations_are_counted(lift: Any) -> None:
    model = Pixelwise()
    lift.reconstruct(model, pictures(), CTX)
    assert model.rows == 5 * lift.evaluations


@pytest.mark.parametrize("lift", LIFTS[:2] + LIFTS[-2:], ids=IDS[:2] + IDS[-2:])
def test_a_network_gives_an_image_nearly_the_same_alone(lift: Any) -> None:
    # A convolution may sum in another order in another batch, so not bit by bit.
    x, model = pictures(), Convolution()
    torch.testing.assert_close(
        lift.reconstruct(model, x, CTX)[:, :1], lift.reconstruct(model, x[:1], CTX), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("lift", LIFTS, ids=IDS)
def test_results_do_not_hang_on_the_size_of_a_batch(lift: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, model = pictures(), Pixelwise()
    whole = lift.reconstruct(model, x, CTX)
    monkeypatch.setitem(lifts.PIXELS_AT_ONCE, "cpu", 2 * 128 + 1)  # two rows at a time
    assert torch.equal(whole, lift.reconstruct(model, x, CTX))
    monkeypatch.setitem(lifts.PIXELS_AT_ONCE, "cpu", 1)
    assert torch.equal(whole, lift.reconstruct(model, x, CTX))


def test_batches_are_bounded() -> None:
    class Widest(Pixelwise):
        most = 0

        def eps(self, x: Tensor, t: Tensor) -> Tensor:
            self.most = max(self.most, x.numel())
            return super().eps(x, t)

    model = Widest()
    DenoiseFrom(attempts=8, steps=1).reconstruct(model, pictures(16, side=64), CTX)
    assert model.most == lifts.PIXELS_AT_ONCE["cpu"]


def test_attempts_and_seeds_draw_different_noise() -> None:
    x, model = pictures(1), Pixelwise()
    one = DenoiseFrom(**SMALL).reconstruct(model, x, CTX)
    other = DenoiseFrom(**SMALL).reconstruct(model, x, Context(scope="test", seed=1))
    both = torch.cat([one, other])
    assert len({image.numpy().tobytes() for image in both}) == 6


def test_the_scope_of_a_job_does_not_enter() -> None:
    x, model = pictures(1), Pixelwise()
    assert torch.equal(
        Inpaint(**SMALL).reconstruct(model, x, CTX), Inpaint(**SMALL).reconstruct(model, x, Context(scope="elsewhere", seed=0))
    )


def test_known_pixels_come_back_bit_by_bit_and_swap_on_odd_attempts() -> None:
    x = pictures()
    out = Inpaint(cells=4, attempts=4, steps=3).reconstruct(Pixelwise(), x, CTX)
    for attempt in range(4):
        known = checkerboard(8, 4, swapped=attempt % 2 == 1)
        assert torch.equal(out[attempt][..., known], x[..., known])
        assert float((out[attempt][..., ~known] != x[..., ~known]).double().mean()) > 0.99


def test_the_release_shrinks_known_pixels_towards_grey() -> None:
    x = pictures()
    out = Inpaint(mask="fixed_checkerboard", cells=4, attempts=1, steps=5, convention="score_sde").reconstruct(
        Pixelwise("subvp"), x, CTX
    )
    known = checkerboard(8, 4)
    torch.testing.assert_close(out[0][..., known], 0.5 + (x[..., known] - 0.5) * 0.999945, rtol=0, atol=2e-7)


@pytest.mark.parametrize("lift", [*LIFTS[:5], *LIFTS[6:]], ids=[*IDS[:5], *IDS[6:]])
def test_a_perfect_denoiser_gives_the_original_back(lift: Any) -> None:
    x = pictures(1)
    out = lift.reconstruct(OneImage(x), x, CTX)
    torch.testing.assert_close(out, x.expand_as(out), rtol=0, atol=1e-5)


def test_a_denoiser_that_sees_no_noise_leaves_the_noise_in() -> None:
    class Blind(Pixelwise):
        def eps(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.zeros_like(x)

    model = Blind()
    steps = plan(model.schedule, time_grid(model.schedule, 6, start=0.3), "ddim")
    state = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = denoise(model, state, steps, state.clone, clip=False)
    torch.testing.assert_close(found, state / steps[0].start.signal, rtol=1e-12, atol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_little_noise_changes_little(sampler: Any) -> None:
    x = pictures()
    distances = [
        float((DenoiseFrom(t=t, attempts=2, steps=1, sampler=sampler).reconstruct(Pixelwise("vp"), x, CTX) - x).square().mean())
        for t in (0.5, 0.1, 0.01, 1e-4)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-4


def test_all_noise_forgets_the_image() -> None:
    covariance = 0.2 * torch.eye(16) + 0.1
    model = GaussianExact(process="ddpm")
    model.assume(torch.zeros(16), covariance)
    steps = plan(model.schedule, time_grid(model.schedule, 50))

    def run(image: Tensor) -> Tensor:
        draws = torch.Generator().manual_seed(0)
        start = steps[0].start
        state = start.signal * image + start.noise * torch.randn(image.shape, generator=draws)
        return denoise(model, state, steps, lambda: torch.randn(image.shape, generator=draws))

    black, white = torch.full((1, 1, 4, 4), -1.0), torch.full((1, 1, 4, 4), 1.0)
    # What is left of the image at t = 1 is its signal there, sqrt(4e-5), at most.
    assert float((run(black) - run(white)).abs().max()) < 2 * 0.0064


def test_no_lift_makes_nothing() -> None:
    assert NoLift().evaluations == 0
    assert NoLift().lifted(Pixelwise(), pictures(), CTX) == {}
    assert torch.equal(NoLift().shown(Pixelwise(), pictures(), CTX), pictures())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Inpaint(eta=0.5), "eta: 0.5 has no meaning for sampler: ancestral"),
        (lambda: DenoiseFrom(sampler="ddim", variance="beta"), "variance: beta has no meaning for sampler: ddim"),
        (lambda: Inpaint(resamplings=2, convention="score_sde"), "write resamplings: 1"),
        (lambda: Inpaint().reconstruct(Pixelwise(), pictures(side=12), CTX), "does not fit 12x12 pixels; write cells: "),
        (lambda: DenoiseFrom().reconstruct(Pixelwise(), torch.zeros(2, 1, 4, 6), CTX), "needs square images"),
        (lambda: DenoiseFrom().reconstruct(Pixelwise(), torch.zeros(4, 4), CTX), "needs square images"),
        (lambda: DenoiseFrom(t=0.01, steps=20).reconstruct(Pixelwise(), pictures(), CTX), "write fewer steps:"),
    ],
)
def test_what_cannot_be_done_is_refused(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInput, match=words):
        call()


def test_a_broken_network_is_reported() -> None:
    class Broken(Pixelwise):
        def eps(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.full_like(x, float("nan"))

    with pytest.raises(NotFinite, match="a reconstruction is NaN or infinite"):
        DenoiseFrom(**SMALL).reconstruct(Broken(), pictures(), CTX)
    with pytest.raises(NotFinite, match="a reconstruction is NaN or infinite"):
        Inpaint(**SMALL).reconstruct(Broken(), pictures(), CTX)


def test_no_images_give_no_reconstructions() -> None:
    assert DenoiseFrom(**SMALL).reconstruct(Pixelwise(), pictures()[:0], CTX).shape == (3, 0, 2, 8, 8)


@pytest.mark.parametrize("lift", [Inpaint(cells=4, **SMALL), DenoiseFrom(**SMALL), ProbabilityFlow(intervals=2)])
def test_where_memory_ran_out_smaller_batches_give_the_same(lift: Lift) -> None:
    asked: list[int] = []
    whole, halved = Context(scope="test", on_batch=asked.append), Context(scope="test", on_batch=asked.append, batch_scale=1e-4)
    one, other = (lift.lifted(Pixelwise(), pictures(), ctx) for ctx in (whole, halved))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-5)
    assert asked[-1] == 1 < asked[0]
