# SPDX-License-Identifier: Apache-2.0
"""Lifts: how an image is taken off the manifold and mapped back by a diffusion model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, InvalidInput, NotFinite

from .base import Backbone, Denoiser, Lift, Tensors, denoiser_of, image_generator
from .masks import Mask, known_pixels
from .noise import RowNoise
from .replacement import Convention, inpaint, inpainting_blocks
from .samplers import Grid, Kind, Step, Variance, denoise, noise_blocks, plan, time_grid
from .schedules import first_time

PIXELS_AT_ONCE = {"cpu": 2**15, "cuda": 2**20}
"""Numbers in one batch of images; bounds the memory, and on a CPU keeps a U-Net's activations in the cache. Which rows share
a batch never changes the random numbers of a row."""

RELEASE_LAST_TIME = 1e-3
"""Last time of the grid of the authors' release."""


class _Sampled(Lift):
    """A lift whose map is a sampler; all attempts of all images go through the network as rows of the same batches."""

    reads = Denoiser

    def __init__(
        self, *, attempts: int, sampler: Kind, steps: int, grid: Grid, eta: float, variance: Variance, clip: bool
    ) -> None:
        if eta and sampler != "ddim":
            raise InvalidInput(f"eta: {eta:g} has no meaning for sampler: {sampler}; write sampler: ddim, or leave eta: out")
        if variance != "beta_tilde" and sampler != "ancestral":
            raise InvalidInput(f"variance: {variance} has no meaning for sampler: {sampler}; write sampler: ancestral")
        self.attempts, self.sampler, self.steps, self.grid = attempts, sampler, steps, grid
        self.eta, self.variance, self.clip = eta, variance, clip

    @property
    def evaluations(self) -> int:
        """Evaluations of the network for one image, all attempts together."""
        return self.attempts * self.steps

    def lifted(self, backbone: Backbone, x: Tensor, ctx: Context) -> Tensors:
        """`reconstructions` (r, n, C, L, L) of images x (n, C, L, L) in [0, 1], and `evaluations`."""
        found = self.reconstruct(denoiser_of(backbone, type(self).__name__), x, ctx)
        return {"reconstructions": found, "evaluations": torch.tensor(self.evaluations, dtype=torch.float64)}

    @torch.inference_mode()
    def reconstruct(self, denoiser: Denoiser, x: Tensor, ctx: Context) -> Tensor:
        """(r, n, C, L, L) float32 in [0, 1] on the CPU: r attempts for each of the images x (n, C, L, L) in [0, 1].

        Raises:
            InvalidInput: The images are not (n, C, L, L), or do not suit the mask.
            NotFinite: A reconstruction has NaN or an infinite value.
        """
        if x.ndim != 4 or x.shape[-1] != x.shape[-2]:
            raise InvalidInput(f"a lift needs square images (n, channels, side, side), there is {tuple(x.shape)}")
        images = x.detach().cpu().float().contiguous()
        steps = self._plan(denoiser)
        count = len(images)
        rows = [(attempt, image) for attempt in range(self.attempts) for image in range(count)]
        pixels = PIXELS_AT_ONCE.get(torch.device(ctx.device).type, PIXELS_AT_ONCE["cpu"])
        size = ctx.batch(max(1, pixels // max(images[:1].numel(), 1)))
        out = torch.empty(len(rows), *images.shape[1:])
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            attempts, which = [attempt for attempt, _ in part], [image for _, image in part]
            generators = [image_generator(images[image], attempt, ctx) for attempt, image in part]
            done = self._map(denoiser, images[which], attempts, generators, steps, ctx)
            if not bool(torch.isfinite(done).all()):
                raise NotFinite(f"{type(self).__name__}: a reconstruction is NaN or infinite; fit the diffusion model anew")
            out[first : first + len(part)] = done
            ctx.report(f"{first + len(part)} of {len(rows)} reconstructions")
        return out.view(self.attempts, count, *images.shape[1:])

    @abstractmethod
    def _plan(self, denoiser: Denoiser) -> list[Step]:
        """The reverse steps."""

    @abstractmethod
    def _map(
        self,
        denoiser: Denoiser,
        images: Tensor,
        attempts: Sequence[int],
        generators: Sequence[torch.Generator],
        steps: list[Step],
        ctx: Context,
    ) -> Tensor:
        """Reconstruct rows of images in [0, 1]; the same shape and range, on the CPU."""

    def _steps(self, denoiser: Denoiser, start: float, last: float | None = None) -> list[Step]:
        schedule = denoiser.schedule
        times = time_grid(schedule, self.steps, start=start, last=last, grid=self.grid)
        return plan(schedule, times, self.sampler, eta=self.eta, variance=self.variance)


class Inpaint(_Sampled):
    """Mask part of an image and let the diffusion model fill it in (replacement inpainting).

    In every attempt the masked pixels start from noise; after each reverse step the known ones are put back at the level of
    noise that the step has reached. Known pixels come back bit by bit (`alg2`). Costs attempts x steps x resamplings
    evaluations for one image. Of the samplers the stochastic ones (`ancestral`, `sde_dpmsolver`, `ddim` with `eta: 1`) let
    filled and known pixels agree better, as each step's noise undoes a part of the last mistake.

    Args:
        mask: `checkerboard` swaps known and masked squares on every other attempt; `fixed_checkerboard` does not; `center`
            masks the middle quarter; `random_patch` masks random patches, other ones for each image and attempt.
        cells: Squares along one side of a checkerboard; divides the side of the images.
        patch: Side of a random patch in pixels; divides the side of the images.
        ratio: Share of the random patches that is masked.
        attempts: Reconstructions of each image, r.
        sampler: `ancestral` (DDPM), `ddim`, `dpmsolver` (DPM-Solver++(2M)) or `sde_dpmsolver` (SDE-DPM-Solver++(2M)).
        steps: Levels of noise, K; 1000 is the chain of the source.
        grid: Levels uniform in `time`, or in `log_snr`, the logarithm of the signal-to-noise ratio.
        eta: Share of the ancestral noise, for `ddim`.
        variance: Variance of the ancestral noise, `beta_tilde` or `beta` (the larger).
        resamplings: Times that each step is taken, as in RePaint; 1 is the source's.
        convention: `alg2` is the source's algorithm 2; `score_sde` is its release: times from 1 to 0.001, and known pixels
            come back times the mean coefficient at the last of them.
        clip: Clip predicted images to [-1, 1] at every step.

    Source: Z. Liu, J. P. Zhou, K. Q. Weinberger, Leveraging diffusion models for unsupervised out-of-distribution detection
    on image manifold, Frontiers in Artificial Intelligence 7, 2024, algorithms 1 and 2.
    """

    def __init__(
        self,
        *,
        mask: Mask = "checkerboard",
        cells: Annotated[int, Field(ge=1)] = 8,
        patch: Annotated[int, Field(ge=1)] = 4,
        ratio: Annotated[float, Field(gt=0, le=1)] = 0.5,
        attempts: Annotated[int, Field(ge=1)] = 10,
        sampler: Kind = "ancestral",
        steps: Annotated[int, Field(ge=1)] = 20,
        grid: Grid = "time",
        eta: Annotated[float, Field(ge=0, le=1)] = 0.0,
        variance: Variance = "beta_tilde",
        resamplings: Annotated[int, Field(ge=1)] = 1,
        convention: Convention = "alg2",
        clip: bool = True,
    ) -> None:
        super().__init__(attempts=attempts, sampler=sampler, steps=steps, grid=grid, eta=eta, variance=variance, clip=clip)
        if convention == "score_sde" and resamplings > 1:
            raise InvalidInput(f"convention: score_sde takes each step once, not {resamplings} times; write resamplings: 1")
        self.mask, self.cells, self.patch, self.ratio = mask, cells, patch, ratio
        self.resamplings, self.convention = resamplings, convention

    @property
    def evaluations(self) -> int:
        """Evaluations for one image: attempts x steps x resamplings."""
        return self.attempts * self.steps * self.resamplings

    def shown(self, backbone: Backbone, x: Tensor, ctx: Context) -> Tensor:
        """The images with grey for what the first attempt masks."""
        generators = [image_generator(image, 0, ctx) for image in x]
        known = known_pixels(
            self.mask, x.shape[-1], [0] * len(x), generators, cells=self.cells, patch=self.patch, ratio=self.ratio
        )
        return torch.where(known, x, 0.5)

    def _plan(self, denoiser: Denoiser) -> list[Step]:
        if self.convention == "alg2" or self.steps == 1:
            return self._steps(denoiser, 1.0)
        return self._steps(denoiser, 1.0, max(RELEASE_LAST_TIME, first_time(denoiser.schedule)))

    def _map(
        self,
        denoiser: Denoiser,
        images: Tensor,
        attempts: Sequence[int],
        generators: Sequence[torch.Generator],
        steps: list[Step],
        ctx: Context,
    ) -> Tensor:
        known = known_pixels(
            self.mask, images.shape[-1], attempts, generators, cells=self.cells, patch=self.patch, ratio=self.ratio
        )
        noise = RowNoise(generators, tuple(images.shape[1:]), inpainting_blocks(steps, self.resamplings), ctx.device)
        filled = inpaint(
            denoiser,
            _signed(images).to(ctx.device),
            known.to(ctx.device),
            steps,
            noise,
            resamplings=self.resamplings,
            clip=self.clip,
            convention=self.convention,
        )
        # Scaling to [-1, 1] and back rounds, and a known pixel has distance 0.
        return torch.where(known, images, _unsigned(filled)) if self.convention == "alg2" else _unsigned(filled)


class DenoiseFrom(_Sampled):
    """Diffuse an image to a level of noise and let the diffusion model denoise it again.

    Costs attempts x steps evaluations for one image, all of them between t and 0.

    Args:
        t: How far the image is diffused, in (0, 1]; 1 is all noise. The source's t of 250, 500 and 750 are 0.25, 0.5, 0.75.
        attempts: Reconstructions of each image, r.
        sampler: `ancestral` (DDPM), `ddim`, `dpmsolver` (DPM-Solver++(2M)) or `sde_dpmsolver` (SDE-DPM-Solver++(2M)).
        steps: Levels of noise between t and 0, K.
        grid: Levels uniform in `time`, or in `log_snr`, the logarithm of the signal-to-noise ratio.
        eta: Share of the ancestral noise, for `ddim`.
        variance: Variance of the ancestral noise, `beta_tilde` or `beta` (the larger).
        clip: Clip predicted images to [-1, 1] at every step.

    Source: Z. Liu et al., Leveraging diffusion models for unsupervised out-of-distribution detection on image manifold,
    2024, table 4; C. Meng et al., SDEdit, ICLR 2022; M. S. Graham et al., Denoising diffusion models for
    out-of-distribution detection, CVPR workshops 2023.
    """

    def __init__(
        self,
        *,
        t: Annotated[float, Field(gt=0, le=1)] = 0.5,
        attempts: Annotated[int, Field(ge=1)] = 10,
        sampler: Kind = "ancestral",
        steps: Annotated[int, Field(ge=1)] = 20,
        grid: Grid = "time",
        eta: Annotated[float, Field(ge=0, le=1)] = 0.0,
        variance: Variance = "beta_tilde",
        clip: bool = True,
    ) -> None:
        super().__init__(attempts=attempts, sampler=sampler, steps=steps, grid=grid, eta=eta, variance=variance, clip=clip)
        self.t = t

    def shown(self, backbone: Backbone, x: Tensor, ctx: Context) -> Tensor:
        """The images at the level of noise from which they are denoised, cut to [0, 1]."""
        generators = [image_generator(image, 0, ctx) for image in x]
        start = self._plan(denoiser_of(backbone, type(self).__name__))[0].start
        noise = RowNoise(generators, tuple(x.shape[1:]), 1, "cpu")()
        return _unsigned(_signed(x) * start.signal + noise * start.noise).clamp(0, 1)

    def _plan(self, denoiser: Denoiser) -> list[Step]:
        return self._steps(denoiser, self.t)

    def _map(
        self,
        denoiser: Denoiser,
        images: Tensor,
        attempts: Sequence[int],
        generators: Sequence[torch.Generator],
        steps: list[Step],
        ctx: Context,
    ) -> Tensor:
        noise = RowNoise(generators, tuple(images.shape[1:]), 1 + noise_blocks(steps), ctx.device)
        start = steps[0].start
        state = torch.mul(_signed(images).to(ctx.device), start.signal).add_(noise(), alpha=start.noise)
        return _unsigned(denoise(denoiser, state, steps, noise, clip=self.clip))


class NoLift(Lift):
    """Nothing is lifted, for detectors that read the images alone; costs no evaluation."""

    makes = "nothing"

    @property
    def evaluations(self) -> int:
        """None."""
        return 0

    def lifted(self, backbone: Backbone, x: Tensor, ctx: Context) -> Tensors:
        """Nothing."""
        return {}


def _signed(images: Tensor) -> Tensor:
    return images * 2 - 1


def _unsigned(images: Tensor) -> Tensor:
    return images.add(1).div_(2).clamp_(0, 1).cpu()
