# SPDX-License-Identifier: Apache-2.0
"""What the parts of this plugin ask of each other: backbones, lifts, distances and detectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from lipbench.api import Context, Method, Model, stable_seed

Tensors = Mapping[str, Tensor]


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

    @abstractmethod
    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise in x (B, C, L, L), scaled to [-1, 1], at times t (B,) in (0, 1]; the shape of x."""

    def features(self, x: Tensor, t: Tensor) -> list[Tensor]:
        """Activations of the encoder, (B, c_k, h_k, w_k) each, for distances; x as in `eps`."""
        raise NotImplementedError


class Lift(Method):
    """Takes images off the manifold and lets a diffusion model map them back."""

    @property
    def evaluations(self) -> int:
        """Evaluations of the network for one image, all attempts together."""
        raise NotImplementedError

    @abstractmethod
    def reconstruct(self, denoiser: Denoiser, x: Tensor, ctx: Context) -> Tensor:
        """(r, n, C, L, L) float32 in [0, 1]: r attempts for each of the images x (n, C, L, L) in [0, 1], on the CPU.

        The random numbers of an image hang on its content, the attempt and the seed (`image_generator`), never on its
        neighbours, so the result for an image is the same in any batch.
        """

    def shown(self, denoiser: Denoiser, x: Tensor, ctx: Context) -> Tensor:
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
    lifts: ClassVar[bool] = False
    """True where it reads reconstructions."""

    def share(self, reconstructions: Tensor | None) -> float:
        """Which share of the stored reconstructions (r, n, C, L, L) it reads, and so pays for."""
        return 0.0 if reconstructions is None or not self.lifts else 1.0

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        """What is learned from in-domain training images (n, C, L, L) beside the backbone: moments, neighbours."""
        return {}

    @abstractmethod
    def score(
        self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, reconstructions: Tensor | None, ctx: Context
    ) -> Scored:
        """Score images x (n, C, L, L) in [0, 1]; `reconstructions` is (r, n, C, L, L) where `lifts` is True."""


def image_generator(image: Tensor, attempt: int, ctx: Context) -> torch.Generator:
    """Random numbers for one image and one attempt, whatever the batch: seeded by the image's bytes and the seed of the suite."""
    content = image.detach().cpu().contiguous().numpy().tobytes()
    return torch.Generator().manual_seed(stable_seed(content, attempt, ctx.seed) % 2**63)
