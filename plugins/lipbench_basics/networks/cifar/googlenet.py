# SPDX-License-Identifier: Apache-2.0
"""GoogLeNet with batch normalisation for small images."""

from __future__ import annotations

from torch import nn

from .blocks import Concat, GlobalMean, conv_bn, wide

_Row = tuple[int, int, int, int, int, int]
_STAGES: tuple[tuple[_Row, ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Channels of modules 3a-3b, 4a-4e and 5a-5b: 1x1; reduced, 3x3; reduced, 5x5; projected pool."""


def googlenet(inputs: int, width: float) -> tuple[list[nn.Module], int]:
    """Layers up to the pooled channels, and how many these are (1024 at width 1).

    The inception modules of Szegedy et al. 2015, table 1, without the auxiliary classifiers; every convolution is normalised
    and the 5x5 ones are two 3x3 ones, as in Ioffe & Szegedy 2015, appendix. One 3x3 convolution of stride 1 to 192 channels
    takes the place of the stem.
    """
    before = wide(192, width)
    layers: list[nn.Module] = [conv_bn(inputs, before, 3, bias=True)]
    for i, stage in enumerate(_STAGES):
        if i > 0:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        for row in stage:
            module, before = _inception(before, row, width)
            layers.append(module)
    return [*layers, GlobalMean()], before


def _inception(before: int, row: _Row, width: float) -> tuple[nn.Module, int]:
    """A module and the number of its output channels."""
    one, less3, three, less5, five, pooled = (wide(channels, width) for channels in row)
    module = Concat(
        conv_bn(before, one, bias=True),
        nn.Sequential(conv_bn(before, less3, bias=True), conv_bn(less3, three, 3, bias=True)),
        nn.Sequential(conv_bn(before, less5, bias=True), conv_bn(less5, five, 3, bias=True), conv_bn(five, five, 3, bias=True)),
        nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv_bn(before, pooled, bias=True)),
    )
    return module, one + three + five + pooled
