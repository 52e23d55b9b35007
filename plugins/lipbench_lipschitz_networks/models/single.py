# SPDX-License-Identifier: Apache-2.0
"""One layer as a network, to measure what it does to distances."""

from __future__ import annotations

import math
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, Network

from ..constraints import ConvBound, settle
from ..layers import Activation, Norm, Pool, activation, conv, dense, plain, pooling, seeded

_Sorting = Literal["fullsort", "groupsort2", "crelu", "relu", "prelu"]
_Pooling = Literal["max", "avg", "scaled_avg", "l2norm", "global_avg", "scaled_global_avg"]
Of = Literal["dense", "conv", "flatten", _Sorting, _Pooling]


class ScaledGlobalAvg(nn.Module):
    """The mean of each channel times sqrt(height width)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, c, 1, 1)."""
        return x.mean((-2, -1), keepdim=True) * math.sqrt(x.shape[-2] * x.shape[-1])


class LipLayer(Network):
    """A single layer, flattened: what a table of layers says of it can be measured.

    Args:
        of: Which layer; `crelu` is the `MaxMin` of deel-lip 1.0.0.
        norm: What is done to a kernel, see `lip_mlp`.
        conv_bound: See `lip_conv`.
        units: Outputs of `dense`, channels of `conv`.
        kernel: `orthogonal` a random one, or `ones`, all equal.
        window: Side of the windows of pooling.
        stride: Of pooling; null for windows side by side.
    """

    def __init__(
        self,
        *,
        of: Of = "dense",
        norm: Norm = "bjorck",
        conv_bound: ConvBound = "deel",
        units: Annotated[int, Field(ge=1)] = 16,
        kernel: Literal["orthogonal", "ones"] = "orthogonal",
        window: Annotated[int, Field(ge=1)] = 2,
        stride: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.of, self.norm, self.conv_bound, self.units, self.kernel = of, norm, conv_bound, units, kernel
        self.window, self.stride = window, stride

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """The layer with its weights drawn by the seed, exported."""
        with seeded(ctx):
            layers = self._layers(spec)
        if self.kernel == "ones":
            _fill(layers)
        settle(layers)
        return nn.Sequential(*plain(layers), nn.Flatten())

    def _layers(self, spec: DataSpec) -> nn.Sequential:
        shape, of = spec.shape, self.of
        niter = (3, 15)
        if of == "dense":
            inputs = math.prod(shape)
            return nn.Sequential(nn.Flatten(), dense(inputs, self.units, self.norm, bias=True, k=1.0, niter=niter))
        if of == "conv":
            size = (shape[1], shape[2])
            return nn.Sequential(conv(shape[0], self.units, size, self.norm, self.conv_bound, bias=False, k=1.0, niter=niter))
        if of in ("fullsort", "groupsort2", "crelu", "relu", "prelu"):
            return nn.Sequential(nn.Flatten(), activation(cast(Activation, of)))
        if of in ("avg", "max") and self.stride is not None:
            cls = nn.AvgPool2d if of == "avg" else nn.MaxPool2d
            return nn.Sequential(cls(self.window, self.stride))
        simple: dict[str, nn.Module] = {
            "flatten": nn.Flatten(),
            "global_avg": nn.AdaptiveAvgPool2d(1),
            "scaled_global_avg": ScaledGlobalAvg(),
        }
        return nn.Sequential(simple[of] if of in simple else pooling(cast(Pool, of), self.window))


@torch.no_grad()
def _fill(layers: nn.Module) -> None:
    """Set all kernels to equal entries."""
    for name, weight in layers.named_parameters():
        if "weight" in name:
            weight.fill_(1.0)
