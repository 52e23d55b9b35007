# SPDX-License-Identifier: Apache-2.0
"""Detectors from the likelihood of the diffusion model: bits a dimension, typicality, and complexity taken off."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from lipbench.api import Context, InvalidInput

from ..base import Backbone, DensityDetector, Lift, Scored, Tensors
from ..compression import compressed_bits
from ..likelihood import bits_per_dim
from .common import calibration_images, checked


class Likelihood(DensityDetector):
    """Negative log likelihood under the diffusion model, in bits a dimension of 8-bit images.

    The densities come from the lift `probability_flow`, which counts their cost. Smooth and faint images get high likelihoods
    wherever they come from, so this detector is known to fail on them.

    Source: C. M. Bishop, Novelty detection and neural network validation, 1994; Y. Song et al., Score-based generative modeling
    through stochastic differential equations, ICLR 2021, eq. 39.
    """

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Bits a dimension."""
        return Scored(scores=checked(_bits(x, lifted, "likelihood"), "likelihood"))


class Typicality(DensityDetector):
    """How far the likelihood of an image is from the mean of in-domain training images, either way, in bits a dimension.

    Catches images that are too likely. The calibration costs the lift once for each of its images.

    Args:
        images: Training images of the calibration.

    Source: E. Nalisnick et al., Detecting out-of-distribution inputs to deep generative models using typicality, 2019, eq. 4,
    with one image as the batch.
    """

    def __init__(self, *, images: Annotated[int, Field(ge=2, le=1000)] = 200) -> None:
        self.images = images

    def calibrate_densities(self, train: Tensor, backbone: Backbone, lift: Lift, ctx: Context) -> Tensors:
        """Mean over the training images."""
        chosen = calibration_images(train, ctx, self.images)
        return {"mean": _bits(chosen, lift.lifted(backbone, chosen, ctx), "typicality").mean()[None]}

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Absolute differences; bits a dimension are kept as an extra."""
        bits = _bits(x, lifted, "typicality")
        return Scored(scores=checked((bits - calibrated["mean"]).abs(), "typicality"), extras={"bits_per_dim": bits})


class InputComplexity(DensityDetector):
    """Bits of an image under the diffusion model minus its bits under a lossless compressor, both for the whole 8-bit image.

    Corrects the likelihood for the complexity of the image.

    Args:
        compressor: `zlib` on the raw bytes, or `png` (the source's, needs pillow); both at level 9. Of PNG a constant part of
            at least 57 bytes is a header, more than an image of 8x8 pixels has, and a byte for each row of pixels.

    Source: J. Serrà et al., Input complexity and out-of-distribution detection with likelihood-based generative models, ICLR
    2020, eq. 3.
    """

    def __init__(self, *, compressor: Literal["png", "zlib"] = "zlib") -> None:
        self.compressor: Literal["png", "zlib"] = compressor

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Differences in bits; both sides are kept as extras."""
        bits, compressed = _bits(x, lifted, "input_complexity") * x[0].numel(), compressed_bits(x, self.compressor)
        extras = {"model_bits": bits, "compressed_bits": compressed}
        return Scored(scores=checked(bits - compressed, "input_complexity"), extras=extras)


def _bits(x: Tensor, lifted: Tensors, who: str) -> Tensor:
    """(n,) bits a dimension of images x (n, C, L, L), as 8-bit ones."""
    if "nats" not in lifted:
        raise InvalidInput(f"{who} reads log densities, found none; write lift: probability_flow")
    return bits_per_dim(lifted["nats"], x[0].numel())
