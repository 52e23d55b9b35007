# SPDX-License-Identifier: Apache-2.0
"""Likelihood regret: how much a variational autoencoder's bound gains when the posterior is fitted to one image."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, NotFinite

from ..base import Backbone, Detector, Scored, Tensors, image_generator
from ..models.fitting import descend, parts, required
from ..models.vae import Vae


class LikelihoodRegret(Detector):
    """max over q of ELBO(x; q) - ELBO(x; q(z|x)), in nats, never negative.

    The mean and the variances of a diagonal Gaussian q are fitted to each image, from those of the encoder, by Adam with a
    falling rate; all images are one batch. Both bounds use the same draws of z, and the best bound met is kept. The draws
    are antithetic and, where there are twice as many as latent dimensions, orthogonal, so that their second moments are
    exact: the bound has no sampling error where the likelihood is quadratic in z.

    The published method fits a copy of the encoder to each image instead, and takes importance-sampled likelihoods.

    Costs 1 forward of the encoder, (steps + 1) * samples forwards and steps * samples backwards of the decoder an image.

    Args:
        steps: Steps of Adam.
        samples: Draws of z an image, even.
        lr: Rate of the first step, in the mean and the log variance.

    Source: Z. Xiao, Q. Yan, Y. Amit, Likelihood regret: an out-of-distribution detection score for variational auto-encoder,
    NeurIPS 2020, eq. 6.
    """

    reads: ClassVar[type[Backbone] | None] = Vae

    def __init__(
        self,
        *,
        steps: Annotated[int, Field(ge=0)] = 40,
        samples: Annotated[int, Field(ge=2, multiple_of=2)] = 32,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.2,
    ) -> None:
        self.steps, self.samples, self.lr = steps, samples, lr

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Regrets (n,) in nats; the extras have the encoder's bound as `elbo`.

        Raises:
            InvalidInput: The backbone is no `Vae` for images of this shape.
            NotFinite: A bound is NaN or infinite.
        """
        vae = required(backbone, Vae, x, "likelihood_regret", ctx)
        found = [self._fit(vae, x[span], ctx) for span in parts(len(x), self.samples * 8 * vae.outputs, ctx, 2**20)]
        encoders, best = (torch.cat(column).double().cpu() for column in zip(*found, strict=True))
        regret = encoders - best
        if not bool(regret.isfinite().all()):
            raise NotFinite(f"likelihood_regret: the bound of image {int(regret.isfinite().int().argmin())} is not finite")
        return Scored(scores=regret, evaluations=1 + (self.steps + 1) * self.samples, extras={"elbo": -encoders})

    def _fit(self, vae: Vae, x: Tensor, ctx: Context) -> tuple[Tensor, Tensor]:
        """Negative bounds of the encoder and the best ones, (n,) each."""
        noise = vae.place(_draws(x, self.samples // 2, vae.dimension, ctx))
        placed = vae.place(x)
        with torch.no_grad():
            start = vae.encode(placed)
        return descend(start, lambda mu, logvar: -vae.bound(placed, mu, logvar, noise), steps=self.steps, lr=self.lr)


def _draws(x: Tensor, pairs: int, d: int, ctx: Context) -> Tensor:
    """(n, 2 pairs, d) standard normal draws in float64, those of an image by its own generator.

    Each comes with its negative. Up to d = pairs the columns are made orthogonal, above that they get unit mean square.
    """
    draws = torch.stack([torch.randn((pairs, d), generator=image_generator(row, 0, ctx), dtype=torch.float64) for row in x])
    if d <= pairs:
        basis, upper = torch.linalg.qr(draws)
        # The signs make the basis uniformly distributed (F. Mezzadri, Notices of the AMS 54, 2007).
        draws = basis * upper.diagonal(dim1=1, dim2=2).sign()[:, None] * pairs**0.5
    else:
        draws = draws / draws.square().mean(1, keepdim=True).sqrt()
    return torch.cat([draws, -draws], dim=1)
