# SPDX-License-Identifier: Apache-2.0
"""Detectors that noise an image to several levels and look at how well the diffusion model removes the noise."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context

from ..base import Backbone, Denoiser, Detector, Scored, Tensors, denoiser_of
from ..distances.pairs import MeanSquared
from ..distances.perceptual import PerceptualDenoiser
from ..models.fitting import parts
from .common import calibration_images, checked, noise

# Numbers in the noisy images that go through the network together; bounds the memory.
_AT_ONCE = 2**17
_TINY = 1e-12


class NoiseError(Detector):
    """The training loss of the diffusion model on one image: the mean squared error of its noise prediction, over times.

    s(x) = mean over t and pixels of (eps(c(t) x + std(t) e, t) - e)^2, with noise e of the image's own for each time. Up to
    a weighting of the times it is a bound of the negative log likelihood, and fails as that does: on smooth or faint
    images. Cost: `times` evaluations an image, in one batch.

    Args:
        times: Number of times t, evenly spaced: (k - 1/2) / times.

    Source: J. Ho, A. Jain, P. Abbeel, Denoising diffusion probabilistic models, NeurIPS 2020, eq. 14.
    """

    reads = Denoiser

    def __init__(self, *, times: Annotated[int, Field(ge=1)] = 10) -> None:
        self.times = times

    @torch.inference_mode()
    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Mean squared errors; those of each time are kept as an extra (times, n)."""
        denoiser = denoiser_of(backbone, "eps_mse")
        t = (torch.arange(1, self.times + 1, device=ctx.device, dtype=torch.float64) - 0.5).div(self.times).to(x.dtype)
        found = []
        for span in parts(len(x), self.times * x[0].numel(), ctx, _AT_ONCE):
            images = x[span].to(ctx.device)
            e = noise(x[span], self.times, ctx).to(ctx.device)
            noisy = _column(denoiser.schedule.mean(t)) * (2 * images - 1) + _column(denoiser.schedule.std(t)) * e
            guess = denoiser.eps(noisy.flatten(0, 1), t.repeat_interleave(len(images))).view_as(e)
            found.append((guess - e).double().square().mean((2, 3, 4)).cpu())
        errors = torch.cat(found, dim=1)
        return Scored(scores=checked(errors.mean(0), "eps_mse"), evaluations=self.times, extras={"errors": errors})


class MultiLevel(Detector):
    """Reconstruction errors from many levels of noise, each compared with those of in-domain images, averaged.

    An image is noised to the levels t = 1/K, ..., 1 and denoised from each by deterministic steps of 1/K (DDIM, predictions
    clipped to [-1, 1]). The mean squared error and, with `perceptual`, the distance of the diffusion model's own features
    (`perc_unet`) at each level are standardised by their mean and deviation over in-domain training images; the score is the
    mean of all. The source uses LPIPS for the second, a PLMS sampler, and validation images. Chains that have
    reached the same level go through the network together.

    Cost: K (K + 1) / 2 evaluations an image, and K + 1 of the encoder with `perceptual`; the same for each image of the
    calibration.

    Args:
        levels: Number of levels K.
        perceptual: Whether the distance of features enters beside the mean squared error.
        images: Training images of the calibration; of 300 the deviation is known to 4 %.

    Source: M. S. Graham et al., Denoising diffusion models for out-of-distribution detection, CVPR workshops 2023
    (arXiv:2211.07740), section 3.2.
    """

    reads = Denoiser

    def __init__(
        self,
        *,
        levels: Annotated[int, Field(ge=1)] = 10,
        perceptual: bool = True,
        images: Annotated[int, Field(ge=2, le=1000)] = 300,
    ) -> None:
        self.levels, self.perceptual, self.images = levels, perceptual, images

    @property
    def evaluations(self) -> int:
        """Network evaluations for one image, those of the encoder included."""
        return self.levels * (self.levels + 1) // 2 + (self.levels + 1 if self.perceptual else 0)

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        """Mean and deviation of each error over the training images."""
        errors = self.errors(calibration_images(train, ctx, self.images), denoiser_of(backbone, "multi_t"), ctx)
        return {"mean": errors.mean(1), "std": errors.std(1).clamp(min=_TINY)}

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Mean standardised error; the errors themselves are kept as an extra (levels or twice as many, n)."""
        errors = self.errors(x, denoiser_of(backbone, "multi_t"), ctx)
        z = (errors - calibrated["mean"][:, None]) / calibrated["std"][:, None]
        return Scored(scores=checked(z.mean(0), "multi_t"), evaluations=self.evaluations, extras={"errors": errors})

    @torch.inference_mode()
    def errors(self, x: Tensor, denoiser: Denoiser, ctx: Context) -> Tensor:
        """(K, n) mean squared errors from each level, and below them (K, n) distances of features; float64."""
        distances = [MeanSquared(), PerceptualDenoiser()] if self.perceptual else [MeanSquared()]
        found = []
        for span in parts(len(x), self.levels * x[0].numel(), ctx, _AT_ONCE):
            back = self.reconstruct(x[span], denoiser, ctx)
            found.append(torch.cat([distance.attempts(x[span], back, denoiser, ctx) for distance in distances]))
        return torch.cat(found, dim=1)

    @torch.inference_mode()
    def reconstruct(self, x: Tensor, denoiser: Denoiser, ctx: Context) -> Tensor:
        """(K, n, C, L, L) reconstructions in [0, 1] of images x (n, C, L, L), from levels 1/K, ..., 1, on `ctx.device`."""
        schedule, count = denoiser.schedule, self.levels
        clean = 2 * x.to(ctx.device) - 1
        e = noise(x, count, ctx).to(ctx.device)
        t = torch.arange(count + 1, device=ctx.device, dtype=torch.float64).div(count).to(clean.dtype)
        c, std = schedule.mean(t[1:]), schedule.std(t[1:])
        live = clean.new_empty(0, *clean.shape)
        for k in range(count - 1, -1, -1):
            live = torch.cat([(c[k] * clean + std[k] * e[k])[None], live])  # the chain that starts here goes in front
            rows = live.flatten(0, 1)
            guess = denoiser.eps(rows, t[k + 1].expand(len(rows)))
            image = ((rows - std[k] * guess) / c[k]).clamp(-1, 1)
            if k:  # the noise that stays is that of the clipped image
                image = c[k - 1] * image + std[k - 1] * (rows - c[k] * image) / std[k]
            live = image.view_as(live)
        return (live + 1) / 2


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None, None]
