# SPDX-License-Identifier: Apache-2.0
"""The source's image networks: dense and convolutional with dropout, and a deep one with batch norm for the CPU."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

import torch
from lipbench_basics.networks.classifier import Classifier
from lipbench_basics.networks.layers import initial_weights, outputs_of, rescale
from pydantic import Field
from torch import nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, NotFinite

Epochs = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]


class _Descended(Classifier):
    """Trained by SGD with momentum and weight decay on the cross entropy, as the source's are."""

    def __init__(
        self, *, draw: int, epochs: int, lr: float, batch_size: int, momentum: float, weight_decay: float, dropout: float
    ) -> None:
        super().__init__(epochs=epochs, lr=lr, batch_size=batch_size)
        self.draw, self.momentum, self.weight_decay, self.dropout = draw, momentum, weight_decay, dropout

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Minimise the cross entropy on the training split; the log gets the accuracy on both splits."""
        if self.epochs == 0:
            return
        train = self._labelled(data, "train", ctx)
        module = self.module.to(ctx.device).train()
        x, y = train[0].to(ctx.device), train[1].to(ctx.device)
        optimiser = torch.optim.SGD(module.parameters(), lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        shuffle = ctx.generator("batches")
        with torch.random.fork_rng(devices=[]):
            # Dropout draws from the global generator.
            torch.default_generator.set_state(ctx.generator("dropout").get_state())
            for epoch in range(1, self.epochs + 1):
                total = torch.zeros((), device=ctx.device)
                for rows in torch.randperm(len(x), generator=shuffle).to(ctx.device).split(self.batch_size):
                    if len(rows) < 2:
                        continue  # batch norm has no variance of one row
                    optimiser.zero_grad(set_to_none=True)
                    loss = nn.functional.cross_entropy(module(x[rows]), y[rows])
                    loss.backward()
                    optimiser.step()
                    total += loss.detach() * len(rows)
                mean = float(total) / len(x)
                if not math.isfinite(mean):
                    raise NotFinite(f"the loss is {mean} in epoch {epoch}; write a smaller lr: than {self.lr:g}")
                ctx.report(f"epoch {epoch}/{self.epochs}, loss {mean:.4g}")
        test = self._labelled(data, "test", ctx)
        ctx.log(f"accuracy {self._accuracy(module, *train):.4f} on train, {self._accuracy(module, *test):.4f} on test")
        self.module = module.eval().cpu()


class DenseDropout(_Descended):
    """One or more hidden layers with ReLU, each followed by dropout or preceded by batch norm.

    Args:
        hidden: Widths of the hidden layers.
        batch_norm: Normalise each hidden layer over the batch, before its ReLU.
        dropout: Share that is dropped after each hidden layer while it learns.
        draw: Networks that differ in this alone differ in their random draws alone.
        epochs: Passes over the training split; 0 keeps the random initial weights.
        lr: Learning rate of SGD.
        momentum: Of SGD.
        weight_decay: Of SGD.
        batch_size: Rows in one step.
    """

    def __init__(
        self,
        *,
        hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (128,),
        batch_norm: bool = False,
        dropout: Share = 0.5,
        draw: Annotated[int, Field(ge=0)] = 0,
        epochs: Epochs = 60,
        lr: Positive = 0.05,
        momentum: Share = 0.9,
        weight_decay: Annotated[float, Field(ge=0)] = 1e-3,
        batch_size: Annotated[int, Field(ge=2)] = 64,
    ) -> None:
        super().__init__(
            draw=draw,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            momentum=momentum,
            weight_decay=weight_decay,
            dropout=dropout,
        )
        self.hidden, self.batch_norm = tuple(hidden), batch_norm

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Layers with torch's default initial weights."""
        widths = (math.prod(spec.shape), *self.hidden)
        layers: list[nn.Module] = [nn.Flatten(), rescale(spec, "centred")]
        with initial_weights(ctx):
            for before, after in pairwise(widths):
                layers += [nn.Linear(before, after), *([nn.BatchNorm1d(after)] if self.batch_norm else []), nn.ReLU()]
                layers += [nn.Dropout(self.dropout)] if self.dropout else []
            layers.append(nn.Linear(widths[-1], outputs_of(spec, None, "dense_dropout")))
        return nn.Sequential(*layers)


class ConvDropout(_Descended):
    """The source's convolutional network: twice convolution, 2x2 max pooling and ReLU, then a hidden layer, with dropout.

    Args:
        kernel: Height and width of the filters; 5 in the source.
        padding: Zeros around the image; 0 in the source.
        channels: Of the two convolutions.
        dense: Width of the hidden layer.
        dropout: Share of the second convolution's channels and of the hidden units that is dropped while it learns.
        draw: Networks that differ in this alone differ in their random draws alone.
        epochs: Passes over the training split; 0 keeps the random initial weights.
        lr: Learning rate of SGD.
        momentum: Of SGD.
        weight_decay: Of SGD.
        batch_size: Rows in one step.
    """

    def __init__(
        self,
        *,
        kernel: Annotated[int, Field(ge=1)] = 3,
        padding: Annotated[int, Field(ge=0)] = 1,
        channels: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (10, 20),
        dense: Annotated[int, Field(ge=1)] = 50,
        dropout: Share = 0.5,
        draw: Annotated[int, Field(ge=0)] = 0,
        epochs: Epochs = 60,
        lr: Positive = 0.05,
        momentum: Share = 0.9,
        weight_decay: Annotated[float, Field(ge=0)] = 1e-3,
        batch_size: Annotated[int, Field(ge=2)] = 64,
    ) -> None:
        super().__init__(
            draw=draw,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            momentum=momentum,
            weight_decay=weight_decay,
            dropout=dropout,
        )
        self.kernel, self.padding, self.channels, self.dense = kernel, padding, channels, dense

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Layers with torch's default initial weights.

        Raises:
            InvalidInput: The data are no images, or too small.
        """
        if len(spec.shape) != 3:
            raise InvalidInput(f"conv_dropout needs images (channels, height, width), the data has shape {spec.shape}")
        (first, second), side = self.channels, min(spec.shape[1:])
        sides = list(spec.shape[1:])
        for _ in range(2):
            sides = [(s + 2 * self.padding - self.kernel + 1) // 2 for s in sides]
        if min(sides) < 1:
            raise InvalidInput(f"conv_dropout: nothing is left of {side} pixels; write a smaller kernel: or more padding:")
        drop = self.dropout > 0
        with initial_weights(ctx):
            layers = [
                rescale(spec, "centred"),
                nn.Conv2d(spec.shape[0], first, self.kernel, padding=self.padding),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Conv2d(first, second, self.kernel, padding=self.padding),
                *([nn.Dropout2d(self.dropout)] if drop else []),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(second * math.prod(sides), self.dense),
                nn.ReLU(),
                *([nn.Dropout(self.dropout)] if drop else []),
                nn.Linear(self.dense, outputs_of(spec, None, "conv_dropout")),
            ]
        return nn.Sequential(*layers)
