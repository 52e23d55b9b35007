# SPDX-License-Identifier: Apache-2.0
"""The source's image networks, trained as it trains them, and small ones in place of its two large ones."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from lipbench_basics.networks.classifier import Classifier
from lipbench_basics.networks.layers import initial_weights, outputs_of, rescale
from pydantic import Field
from torch import nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, NotFinite

from .architectures import convolutional, deep, dense
from .descent import Descent

_WIDTHS = {"dense": (128,), "conv": (10, 20, 50)}


class ImageNetwork(Classifier):
    """A piecewise affine classifier, trained by SGD with momentum and weight decay on the cross entropy.

    Args:
        kind: `dense`: hidden layers with ReLU. `conv`: the source's convolutional network. `resnet18` and `googlenet` for small
            images, in place of the source's much larger ResNet and Inception.
        widths: Of `dense` the hidden layers; of `conv` the channels of both convolutions and the hidden layer. Null for the
            source's, (128,) and (10, 20, 50).
        width: Factor of all channels of `resnet18` and `googlenet`.
        kernel: Height and width of the filters of `conv`; 5 in the source.
        padding: Zeros around the image of `conv`; 0 in the source.
        batch_norm: Normalise each hidden layer of `dense` over the batch, before its ReLU.
        dropout: Share that `dense` drops after each hidden layer while it learns, and `conv` after its second convolution and
            its hidden layer.
        draw: Networks that differ in this alone differ in their random draws alone.
        epochs: Passes over the training split; 0 keeps the random initial weights.
        lr: Learning rate of SGD.
        momentum: Of SGD.
        weight_decay: Of SGD.
        batch_size: Rows in one step.

    Source: Sattelberg et al. 2023, section 3.2, and the notebooks beside it.
    """

    def __init__(
        self,
        *,
        kind: Literal["dense", "conv", "resnet18", "googlenet"] = "dense",
        widths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] | None = None,
        width: Annotated[float, Field(gt=0, le=4)] = 1.0,
        kernel: Annotated[int, Field(ge=1)] = 3,
        padding: Annotated[int, Field(ge=0)] = 1,
        batch_norm: bool = False,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        draw: Annotated[int, Field(ge=0)] = 0,
        epochs: Annotated[int, Field(ge=0)] = 60,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        weight_decay: Annotated[float, Field(ge=0)] = 1e-3,
        batch_size: Annotated[int, Field(ge=2)] = 64,
    ) -> None:
        super().__init__(epochs=epochs, lr=lr, batch_size=batch_size)
        self.kind, self.widths, self.width = kind, tuple(widths or _WIDTHS.get(kind, ())), width
        self.kernel, self.padding, self.batch_norm, self.dropout, self.draw = kernel, padding, batch_norm, dropout, draw
        self.recipe = Descent(lr=lr, momentum=momentum, weight_decay=weight_decay, batch_size=batch_size)

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Layers with torch's default initial weights.

        Raises:
            InvalidInput: The data are no images, or too small.
        """
        if self.kind != "dense" and len(spec.shape) != 3:
            raise InvalidInput(f"image_network needs images (channels, height, width), the data has shape {spec.shape}")
        outputs = outputs_of(spec, None, "image_network")
        with initial_weights(ctx):
            if self.kind == "dense":
                layers = dense(spec.shape, self.widths, outputs, batch_norm=self.batch_norm, dropout=self.dropout)
            elif self.kind == "conv":
                layers = convolutional(
                    spec.shape, self.widths, outputs, kernel=self.kernel, padding=self.padding, dropout=self.dropout
                )
            else:
                layers = deep(self.kind, spec.shape, outputs, width=self.width)
        return nn.Sequential(rescale(spec, "centred"), *layers)

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Minimise the cross entropy on the training split; the log gets the accuracy on both splits.

        Raises:
            NotFinite: The loss diverges.
        """
        if self.epochs == 0:
            return
        x, y = (t.to(ctx.device) for t in self._labelled(data, "train", ctx))
        module = self.module.to(ctx.device).train()
        each = len(self.recipe.batches(len(x)))
        with torch.random.fork_rng(devices=[]):
            # Dropout draws from the global generator.
            torch.default_generator.set_state(ctx.generator("dropout").get_state())
            for step, loss in self.recipe.steps(
                module.parameters(),
                lambda rows: nn.functional.cross_entropy(module(x[rows]), y[rows]),
                count=len(x),
                steps=self.epochs * each,
                shuffle=ctx.generator("batches"),
            ):
                if step % each:
                    continue
                if not loss.isfinite():
                    raise NotFinite(f"the loss is {float(loss)} in epoch {step // each}; write a smaller lr: than {self.lr:g}")
                ctx.report(f"epoch {step // each}/{self.epochs}, loss {float(loss):.4g}")
        for split in ("train", "test"):
            ctx.log(f"accuracy {self._accuracy(module, *self._labelled(data, split, ctx)):.4f} on {split}")
        self.module = module.eval().cpu()
