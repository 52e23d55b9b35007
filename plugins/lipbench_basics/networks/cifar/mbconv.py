# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-B0 for small images."""

from __future__ import annotations

from torch import nn

from .blocks import Add, Drop, Gate, GlobalMean, conv_bn, wide

_STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
"""Expansion, channels, number of blocks, kernel, stride of the first one."""
_BLOCKS = sum(stage[2] for stage in _STAGES)
_DROPPED = 0.2
"""Probability that a pooled channel is dropped, and the one that those of the blocks rise towards."""


def efficientnet_b0(inputs: int, width: float) -> tuple[list[nn.Module], int]:
    """Layers up to the pooled channels, and how many these are (320 at width 1).

    MBConv blocks with squeeze and excite and SiLU (Tan & Le 2019, table 1), a stem of stride 1, and no 1280-channel head:
    the linear layer reads the 320 channels of the last stage. Training drops whole blocks with a probability that grows
    linearly towards 0.2 (the paper's survival probability of 0.8) and 0.2 of the pooled channels; neither happens in eval mode.
    """
    before = wide(32, width)
    layers: list[nn.Module] = [conv_bn(inputs, before, 3, activation=nn.SiLU)]
    done = 0
    for expansion, channels, count, size, first in _STAGES:
        for stride in (first, *[1] * (count - 1)):
            after = wide(channels, width)
            layers.append(_block(before, after, expansion, size, stride, _DROPPED * done / _BLOCKS))
            before, done = after, done + 1
    return [*layers, GlobalMean(), Drop(_DROPPED, rows=False)], before


def _block(before: int, after: int, expansion: int, size: int, stride: int, dropped: float) -> nn.Module:
    inner = expansion * before
    body = nn.Sequential(
        *([] if expansion == 1 else [conv_bn(before, inner, activation=nn.SiLU)]),
        conv_bn(inner, inner, size, stride=stride, groups=inner, activation=nn.SiLU),
        # The squeezed width is a quarter of the block's input, not of its expansion.
        Gate(inner, wide(before, 0.25)),
        conv_bn(inner, after, activation=None),
    )
    if stride > 1 or before != after:
        return body
    return Add(nn.Sequential(body, Drop(dropped, rows=True)), nn.Identity())
