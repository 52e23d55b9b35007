# SPDX-License-Identifier: Apache-2.0
"""A convolutional autoencoder, and the stacks of layers that it shares with the other baselines."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, Dataset, InvalidInput, NotApplicable

from .fitting import ImageBackbone

WIDTHS = (32, 64, 128)
"""Channels of the first, second and third convolution; further ones have as many as the third."""


class Autoencoder(ImageBackbone):
    """Convolutions of stride 2 down to 4x4 positions, a linear map to a short code, and the mirror image of both.

    Trained by Adam on the mean squared error of the reconstruction. A step costs one forward and one backward of `batch_size`
    images. Neither the code nor the reconstruction is squashed, so that with `linear` the best one is the projection on the
    first principal components.

    Args:
        latent: Length of the code; null for 12 up to 8 pixels a side, 24 up to 16, 64 above.
        linear: One linear layer each way instead of convolutions.
        steps: Steps of Adam; 0 keeps the random initial weights.
        batch_size: Images in one step.
        lr: Learning rate of Adam.

    Source: G. E. Hinton, R. R. Salakhutdinov, Reducing the dimensionality of data with neural networks, Science 313, 2006;
    the linear case: P. Baldi, K. Hornik, Neural networks and principal component analysis, Neural Networks 2, 1989.
    """

    def __init__(
        self,
        *,
        latent: Annotated[int, Field(ge=1)] | None = None,
        linear: bool = False,
        steps: Annotated[int, Field(ge=0)] = 1500,
        batch_size: Annotated[int, Field(ge=1)] = 128,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3,
    ) -> None:
        super().__init__(steps=steps, batch_size=batch_size, lr=lr)
        self.latent, self.linear = latent, linear

    def make(self) -> nn.Module:
        """`encoder` and `decoder`."""
        d = code_length(self.shape, self.latent)
        if self.linear:
            return nn.ModuleDict({"encoder": linear_encoder(self.shape, d), "decoder": linear_decoder(self.shape, d)})
        return nn.ModuleDict({"encoder": encoder(self.shape, d), "decoder": decoder(self.shape, d, self.shape[0])})

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Minimise the mean squared error on the training split."""
        self.minimise(lambda x: nn.functional.mse_loss(self.decode(self.encode(x)), x), self.images(data, ctx), ctx)

    def encode(self, x: Tensor) -> Tensor:
        """Codes (n, d) of images (n, C, L, L) in [0, 1]."""
        code: Tensor = self.module.get_submodule("encoder")(self.place(x))
        return code

    def decode(self, z: Tensor) -> Tensor:
        """Images (n, C, L, L) of codes (n, d); near [0, 1], not clipped."""
        image: Tensor = self.module.get_submodule("decoder")(self.place(z))
        return image

    def features(self, x: Tensor) -> list[Tensor]:
        """Activations after each convolution of the encoder, (n, c_k, h_k, w_k), for images (n, C, L, L) in [0, 1].

        Raises:
            NotApplicable: The autoencoder is linear, so it has no convolutions.
        """
        if self.linear:
            raise NotApplicable("a linear Autoencoder has no convolutions to take features from; write linear: false")
        h, found = self.place(x), []
        for layer in self.module.get_submodule("encoder").children():
            if isinstance(layer, nn.Flatten):
                break
            h = layer(h)
            found += [h] if isinstance(layer, nn.ReLU) else []
        return found


def code_length(shape: tuple[int, int, int], latent: int | None) -> int:
    """The given length of the code, else the default for a side: 12 up to 8 pixels, 24 up to 16, 64 above."""
    if latent is not None:
        return latent
    return 12 if shape[1] <= 8 else 24 if shape[1] <= 16 else 64


def sides(side: int) -> list[int]:
    """Sides of an image, halved and rounded up until it is 4 or less.

    Raises:
        InvalidInput: It is smaller than 8 pixels already.

    >>> sides(28)
    [28, 14, 7, 4]
    """
    if side < 8:
        raise InvalidInput(f"the convolutions need images of 8x8 pixels or more, the data has {side}x{side}")
    found = [side]
    while found[-1] > 4:
        found.append((found[-1] + 1) // 2)
    return found


def width(stage: int) -> int:
    """Channels after that convolution, from 0."""
    return WIDTHS[min(stage, len(WIDTHS) - 1)]


def encoder(shape: tuple[int, int, int], outputs: int) -> nn.Sequential:
    """3x3 convolutions of stride 2 with ReLU, then one linear layer: (n, C, L, L) -> (n, outputs)."""
    down, layers, before = sides(shape[1]), [], shape[0]
    for stage in range(len(down) - 1):
        layers += [nn.Conv2d(before, width(stage), 3, stride=2, padding=1), nn.ReLU()]
        before = width(stage)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * down[-1] ** 2, outputs))


def decoder(shape: tuple[int, int, int], latent: int, channels: int) -> nn.Sequential:
    """The mirror image of `encoder` with transposed convolutions: (n, latent) -> (n, channels, L, L), no last activation."""
    up = sides(shape[1])[::-1]
    stages = len(up) - 1
    layers: list[nn.Module] = [
        nn.Linear(latent, width(stages - 1) * up[0] ** 2),
        nn.ReLU(),
        nn.Unflatten(1, (width(stages - 1), up[0], up[0])),
    ]
    for i in range(stages):
        last = i == stages - 1
        after = channels if last else width(stages - 2 - i)
        # A side that was odd comes back to it without the extra row.
        extra = up[i + 1] - (2 * up[i] - 1)
        layers.append(nn.ConvTranspose2d(width(stages - 1 - i), after, 3, stride=2, padding=1, output_padding=extra))
        layers += [] if last else [nn.ReLU()]
    return nn.Sequential(*layers)


def linear_encoder(shape: tuple[int, int, int], outputs: int) -> nn.Sequential:
    """(n, C, L, L) -> (n, outputs), affine."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), outputs))


def linear_decoder(shape: tuple[int, int, int], latent: int) -> nn.Sequential:
    """(n, latent) -> (n, C, L, L), affine."""
    return nn.Sequential(nn.Linear(latent, math.prod(shape)), nn.Unflatten(1, shape))
