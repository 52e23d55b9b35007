# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 for small images."""

from __future__ import annotations

from torch import nn

from .blocks import Add, GlobalMean, conv_bn, wide

_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, number of blocks, stride of the first one."""


def mobilenet_v2(inputs: int, width: float) -> tuple[list[nn.Module], int]:
    """Layers up to the pooled channels, and how many these are (1280 at width 1).

    Inverted residuals with linear bottlenecks and ReLU6 (Sandler et al. 2018, table 2). For 32x32 pixels the stem and the
    second stage keep height and width; as in the common public adaptation, blocks of stride 1 that change the number of
    channels have a projected shortcut, and the block of expansion 1 keeps its 1x1 expansion.
    """
    before = wide(32, width)
    layers: list[nn.Module] = [conv_bn(inputs, before, 3, activation=nn.ReLU6)]
    for expansion, channels, count, first in _STAGES:
        for stride in (first, *[1] * (count - 1)):
            after = wide(channels, width)
            layers.append(_block(before, after, expansion, stride))
            before = after
    last = wide(1280, width)
    return [*layers, conv_bn(before, last, activation=nn.ReLU6), GlobalMean()], last


def _block(before: int, after: int, expansion: int, stride: int) -> nn.Module:
    inner = expansion * before
    body = nn.Sequential(
        conv_bn(before, inner, activation=nn.ReLU6),
        conv_bn(inner, inner, 3, stride=stride, groups=inner, activation=nn.ReLU6),
        conv_bn(inner, after, activation=None),
    )
    if stride > 1:
        return body
    return Add(body, nn.Identity() if before == after else conv_bn(before, after, activation=None))
