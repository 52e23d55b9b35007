# SPDX-License-Identifier: Apache-2.0
"""Inpainting with an unconditional diffusion model: known pixels are put back, noised, after every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from lipbench.api import InvalidInput

from .base import Denoiser
from .samplers import Noise, Step, advance, predict

Convention = Literal["alg2", "score_sde"]


def inpainting_blocks(steps: Sequence[Step], resamplings: int = 1) -> int:
    """How often `inpaint` asks for noise: once at the start, once for each noisy landing, once for each way back up."""
    return 1 + sum(resamplings * (step.stop.noise > 0) + resamplings - 1 for step in steps)


@torch.inference_mode()
def inpaint(
    denoiser: Denoiser,
    image: Tensor,
    known: Tensor,
    steps: Sequence[Step],
    noise: Noise,
    *,
    resamplings: int = 1,
    clip: bool = True,
    convention: Convention = "alg2",
) -> Tensor:
    """Fill in the pixels that are not known; resamplings evaluations of the network for each step.

    One block of noise serves both a step and the known pixels that are put back after it: a step acts on each pixel alone,
    so no number is read twice. A multistep sampler remembers the known pixels as they are, not as they were predicted.

    Replacement is a biased conditional sampler: known pixels are drawn without regard to what was filled in, so a filled
    pixel depends less on them than it should. Resampling lessens the bias. It is part of the method.

    Args:
        denoiser: The diffusion model.
        image: (B, C, H, W) in [-1, 1].
        known: Bool, broadcastable to the image; True where a pixel is kept.
        steps: From `plan`; down to 0.
        noise: New noise, asked `inpainting_blocks(steps, resamplings)` times.
        resamplings: Times that each step is taken; between them the state is diffused one step up again. RePaint takes the
            last step once; here it is no exception, which on few levels lets its large step gain too.
        clip: Clip each predicted clean image to [-1, 1].
        convention: `alg2` starts from noise everywhere and gives the known pixels back as they are. `score_sde` starts with
            the known pixels noised, and gives them back at their mean at the time of the last evaluation, c(t) image. In
            that release known pixels are also put back at the level before a step, but once more before the next
            evaluation, so that the network sees the same in both conventions.

    Returns:
        (B, C, H, W).

    Raises:
        InvalidInput: `score_sde` with resampling, or steps that end above 0.

    Sources: Y. Song et al., Score-based generative modeling through stochastic differential equations, 2021, appendix I.2;
    Z. Liu et al., Leveraging diffusion models for unsupervised out-of-distribution detection on image manifold, 2024,
    algorithm 2; A. Lugmayr et al., RePaint, CVPR 2022, algorithm 1 (`resamplings`).
    """
    if convention == "score_sde" and resamplings > 1:
        raise InvalidInput(f"convention score_sde takes each step once, not {resamplings} times; write resamplings: 1")
    if steps[-1].stop.noise > 0:
        raise InvalidInput(f"the steps end at t = {steps[-1].stop.t:g}, where known pixels are noisy; let the times end at 0")
    state = noise()
    if convention == "score_sde":
        state = _replace(known, image, steps[0].start.signal, steps[0].start.noise, state, state)
    before = None
    for step in steps:
        for again in range(resamplings, 0, -1):
            clean = torch.where(known, image, predict(denoiser, state, step.start, clip=clip))
            lower = advance(state, clean, before, step)
            if step.stop.noise > 0:
                z = noise()
                lower = _replace(known, image, step.stop.signal, step.stop.noise, z, lower.add_(z, alpha=step.fresh))
            if again > 1:
                state = torch.mul(lower, step.up_signal).add_(noise(), alpha=step.up_noise)
        state, before = lower, clean
    last = steps[-1].start
    return torch.where(known, image if convention == "alg2" else image * (last.signal * last.scale), state)


def _replace(known: Tensor, image: Tensor, signal: float, std: float, z: Tensor, state: Tensor) -> Tensor:
    return torch.where(known, torch.mul(image, signal).add_(z, alpha=std), state)
