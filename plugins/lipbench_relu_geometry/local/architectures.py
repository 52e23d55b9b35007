# SPDX-License-Identifier: Apache-2.0
"""Layers of the image networks whose local maps are looked at: all piecewise affine in eval mode, the last one linear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from lipbench_basics.networks.cifar.googlenet import googlenet
from lipbench_basics.networks.cifar.resnet import resnet18
from torch import nn

from lipbench.api import InvalidInput

Deep = Literal["resnet18", "googlenet"]


def dense(shape: Sequence[int], hidden: Sequence[int], outputs: int, *, batch_norm: bool, dropout: float) -> list[nn.Module]:
    """Hidden layers with ReLU, each followed by dropout, or preceded by batch norm."""
    widths = (math.prod(shape), *hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), *([nn.BatchNorm1d(after)] if batch_norm else []), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return [*layers, nn.Linear(widths[-1], outputs)]


def convolutional(
    shape: Sequence[int], widths: Sequence[int], outputs: int, *, kernel: int, padding: int, dropout: float
) -> list[nn.Module]:
    """The source's network: twice convolution, 2x2 max pooling and ReLU, then a hidden layer, with dropout.

    Args:
        shape: (channels, height, width).
        widths: Channels of both convolutions, width of the hidden layer.
        outputs: Of the last layer.
        kernel: Height and width of the filters.
        padding: Zeros around the image.
        dropout: Share of the second convolution's channels and of the hidden units that is dropped while it learns.

    Raises:
        InvalidInput: There are not three widths, or the image is too small.
    """
    if len(widths) != 3:
        raise InvalidInput(
            f"image_network: kind: conv has two convolutions and a hidden layer, so widths: takes 3 numbers, not {len(widths)}"
        )
    first, second, hidden = widths
    sides = list(shape[1:])
    for _ in range(2):
        sides = [(s + 2 * padding - kernel + 1) // 2 for s in sides]
    if min(sides) < 1:
        raise InvalidInput(
            f"image_network: nothing is left of {min(shape[1:])} pixels; write a smaller kernel: or more padding:"
        )
    return [
        nn.Conv2d(shape[0], first, kernel, padding=padding),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(first, second, kernel, padding=padding),
        *([nn.Dropout2d(dropout)] if dropout else []),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * math.prod(sides), hidden),
        nn.ReLU(),
        *([nn.Dropout(dropout)] if dropout else []),
        nn.Linear(hidden, outputs),
    ]


def deep(kind: Deep, shape: Sequence[int], outputs: int, *, width: float) -> list[nn.Module]:
    """A residual network or one of inception modules, with batch norm, for small images; channels are multiplied by `width`."""
    layers, channels = {"resnet18": resnet18, "googlenet": googlenet}[kind](shape[0], width)
    return [*layers, nn.Linear(channels, outputs)]
