# SPDX-License-Identifier: Apache-2.0
"""A convolutional network whose embedding is pooled, flattened or fully connected."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from lipbench.api import Context, DataSpec, InvalidInput

from .classifier import Classifier
from .layers import ACTIVATIONS, Activation, Scaling, initial_weights, outputs_of, rescale


class ConvNet(Classifier):
    """Convolutions of any stride, a last max pooling, a mean or a flattening, hidden linear layers, one linear layer.

    The embedding is what the last linear layer reads: one number a channel (`reduce: mean`), all positions of all channels
    (`reduce: flatten`), or the last of the `dense` layers. Trained by Adam on the cross entropy of the training split; with
    `epochs: 0` the initial weights stay.

    Args:
        channels: Channels of each convolution.
        strides: Stride of each convolution.
        kernel: Height and width of the filters.
        padding: True to pad each convolution by half a filter with zeros, false for none.
        activation: After each convolution and each hidden linear layer.
        batch_norm: Normalise each convolution over the batch, before its activation.
        max_pool: Window and stride of one max pooling after the last convolution; 1 for none.
        reduce: `mean` over the positions of each channel, or `flatten` to keep them all.
        dense: Widths of hidden linear layers after that.
        outputs: Number of outputs; null for one a class.
        scaling: What the network sees of the data's range: `unit` [0, 1], `centred` [-0.5, 0.5], `raw` as it is.
        epochs: Passes over the training split; 0 keeps the random initial weights and needs no labels.
        lr: Learning rate of Adam; the gradient of a mean over the positions is small, so it is larger than that of the others.
        batch_size: Rows in one step.
    """

    def __init__(
        self,
        *,
        channels: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (16, 32, 48),
        strides: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 2, 1),
        kernel: Annotated[int, Field(ge=1)] = 3,
        padding: bool = True,
        activation: Activation = "relu",
        batch_norm: bool = False,
        max_pool: Annotated[int, Field(ge=1)] = 1,
        reduce: Literal["mean", "flatten"] = "mean",
        dense: tuple[Annotated[int, Field(ge=1)], ...] = (),
        outputs: Annotated[int, Field(ge=1)] | None = None,
        scaling: Scaling = "unit",
        epochs: Annotated[int, Field(ge=0)] = 30,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-2,
        batch_size: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        super().__init__(epochs=epochs, lr=lr, batch_size=batch_size)
        if len(channels) != len(strides):
            raise InvalidInput(f"convnet: {len(channels)} channels: need as many strides:, there are {len(strides)}")
        self.channels, self.strides, self.dense = tuple(channels), tuple(strides), tuple(dense)
        self.kernel, self.padding = kernel, kernel // 2 if padding else 0
        self.activation, self.batch_norm, self.max_pool, self.reduce = activation, batch_norm, max_pool, reduce
        self.outputs, self.scaling = outputs, scaling

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Layers with torch's default initial weights.

        Raises:
            InvalidInput: The data are no images, or too small for the convolutions.
        """
        if len(spec.shape) != 3:
            raise InvalidInput(f"convnet needs images (channels, height, width), the data has shape {spec.shape}")
        outputs = outputs_of(spec, self.outputs, "convnet")
        positions = math.prod(self._side(n, spec.shape) for n in spec.shape[1:])
        layers: list[nn.Module] = [rescale(spec, self.scaling)]
        with initial_weights(ctx):
            before = spec.shape[0]
            for after, stride in zip(self.channels, self.strides, strict=True):
                layers += self._stage(before, after, stride)
                before = after
            layers += [nn.MaxPool2d(self.max_pool)] if self.max_pool > 1 else []
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if self.reduce == "mean" else [nn.Flatten()]
            width = before if self.reduce == "mean" else before * positions
            for after in self.dense:
                layers += [nn.Linear(width, after), ACTIVATIONS[self.activation]()]
                width = after
            layers.append(nn.Linear(width, outputs))
        return nn.Sequential(*layers)

    def _stage(self, before: int, after: int, stride: int) -> list[nn.Module]:
        layers: list[nn.Module] = [nn.Conv2d(before, after, self.kernel, stride=stride, padding=self.padding)]
        layers += [nn.BatchNorm2d(after)] if self.batch_norm else []
        return [*layers, ACTIVATIONS[self.activation]()]

    def _side(self, pixels: int, shape: tuple[int, ...]) -> int:
        """What is left of a side of an image after the convolutions and the pooling."""
        side = pixels
        for stride in self.strides:
            side = (side + 2 * self.padding - self.kernel) // stride + 1 if side > 0 else 0
        side //= self.max_pool
        if side < 1:
            size = f"{shape[1]}x{shape[2]}"
            raise InvalidInput(f"convnet: nothing is left of {size} pixels; write fewer channels:, or smaller strides:")
        return side
