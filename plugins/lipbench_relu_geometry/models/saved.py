# SPDX-License-Identifier: Apache-2.0
"""A fully connected ReLU network that others have saved as a state dict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
from lipbench_basics.networks.layers import Scaling, rescale
from lipbench_basics.networks.statedict import read_state
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, Network, data_root


class ReluSaved(Network):
    """Linear layers with ReLU between them, from a file of `torch.save(net.state_dict(), ...)` or a safetensors file.

    Args:
        weights: The file, given absolutely, from the working directory, or from the data folder.
        layers: What the linear layers are called in it, in order: `l1` stands for `l1.weight` and `l1.bias`.
        scaling: What the network sees of the data's range: `unit` [0, 1], `centred` [-0.5, 0.5], `raw` as it is.
    """

    def __init__(
        self, *, weights: str, layers: Annotated[tuple[str, ...], Field(min_length=1)], scaling: Scaling = "unit"
    ) -> None:
        self.weights, self.layers, self.scaling = weights, tuple(layers), scaling

    def files(self) -> Sequence[Path]:
        """The weights."""
        places = [Path(self.weights).expanduser(), data_root() / self.weights]
        for place in places:
            if place.is_file():
                return [place]
        raise InvalidInput(f"weights: there is no file {self.weights}, neither here nor in {data_root()}")

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """The layers as they are in the file, in its precision, at least float32; inputs are cast to it.

        Raises:
            InvalidInput: A layer is missing, or the shapes do not fit each other or the data.
        """
        state = read_state(self.files()[0])
        # One precision for all: the widest of the layers.
        dtype = torch.float32
        for name in self.layers:
            dtype = torch.promote_types(dtype, state[f"{name}.weight"].dtype) if f"{name}.weight" in state else dtype
        first = nn.Flatten()
        first.register_forward_pre_hook(partial(_cast, dtype))
        parts: list[nn.Module] = [first, rescale(spec, self.scaling).to(dtype)]
        width = math.prod(spec.shape)
        for name in self.layers:
            weight = state.get(f"{name}.weight")
            if weight is None or weight.ndim != 2:
                known = sorted(key.removesuffix(".weight") for key in state if key.endswith(".weight"))
                raise InvalidInput(f"{self.weights} has no matrix {name}.weight; layers in it: {', '.join(known)}")
            if weight.shape[1] != width:
                raise InvalidInput(f"{self.weights}: {name} takes {weight.shape[1]} numbers, but {width} arrive at it")
            bias = state.get(f"{name}.bias")
            layer = nn.Linear(weight.shape[1], len(weight), bias=bias is not None)
            layer.weight.data = weight.to(dtype)
            if bias is not None:
                layer.bias.data = bias.to(dtype)
            parts += [layer, nn.ReLU()]
            width = len(weight)
        return nn.Sequential(*parts[:-1])


def _cast(dtype: torch.dtype, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.to(dtype) for x in inputs)
