# SPDX-License-Identifier: Apache-2.0
"""What the parts of this plugin ask of each other: backbones, lifts, distances and detectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from lipbench.api import Context, InvalidInput, Method, Model, stable_seed

Tensors = Mapping[str, Tensor]
Made = Literal["nothing", "reconstructions", "densities"]
"""What a lift makes of images, and what a detector needs of it."""


class Backbone(Model):
    """A model that is fitted on in-domain images without labels, and that detectors read. Images are (B, C, L, L) in [0, 1]."""

    fitted: ClassVar[bool] = True


class Schedule(Protocol):
    """A Gaussian forward process x_t = mean(t) x_0 + std(t) eps, in images scaled to [-1, 1]; t in (0, 1]."""

    def mean(self, t: Tensor) -> Tensor:
        """Coefficient of the signal, c(t), the shape of t."""

    def std(self, t: Tensor) -> Tensor:
        """Standard deviation of the noise, the shape of t."""

    def drift(self, t: Tensor) -> Tensor:
        """f(t) of dx = f(t) x dt + g(t) dw."""

    def diffusion(self, t: Tensor) -> Tensor:
        """g(t)."""


class Denoiser(Backbone):
    """A diffusion model: predicts the noise in a noisy image. Inside, images are scaled to [-1, 1]."""

    schedule: Schedule
    loss_curve: Tensor = torch.zeros(0)
    """Loss of the training, in order; empty where there was none."""

    @abstractmethod
    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise in x (B, C, L, L), scaled to [-1, 1], at times t (B,) in (0, 1]; the shape of x."""

    def features(self, x: Tensor, t: Tensor) -> list[Tensor]:
        """Activations of the encoder, (B, c_k, h_k, w_k) each, for distances; x as in `eps`."""
        raise NotImplementedError


class Lift(Method):
    """Takes images somewhere by a backbone: off the manifold and back again, or all the way into noise."""

    makes: ClassVar[Made] = "reconstructions"
    """What detectors find."""
    reads: ClassVar[type[Backbone] | None] = None
    """The class of backbone that it needs; None where it needs none."""

    @property
    def evaluations(self) -> int:
        """Evaluations of the network for one image, all attempts together; 0 where nothing is made."""
        raise NotImplementedError

    @abstractmethod
    def lifted(self, backbone: Backbone, x: Tensor, ctx: Context) -> Tensors:
        """What becomes of the images x (n, C, L, L) in [0, 1]; on the CPU.

        `reconstructions` (r, n, C, L, L) float32 in [0, 1], r attempts for each; or `nats` (n,) float64, log densities of the
        images scaled to [-1, 1]; or nothing. And `evaluations` of the network for one image, float64, where anything is made.

        The random numbers of an image hang on its content, the attempt and the seed (`image_generator`), never on its
        neighbours, so the result for an image is the same in any batch.
        """

    def shown(self, backbone: Backbone, x: Tensor, ctx: Context) -> Tensor:
        """(n, C, L, L) in [0, 1]: what the first attempt leaves of the images, for a reader to look at."""
        return x


class Distance(Method):
    """How far a reconstruction is from its original; larger is further."""

    @abstractmethod
    def between(self, x: Tensor, y: Tensor, backbone: Backbone, ctx: Context) -> Tensor:
        """(n,) float64 distances of images x, y (n, C, L, L) in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores of images by one detector."""

    scores: Tensor
    """(n,) float64; larger is more out of distribution."""
    evaluations: float = 0.0
    """Network evaluations for one image."""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """More about each image, (n,) or (r, n)."""


class Detector(Method):
    """Scores images by how far they are from the in-domain ones; no labels, no image from elsewhere."""

    reads: ClassVar[type[Backbone] | None] = None
    """The class of backbone that it needs; None where it needs none."""
    needs: ClassVar[Made] = "nothing"
    """What it needs of a lift."""

    def share(self, lifted: Tensors) -> float:
        """Which share of what was lifted it reads, and so pays for."""
        return float(self.needs != "nothing")

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        """What is learned from in-domain training images (n, C, L, L) beside the backbone: moments, neighbours."""
        return {}

    @abstractmethod
    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Score images x (n, C, L, L) in [0, 1]; `lifted` is what `Lift.lifted` made of them, where it needs that."""


class DensityDetector(Detector):
    """A detector that reads log densities, which the lift `probability_flow` gives."""

    reads = Denoiser
    needs = "densities"

    def calibrate_densities(self, train: Tensor, backbone: Backbone, lift: Lift, ctx: Context) -> Tensors:
        """What is learned from in-domain training images (n, C, L, L), with the lift to get their densities."""
        return {}


def denoiser_of(backbone: Backbone | None, who: str) -> Denoiser:
    """The diffusion model that somebody reads.

    Raises:
        InvalidInput: It is something else.
    """
    if not isinstance(backbone, Denoiser):
        found = "none" if backbone is None else type(backbone).__name__
        raise InvalidInput(f"{who} reads a diffusion model, found {found}; write a backbone such as use: diffusion_unet")
    return backbone


def image_generator(image: Tensor, attempt: int, ctx: Context) -> torch.Generator:
    """Random numbers for one image and one attempt, whatever the batch: seeded by the image's bytes and the seed of the suite."""
    content = image.detach().cpu().contiguous().numpy().tobytes()
    return torch.Generator().manual_seed(stable_seed(content, attempt, ctx.seed) % 2**63)
