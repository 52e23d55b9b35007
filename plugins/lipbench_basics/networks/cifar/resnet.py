# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 for small images."""

from __future__ import annotations

from torch import nn

from .blocks import Add, GlobalMean, conv_bn, wide

_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and stride of the first block; two blocks each."""


def resnet18(inputs: int, width: float) -> tuple[list[nn.Module], int]:
    """Layers up to the pooled channels, and how many these are (512 at width 1).

    Basic blocks with projections where the shape changes (He et al. 2016, figure 2, option B), after one 3x3 convolution of
    stride 1 as in their section 4.2, in place of a 7x7 one and a pooling.
    """
    before = wide(64, width)
    layers: list[nn.Module] = [conv_bn(inputs, before, 3)]
    for channels, first in _STAGES:
        for stride in (first, 1):
            after = wide(channels, width)
            layers += _block(before, after, stride)
            before = after
    return [*layers, GlobalMean()], before


def _block(before: int, after: int, stride: int) -> list[nn.Module]:
    body = nn.Sequential(conv_bn(before, after, 3, stride=stride), conv_bn(after, after, 3, activation=None))
    same = stride == 1 and before == after
    return [Add(body, nn.Identity() if same else conv_bn(before, after, stride=stride, activation=None)), nn.ReLU()]
