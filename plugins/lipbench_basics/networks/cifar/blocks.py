# SPDX-License-Identifier: Apache-2.0
"""Building blocks that the families share: convolution with normalisation, sums, concatenations, gates and random dropping."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def wide(channels: int, width: float) -> int:
    """A number of channels times the width multiplier, at least one."""
    return max(1, int(channels * width + 0.5))


def conv_bn(
    before: int,
    after: int,
    size: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution that keeps height and width (up to its stride), batch normalisation, activation.

    Args:
        before: Channels of the input.
        after: Channels of the output.
        size: Height and width of the kernel, odd.
        stride: Of the convolution.
        groups: Of the convolution; `before` for a depthwise one.
        bias: Whether the convolution has one, which the normalisation makes redundant.
        activation: Class of the activation; None for a linear end.
    """
    conv = nn.Conv2d(before, after, size, stride=stride, padding=size // 2, groups=groups, bias=bias)
    return nn.Sequential(conv, nn.BatchNorm2d(after), *([] if activation is None else [activation()]))


class Add(nn.Module):
    """The sum of two branches."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Run both branches on the same input."""
        return self.body(x) + self.shortcut(x)


class Concat(nn.Module):
    """The channels of several branches, one after the other."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Run every branch on the same input."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class GlobalMean(nn.Module):
    """(B, C, H, W) -> (B, C), the mean over the places; unlike adaptive pooling its gradient is deterministic on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Average over height and width."""
        return x.mean(dim=(2, 3))


class Gate(nn.Module):
    """Squeeze and excite (Hu et al. 2018, eq. 2-4): every channel times a number in (0, 1) that all channels' means decide."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels."""
        hidden = nn.functional.silu(self.squeeze(x.mean(dim=(2, 3), keepdim=True)))
        return x * self.excite(hidden).sigmoid()


class Drop(nn.Module):
    """In training, zeroes at random and scales up what is kept, so that the mean stays; in eval mode the identity.

    Its draws come from `generator`, on the CPU whatever the device, which training sets; torch's global one where it is None.

    Args:
        share: Probability of a zero.
        rows: Whether whole rows of the batch are dropped (stochastic depth, Huang et al. 2016) and not single numbers
            (dropout, Srivastava et al. 2014).
    """

    def __init__(self, share: float, *, rows: bool) -> None:
        super().__init__()
        self.share, self.rows = share, rows
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Drop, or pass on."""
        if not self.training or self.share == 0:
            return x
        shape = (len(x), *[1] * (x.ndim - 1)) if self.rows else tuple(x.shape)
        kept = torch.rand(shape, generator=self.generator) >= self.share
        return x * (kept.to(x) / (1 - self.share))
