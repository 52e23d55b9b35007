# SPDX-License-Identifier: Apache-2.0
"""A small residual network."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput

from .classifier import Classifier
from .layers import Scaling, initial_weights, outputs_of, rescale


class BasicBlock(nn.Module):
    """relu(x + body(x)), where the body is convolution, normalisation, ReLU, convolution, normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_normalised(width, width), nn.ReLU(), *_normalised(width, width))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, h, w) to the same shape."""
        return self.relu(x + self.body(x))


class ResNet(Classifier):
    """A convolution, residual blocks of two convolutions each, the mean over the positions, one linear layer.

    Every convolution is 3x3, has a batch normalisation and keeps the width; only the first one may have a stride. Trained by
    Adam on the cross entropy of the training split; with `epochs: 0` the initial weights stay.

    Args:
        width: Channels of every convolution, which is the width of the embedding.
        blocks: Number of residual blocks.
        stride: Stride of the first convolution; the blocks work on images that are smaller by it.
        outputs: Number of outputs; null for one a class.
        scaling: What the network sees of the data's range: `unit` [0, 1], `centred` [-0.5, 0.5], `raw` as it is.
        epochs: Passes over the training split; 0 keeps the random initial weights and needs no labels.
        lr: Learning rate of Adam.
        batch_size: Rows in one step.

    Source: K. He, X. Zhang, S. Ren, J. Sun, Deep residual learning for image recognition, CVPR 2016, eq. (1) and figure 2.
    """

    def __init__(
        self,
        *,
        width: Annotated[int, Field(ge=1)] = 32,
        blocks: Annotated[int, Field(ge=0)] = 2,
        stride: Annotated[int, Field(ge=1)] = 2,
        outputs: Annotated[int, Field(ge=1)] | None = None,
        scaling: Scaling = "unit",
        epochs: Annotated[int, Field(ge=0)] = 30,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-3,
        batch_size: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        super().__init__(epochs=epochs, lr=lr, batch_size=batch_size)
        self.width, self.blocks, self.stride, self.outputs, self.scaling = width, blocks, stride, outputs, scaling

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Layers with torch's default initial weights.

        Raises:
            InvalidInput: The data are no images.
        """
        if len(spec.shape) != 3:
            raise InvalidInput(f"resnet needs images (channels, height, width), the data has shape {spec.shape}")
        outputs = outputs_of(spec, self.outputs, "resnet")
        layers: list[nn.Module] = [rescale(spec, self.scaling)]
        with initial_weights(ctx):
            layers += [*_normalised(spec.shape[0], self.width, self.stride), nn.ReLU()]
            layers += [BasicBlock(self.width) for _ in range(self.blocks)]
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(self.width, outputs)]
        return nn.Sequential(*layers)


def _normalised(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    """A 3x3 convolution and its batch normalisation, which has a shift of its own."""
    return [nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after)]
