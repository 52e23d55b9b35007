# SPDX-License-Identifier: Apache-2.0
"""A network that fills in masked pixels, trained on in-domain images."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, Dataset

from ..masks import random_patches
from .fitting import ImageBackbone
from .network import padded, unet

_SHARES = (0.5, 0.75)
"""Of the patches that are masked in training."""


class MaskedAutoencoder(ImageBackbone):
    """The U-Net of `diffusion_unet` that predicts masked pixels from the others in one go, trained on random patches.

    In every batch half to three quarters of the patches of each image are masked; their side is a divisor of the image's,
    from 1 to half of it, drawn for each batch. The loss is the mean squared error of masked pixels.

    Args:
        channels: Channels of each level; each level after the first has half the height and width.
        layers: Residual blocks a level on the way down; one more on the way up.
        steps: Steps of Adam; 0 keeps the random initial weights.
        batch_size: Images in one step.
        lr: Learning rate of Adam.

    Source: K. He et al., Masked autoencoders are scalable vision learners, CVPR 2022; a U-Net instead of a transformer.
    """

    fitted = True

    def __init__(
        self,
        *,
        channels: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (16, 32),
        layers: Annotated[int, Field(ge=1)] = 1,
        steps: Annotated[int, Field(ge=0)] = 800,
        batch_size: Annotated[int, Field(ge=1)] = 64,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-3,
    ) -> None:
        super().__init__(steps=steps, batch_size=batch_size, lr=lr)
        self.channels, self.layers = tuple(channels), layers

    def make(self) -> nn.Module:
        """From masked image and mask to an image."""
        colours, *sides = self.shape
        return unet("masked_autoencoder", sides, colours + 1, colours, channels=self.channels, layers=self.layers)

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Train on the training split.

        Raises:
            NotFinite: The loss or a weight is no longer finite.
        """
        draw = ctx.generator("masks")
        side = self.shape[1]
        sides = [p for p in range(1, side // 2 + 1) if side % p == 0]

        def loss(x: Tensor) -> Tensor:
            patch = sides[int(torch.randint(len(sides), (), generator=draw))]
            share = _SHARES[0] + (_SHARES[1] - _SHARES[0]) * float(torch.rand((), generator=draw))
            known = random_patches(side, patch, share, [draw] * len(x))[:, None].to(x.device)
            wrong = (self.fill(x, known) - x).square() * ~known
            return wrong.sum() / (known.logical_not().sum() * x.shape[1])

        self.minimise(loss, self.images(data, ctx), ctx)

    def fill(self, x: Tensor, known: Tensor) -> Tensor:
        """Images (n, C, L, L) predicted from those pixels of x in [0, 1] that are `known` (n, 1, L, L); not clipped."""
        placed, side = self.place(x), x.shape[-1]
        inputs = torch.cat([placed * known, known.to(placed.dtype).expand(len(placed), -1, -1, -1)], 1)
        image: Tensor = self.module(padded(inputs, len(self.channels)), 0, return_dict=False)[0]
        return image[..., :side, :side]
