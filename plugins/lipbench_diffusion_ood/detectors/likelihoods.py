# SPDX-License-Identifier: Apache-2.0
"""Detectors from the likelihood of the diffusion model: bits a dimension, typicality, and complexity taken off."""

from __future__ import annotations

import io
import zlib
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, InvalidInput

from ..base import Backbone, Denoiser, Detector, Scored, Tensors
from ..likelihood import bits_per_dim, log_likelihood
from .common import calibration_images, checked, denoiser_of


class _OfLikelihood(Detector):
    """What the detectors of this file share.

    Args:
        intervals: Steps of Heun's method.
        probes: Random probes of the divergence, for each image.
        exact_trace: Compute the divergence without probes; costs as many backward passes as an image has values.
    """

    reads = Denoiser
    name = "likelihood"

    def __init__(
        self,
        *,
        intervals: Annotated[int, Field(ge=1)] = 50,
        probes: Annotated[int, Field(ge=1)] = 1,
        exact_trace: bool = False,
    ) -> None:
        self.intervals, self.probes, self.exact_trace = intervals, probes, exact_trace

    def bits(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> tuple[Tensor, float]:
        """(n,) -log2 of the probability of each whole image in 8 bits, and the network passes for one, backward ones included."""
        size = x[0].numel()
        nats, evaluations = log_likelihood(
            denoiser_of(backbone, self.name),
            x,
            intervals=self.intervals,
            probes=self.probes,
            exact_trace=self.exact_trace,
            ctx=ctx,
        )
        return size * bits_per_dim(nats, size), evaluations


class Likelihood(_OfLikelihood):
    """Negative log likelihood under the diffusion model, in bits a dimension of 8-bit images.

    By the probability-flow equation with Heun's method. Smooth and faint images get high likelihoods wherever they come from,
    so this detector is known to fail on them.

    Args:
        intervals: Steps of Heun's method.
        probes: Random probes of the divergence, for each image.
        exact_trace: Compute the divergence without probes; costs as many backward passes as an image has values.

    Source: C. M. Bishop, Novelty detection and neural network validation, 1994; Y. Song et al., Score-based generative modeling
    through stochastic differential equations, ICLR 2021, eq. 39.
    """

    def score(
        self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, reconstructions: Tensor | None, ctx: Context
    ) -> Scored:
        """Bits a dimension."""
        bits, evaluations = self.bits(x, backbone, ctx)
        return Scored(scores=checked(bits / x[0].numel(), self.name), evaluations=evaluations)


class Typicality(_OfLikelihood):
    """How far the likelihood of an image is from the mean of in-domain training images, either way, in bits a dimension.

    Catches images that are too likely. Cost: as `likelihood`, and the same for each image of the calibration.

    Args:
        intervals: Steps of Heun's method.
        probes: Random probes of the divergence, for each image.
        exact_trace: Compute the divergence without probes; costs as many backward passes as an image has values.
        images: Training images of the calibration.

    Source: E. Nalisnick et al., Detecting out-of-distribution inputs to deep generative models using typicality, 2019, eq. 4,
    with one image as the batch.
    """

    name = "typicality"

    def __init__(
        self,
        *,
        intervals: Annotated[int, Field(ge=1)] = 50,
        probes: Annotated[int, Field(ge=1)] = 1,
        exact_trace: bool = False,
        images: Annotated[int, Field(ge=2, le=1000)] = 200,
    ) -> None:
        super().__init__(intervals=intervals, probes=probes, exact_trace=exact_trace)
        self.images = images

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        """Mean over the training images."""
        chosen = calibration_images(train, ctx, self.images)
        bits, _ = self.bits(chosen, backbone, ctx)
        return {"mean": (bits / chosen[0].numel()).mean()[None]}

    def score(
        self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, reconstructions: Tensor | None, ctx: Context
    ) -> Scored:
        """Absolute differences; bits a dimension are kept as an extra."""
        bits, evaluations = self.bits(x, backbone, ctx)
        each = bits / x[0].numel()
        scores = checked((each - calibrated["mean"]).abs(), self.name)
        return Scored(scores=scores, evaluations=evaluations, extras={"bits_per_dim": each})


class InputComplexity(_OfLikelihood):
    """Bits of an image under the diffusion model minus its bits under a lossless compressor, both for the whole 8-bit image.

    Corrects the likelihood for the complexity of the image. Cost: as `likelihood`.

    Args:
        compressor: `zlib` on the raw bytes, or `png` (the source's, needs pillow); both at level 9. Of PNG a constant part of
            at least 57 bytes is a header, more than an image of 8x8 pixels has, and a byte for each row of pixels.
        intervals: Steps of Heun's method.
        probes: Random probes of the divergence, for each image.
        exact_trace: Compute the divergence without probes; costs as many backward passes as an image has values.

    Source: J. Serrà et al., Input complexity and out-of-distribution detection with likelihood-based generative models, ICLR
    2020, eq. 3.
    """

    name = "input_complexity"

    def __init__(
        self,
        *,
        compressor: Literal["png", "zlib"] = "zlib",
        intervals: Annotated[int, Field(ge=1)] = 50,
        probes: Annotated[int, Field(ge=1)] = 1,
        exact_trace: bool = False,
    ) -> None:
        super().__init__(intervals=intervals, probes=probes, exact_trace=exact_trace)
        self.compressor: Literal["png", "zlib"] = compressor

    def score(
        self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, reconstructions: Tensor | None, ctx: Context
    ) -> Scored:
        """Differences in bits; both sides are kept as extras."""
        compressed = compressed_bits(x, self.compressor)
        bits, evaluations = self.bits(x, backbone, ctx)
        extras = {"model_bits": bits, "compressed_bits": compressed}
        return Scored(scores=checked(bits - compressed, self.name), evaluations=evaluations, extras=extras)


def compressed_bits(x: Tensor, compressor: Literal["png", "zlib"]) -> Tensor:
    """(n,) float64 lengths in bits of images (n, C, L, L) in [0, 1], rounded to 8 bits a value and compressed without loss.

    Raises:
        InvalidInput: PNG of images that are neither grey nor RGB, or without pillow.
    """
    levels = (x.detach().cpu().double().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    encode = _png if compressor == "png" else _zlib
    return torch.tensor([8.0 * encode(image) for image in levels], dtype=torch.float64)


def _zlib(image: np.ndarray) -> int:
    return len(zlib.compress(image.tobytes(), 9))


def _png(image: np.ndarray) -> int:
    try:
        from PIL import Image
    except ImportError as error:
        raise InvalidInput("compressor: png needs the package pillow: pip install 'lipbench[vision]'; or write zlib") from error
    if image.shape[2] not in (1, 3):
        raise InvalidInput(f"compressor: png takes grey or RGB images, found {image.shape[2]} channels; write compressor: zlib")
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(file, "PNG", compress_level=9)
    return len(file.getvalue())
