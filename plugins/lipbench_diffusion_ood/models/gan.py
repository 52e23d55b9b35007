# SPDX-License-Identifier: Apache-2.0
"""A small generative adversarial network whose discriminator has bounded slope."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils.parametrizations import spectral_norm

from lipbench.api import Context, Dataset

from .autoencoder import code_length, decoder, sides, width
from .fitting import ImageBackbone


class Gan(ImageBackbone):
    """A generator of transposed convolutions against a discriminator of spectrally normalised convolutions (DCGAN).

    Both minimise the non-saturating loss by Adam with a first moment of 0.5, in turn. A step costs one forward and
    one backward of `batch_size` images through the generator, and three of each through the discriminator.

    Args:
        latent: Length of z ~ N(0, I); null for 12 up to 8 pixels a side, 24 up to 16, 64 above.
        steps: Steps of each of the two; 0 keeps the random initial weights.
        batch_size: Images in one step.
        lr: Learning rate of Adam, for both.

    Source: I. Goodfellow et al., Generative adversarial nets, NeurIPS 2014; A. Radford, L. Metz, S. Chintala, Unsupervised
    representation learning with deep convolutional generative adversarial networks, ICLR 2016; T. Miyato et al., Spectral
    normalization for generative adversarial networks, ICLR 2018.
    """

    def __init__(
        self,
        *,
        latent: Annotated[int, Field(ge=1)] | None = None,
        steps: Annotated[int, Field(ge=0)] = 800,
        batch_size: Annotated[int, Field(ge=1)] = 64,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3,
    ) -> None:
        super().__init__(steps=steps, batch_size=batch_size, lr=lr)
        self.latent = latent

    @property
    def dimension(self) -> int:
        """Length of z."""
        return code_length(self.shape, self.latent)

    def make(self) -> nn.Module:
        """`generator`, `trunk` (the discriminator up to its features) and `head`."""
        down = sides(self.shape[1])
        stages, last = len(down), (down[-1] + 1) // 2
        return nn.ModuleDict(
            {
                "generator": nn.Sequential(*decoder(self.shape, self.dimension, self.shape[0]), nn.Sigmoid()),
                "trunk": _trunk(self.shape[0], stages),
                "head": spectral_norm(nn.Linear(width(stages - 1) * last**2, 1)),
            }
        )

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Play the game on the training split.

        Raises:
            NotFinite: A loss or a weight is no longer finite.
        """
        x, noise = self.images(data, ctx), ctx.generator("noise")
        self.module.to(ctx.device).train().requires_grad_(True)
        makes = torch.optim.Adam(self._part("generator").parameters(), lr=self.lr, betas=(0.5, 0.999), fused=True)
        judge = [*self._part("trunk").parameters(), *self._part("head").parameters()]
        judges = torch.optim.Adam(judge, lr=self.lr, betas=(0.5, 0.999), fused=True)
        for step, rows in self.batches(len(x), ctx):
            fake = self.generate(torch.randn((len(rows), self.dimension), generator=noise))
            real = x[rows.to(x.device)]
            on_real, on_fake = self._judge(torch.cat([real, fake.detach()])).chunk(2)
            seen = softplus(-on_real).mean() + softplus(on_fake).mean()
            _step(judges, judge, seen)
            made = softplus(-self._judge(fake)).mean()
            _step(makes, list(self._part("generator").parameters()), made)
            self.watch(step, {"discriminator's loss": seen, "generator's loss": made}, ctx)
        self.done()

    def generate(self, z: Tensor) -> Tensor:
        """Images (n, C, L, L) in [0, 1] of z (n, d)."""
        images: Tensor = self._part("generator")(self.place(z))
        return images

    def features(self, x: Tensor) -> list[Tensor]:
        """Activations after each convolution of the discriminator, (n, c_k, h_k, w_k), for images (n, C, L, L) in [0, 1].

        The last ones are all that its output reads.
        """
        h, found = self.place(x), []
        for layer in self._part("trunk").children():
            h = layer(h)
            found += [h] if isinstance(layer, nn.LeakyReLU) else []
        return found

    def _judge(self, x: Tensor) -> Tensor:
        return self._part("head")(self._part("trunk")(x).flatten(1))

    def _part(self, name: str) -> nn.Module:
        return self.module.get_submodule(name)


def _trunk(channels: int, stages: int) -> nn.Sequential:
    """Convolutions of stride 2; (n, C, L, L) -> (n, c, 2, 2)."""
    before = channels
    layers: list[nn.Module] = []
    for stage in range(stages):
        layers += [spectral_norm(nn.Conv2d(before, width(stage), 3, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        before = width(stage)
    return nn.Sequential(*layers)


def _step(optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], loss: Tensor) -> None:
    """One step on these parameters alone; those of the other player get no gradient."""
    for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        p.grad = gradient
    optimiser.step()
