# SPDX-License-Identifier: Apache-2.0
"""A small vision transformer."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput

from .classifier import Classifier
from .layers import Scaling, initial_weights, outputs_of, rescale


class Patches(nn.Module):
    """Cut an image into squares, map each linearly to a token, add the learned position of each."""

    def __init__(self, channels: int, width: int, patch: int, tokens: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        # Ten times the usual deviation: a mean over the tokens keeps nothing else of their order, and training is short.
        self.position = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, tokens, width), std=0.2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to (B, tokens, width)."""
        return self.embed(x).flatten(2).transpose(1, 2) + self.position


class Attention(nn.Module):
    """Multi-head self-attention, written out.

    torch's fused kernels differ between training, inference and devices, and some have no second derivative; these matrix
    products give the same bits with and without gradients.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inwards, self.outwards = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, tokens, width) to the same shape."""
        batch, tokens, width = x.shape
        parts = self.inwards(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        weights = torch.softmax(query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5, dim=-1)
        return self.outwards((weights @ value).transpose(1, 2).reshape(batch, tokens, width))


class EncoderBlock(nn.Module):
    """Attention, then two linear layers for each token, each on normalised input and added to it (pre-norm)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads))
        self.feedforward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, tokens, width) to the same shape."""
        x = x + self.attention(x)
        return x + self.feedforward(x)


class TokenMean(nn.Module):
    """The mean over the tokens, (B, tokens, width) -> (B, width)."""

    def forward(self, x: Tensor) -> Tensor:
        """Average over the second axis."""
        return x.mean(1)


class ViT(Classifier):
    """Patches as tokens, pre-norm encoder layers, a last normalisation, the mean over the tokens, one linear layer.

    No dropout and no class token. Trained by Adam on the cross entropy of the training split; with `epochs: 0` the initial
    weights stay.

    Args:
        width: Numbers in a token, which is the width of the embedding.
        patch: Height and width of a patch in pixels; it must divide those of the images.
        layers: Number of encoder layers.
        heads: Heads of the attention; they must divide the width.
        hidden: Width of the hidden layer of the feed-forward part; null for twice the width.
        outputs: Number of outputs; null for one a class.
        scaling: What the network sees of the data's range: `unit` [0, 1], `centred` [-0.5, 0.5], `raw` as it is.
        epochs: Passes over the training split; 0 keeps the random initial weights and needs no labels.
        lr: Learning rate of Adam.
        batch_size: Rows in one step.

    Source: A. Dosovitskiy et al., An image is worth 16x16 words, ICLR 2021, eqs. (1)-(4), with the mean in place of (4).
    """

    def __init__(
        self,
        *,
        width: Annotated[int, Field(ge=1)] = 32,
        patch: Annotated[int, Field(ge=1)] = 2,
        layers: Annotated[int, Field(ge=1)] = 2,
        heads: Annotated[int, Field(ge=1)] = 4,
        hidden: Annotated[int, Field(ge=1)] | None = None,
        outputs: Annotated[int, Field(ge=1)] | None = None,
        scaling: Scaling = "unit",
        epochs: Annotated[int, Field(ge=0)] = 30,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-3,
        batch_size: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        super().__init__(epochs=epochs, lr=lr, batch_size=batch_size)
        if width % heads:
            raise InvalidInput(
                f"vit: heads: {heads} do not divide width: {width}; write a width that is a multiple of the heads"
            )
        self.width, self.patch, self.layers, self.heads = width, patch, layers, heads
        self.hidden = 2 * width if hidden is None else hidden
        self.outputs, self.scaling = outputs, scaling

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Layers with torch's default initial weights, positions from a truncated normal distribution.

        Raises:
            InvalidInput: The data are no images, or the patches do not tile them.
        """
        if len(spec.shape) != 3:
            raise InvalidInput(f"vit needs images (channels, height, width), the data has shape {spec.shape}")
        channels, height, width = spec.shape
        if height % self.patch or width % self.patch:
            raise InvalidInput(f"vit: {height}x{width} pixels are not tiled by patch: {self.patch}; write a divisor of both")
        outputs = outputs_of(spec, self.outputs, "vit")
        tokens = (height // self.patch) * (width // self.patch)
        parts: list[nn.Module] = [rescale(spec, self.scaling)]
        with initial_weights(ctx):
            parts.append(Patches(channels, self.width, self.patch, tokens))
            parts += [EncoderBlock(self.width, self.heads, self.hidden) for _ in range(self.layers)]
            parts += [nn.LayerNorm(self.width), TokenMean(), nn.Linear(self.width, outputs)]
        return nn.Sequential(*parts)
