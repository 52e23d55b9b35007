# SPDX-License-Identifier: Apache-2.0
"""A small variational autoencoder whose evidence lower bound can be evaluated at any Gaussian posterior."""

from __future__ import annotations

import math
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import log_softmax, softplus

from lipbench.api import Context, Dataset, InvalidInput

from .autoencoder import code_length, decoder, encoder, linear_decoder, linear_encoder
from .fitting import ImageBackbone

LEVELS = 256
"""Grey levels of the categorical likelihood."""
LOG_SD = (math.log(1e-2), 0.0)
"""Range of the logarithm of the noise: a decoder that reaches its data must not make the density infinite."""
LOG_VARIANCE = (-20.0, 10.0)
"""Range of the logarithm of a posterior variance, so that its exponential stays finite."""


class Layers(nn.Module):
    """Encoder, decoder, and the noise of the Gaussian likelihood."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.log_sd = nn.Parameter(torch.tensor(math.log(0.2)))


class Vae(ImageBackbone):
    """q(z|x) = N(mu(x), diag exp(logvar(x))), prior N(0, I), and a decoder with one of three likelihoods of a pixel.

    Trained by Adam on the evidence lower bound with one draw of z an image, in units of one pixel. A step costs one forward
    and one backward of `batch_size` images.

    Args:
        likelihood: `gaussian` with one learned standard deviation for all pixels, `bernoulli` with the grey level as a
            probability, or `categorical` over 256 grey levels (256 outputs a pixel; for 8-bit images).
        beta: Weight of the divergence from the prior while training; the bound itself is that of 1.
        latent: Length of z; null for 12 up to 8 pixels a side, 24 up to 16, 64 above.
        linear: One linear layer each way instead of convolutions; with `gaussian` the decoder is probabilistic PCA.
        steps: Steps of Adam; 0 keeps the random initial weights.
        batch_size: Images in one step.
        lr: Learning rate of Adam; ten times as large for the noise of `gaussian`.

    Source: D. P. Kingma, M. Welling, Auto-encoding variational Bayes, ICLR 2014, eq. 3; one learned noise for all pixels:
    O. Rybkin, K. Daniilidis, S. Levine, Simple and effective VAE training with calibrated decoders, ICML 2021.
    """

    def __init__(
        self,
        *,
        likelihood: Literal["gaussian", "bernoulli", "categorical"] = "gaussian",
        beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0,
        latent: Annotated[int, Field(ge=1)] | None = None,
        linear: bool = False,
        steps: Annotated[int, Field(ge=0)] = 1500,
        batch_size: Annotated[int, Field(ge=1)] = 128,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3,
    ) -> None:
        super().__init__(steps=steps, batch_size=batch_size, lr=lr)
        if linear and likelihood == "categorical":
            raise InvalidInput("vae: a linear decoder gives no logits of 256 levels; write likelihood: gaussian or bernoulli")
        self.likelihood, self.beta, self.latent, self.linear = likelihood, beta, latent, linear

    @property
    def dimension(self) -> int:
        """Length of z."""
        return code_length(self.shape, self.latent)

    @property
    def outputs(self) -> int:
        """Numbers that the decoder gives for one z."""
        return math.prod(self.shape) * (LEVELS if self.likelihood == "categorical" else 1)

    def make(self) -> nn.Module:
        """`encoder`, `decoder` and `log_sd`."""
        d, channels = self.dimension, self.outputs // self.shape[1] ** 2
        if self.linear:
            return Layers(linear_encoder(self.shape, 2 * d), linear_decoder(self.shape, d))
        return Layers(encoder(self.shape, 2 * d), decoder(self.shape, d, channels))

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Maximise the bound on the training split."""
        draws, d, scale = ctx.generator("noise"), self.dimension, math.prod(self.shape)

        def loss(x: Tensor) -> Tensor:
            mu, logvar = self.encode(x)
            noise = torch.randn((len(x), 1, d), generator=draws).to(x.device)
            likelihood = self.log_likelihood(x, _sample(mu, logvar, noise)).mean(1)
            return (self.beta * divergence(mu, logvar) - likelihood).mean() / scale

        x = self.images(data, ctx)
        self.minimise(loss, x, ctx, fast=[self._layers.log_sd] if self.likelihood == "gaussian" else [])

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log variances (n, d) of q(z|x), for images (n, C, L, L) in [0, 1]."""
        mu, logvar = self._layers.encoder(self.place(x)).chunk(2, dim=1)
        return mu, logvar.clamp(*LOG_VARIANCE)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Log-likelihoods log p(x|z) in nats, (n, s), for images (n, C, L, L) in [0, 1] and codes (n, s, d).

        A density for `gaussian`, minus the cross entropy for `bernoulli`, a probability for `categorical`.
        """
        x = self.place(x)
        given = self._layers.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        if self.likelihood == "categorical":
            levels = (x.clamp(0, 1) * (LEVELS - 1)).round().long()[:, None, :, None].expand(-1, z.shape[1], -1, -1, -1, -1)
            logits = given.unflatten(2, (self.shape[0], LEVELS))
            return log_softmax(logits, dim=3).gather(3, levels).flatten(2).sum(2)
        target = x.flatten(1)[:, None]
        if self.likelihood == "bernoulli":
            logits = given.flatten(2)
            return (target * logits - softplus(logits)).sum(2)
        log_sd = self._layers.log_sd.clamp(*LOG_SD)
        squares = (target - given.flatten(2)).square().sum(2)
        return -0.5 * squares * torch.exp(-2 * log_sd) - target.shape[2] * (log_sd + 0.5 * math.log(2 * math.pi))

    def bound(self, x: Tensor, mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
        """The evidence lower bound (n,) in nats of images (n, C, L, L) at posteriors N(mu, exp(logvar)), (n, d) each.

        The expected likelihood is the mean over standard normal draws `noise` (n, s, d), the divergence is exact.
        """
        return self.log_likelihood(x, _sample(mu, logvar, noise)).mean(1) - divergence(mu, logvar)

    @property
    def _layers(self) -> Layers:
        return cast(Layers, self.module)


def divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)) in nats: (n, d), (n, d) -> (n,)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)


def _sample(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """(n, s, d) codes."""
    return mu[:, None] + (0.5 * logvar).exp()[:, None] * noise
