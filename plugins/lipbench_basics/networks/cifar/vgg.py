# SPDX-License-Identifier: Apache-2.0
"""VGG-19 with batch normalisation for small images."""

from __future__ import annotations

from torch import nn

from .blocks import GlobalMean, conv_bn, wide

_STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and number of 3x3 convolutions; a maximum over 2x2 places follows each stage."""


def vgg19(inputs: int, width: float) -> tuple[list[nn.Module], int]:
    """Layers up to the pooled channels, and how many these are (512 at width 1).

    The 16 convolutions of configuration E, with their biases (Simonyan & Zisserman 2015, table 1), each normalised. Five
    poolings leave one place of 32x32 pixels, so that the 512 channels take the place of the hidden linear layers.
    """
    before, layers = inputs, list[nn.Module]()
    for channels, count in _STAGES:
        for _ in range(count):
            after = wide(channels, width)
            layers.append(conv_bn(before, after, 3, bias=True))
            before = after
        layers.append(nn.MaxPool2d(2))
    return [*layers, GlobalMean()], before
