# SPDX-License-Identifier: Apache-2.0
"""A fully connected network."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import nn

from lipbench.api import Context, DataSpec

from .classifier import Classifier
from .layers import ACTIVATIONS, Activation, Scaling, initial_weights, outputs_of, rescale


class MLP(Classifier):
    """Flatten, rescale, then linear layers with an activation between them.

    Trained by Adam on the cross entropy of the training split; with `epochs: 0` the initial weights stay.

    Args:
        hidden: Widths of the hidden layers; [] makes a linear classifier.
        activation: Between the layers.
        outputs: Number of outputs; null for one a class.
        scaling: What the network sees of the data's range: `unit` [0, 1], `centred` [-0.5, 0.5], `raw` as it is.
        epochs: Passes over the training split; 0 keeps the random initial weights and needs no labels.
        lr: Learning rate of Adam.
        batch_size: Rows in one step.
    """

    def __init__(
        self,
        *,
        hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 64),
        activation: Activation = "relu",
        outputs: Annotated[int, Field(ge=1)] | None = None,
        scaling: Scaling = "unit",
        epochs: Annotated[int, Field(ge=0)] = 60,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3,
        batch_size: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        super().__init__(epochs=epochs, lr=lr, batch_size=batch_size)
        self.hidden, self.activation, self.outputs, self.scaling = tuple(hidden), activation, outputs, scaling

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Layers with torch's default initial weights."""
        widths = (math.prod(spec.shape), *self.hidden, outputs_of(spec, self.outputs, "mlp"))
        layers: list[nn.Module] = [nn.Flatten(), rescale(spec, self.scaling)]
        with initial_weights(ctx):
            for before, after in pairwise(widths):
                layers += [nn.Linear(before, after), ACTIVATIONS[self.activation]()]
        return nn.Sequential(*layers[:-1])
