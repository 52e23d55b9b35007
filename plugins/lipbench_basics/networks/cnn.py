# SPDX-License-Identifier: Apache-2.0
"""A small convolutional network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from lipbench.api import Context, DataSpec, InvalidInput

from .classifier import Classifier
from .layers import ACTIVATIONS, Activation, Scaling, initial_weights, outputs_of, rescale


class CNN(Classifier):
    """3x3 convolutions that halve the image, then one linear layer.

    Trained by Adam on the cross entropy of the training split; with `epochs: 0` the initial weights stay.

    Args:
        channels: Channels of each convolution; each halves height and width.
        down: How: `stride` convolves every second place, `average` convolves everywhere and averages 2x2 windows.
        activation: After each convolution.
        outputs: Number of outputs; null for one a class.
        scaling: What the network sees of the data's range: `unit` [0, 1], `centred` [-0.5, 0.5], `raw` as it is.
        epochs: Passes over the training split; 0 keeps the random initial weights and needs no labels.
        lr: Learning rate of Adam.
        batch_size: Rows in one step.
    """

    def __init__(
        self,
        *,
        channels: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (16, 32),
        down: Literal["stride", "average"] = "stride",
        activation: Activation = "relu",
        outputs: Annotated[int, Field(ge=1)] | None = None,
        scaling: Scaling = "unit",
        epochs: Annotated[int, Field(ge=0)] = 10,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3,
        batch_size: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        super().__init__(epochs=epochs, lr=lr, batch_size=batch_size)
        self.channels, self.down, self.activation = tuple(channels), down, activation
        self.outputs, self.scaling = outputs, scaling

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Layers with torch's default initial weights.

        Raises:
            InvalidInput: The data are no images, or too small to be halved so often.
        """
        if len(spec.shape) != 3:
            raise InvalidInput(f"cnn needs images (channels, height, width), the data has shape {spec.shape}")
        before, height, width = spec.shape
        outputs = outputs_of(spec, self.outputs, "cnn")
        layers: list[nn.Module] = [rescale(spec, self.scaling)]
        with initial_weights(ctx):
            for after in self.channels:
                if min(height, width) < 2:
                    size = f"{spec.shape[1]}x{spec.shape[2]}"
                    raise InvalidInput(f"cnn: {size} pixels cannot be halved {len(self.channels)} times; write fewer channels:")
                layers += self._stage(before, after)
                # A stride rounds up, a window of two rounds down.
                extra = 1 if self.down == "stride" else 0
                before, height, width = after, (height + extra) // 2, (width + extra) // 2
            layers += [nn.Flatten(), nn.Linear(before * height * width, outputs)]
        return nn.Sequential(*layers)

    def _stage(self, before: int, after: int) -> list[nn.Module]:
        activation = ACTIVATIONS[self.activation]()
        if self.down == "stride":
            return [nn.Conv2d(before, after, 3, stride=2, padding=1), activation]
        return [nn.Conv2d(before, after, 3, padding=1), activation, nn.AvgPool2d(2)]
