# SPDX-License-Identifier: Apache-2.0
"""What the networks of this plugin share: the change of units, seeded initial weights, a check of shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput

Activation = Literal["relu", "leaky_relu", "elu", "softplus", "tanh", "sigmoid", "gelu", "silu"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
Scaling = Literal["unit", "centred", "raw"]


class Rescale(nn.Module):
    """x -> scale * x + shift, from the raw unit of the data to that of the network; part of the network that is measured."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("shift", torch.tensor(shift))

    def forward(self, x: Tensor) -> Tensor:
        """Map raw inputs of any shape."""
        return x * self.scale + self.shift


def rescale(spec: DataSpec, scaling: Scaling) -> Rescale:
    """The map from the data's range to [0, 1] (`unit`), to [-0.5, 0.5] (`centred`), or none (`raw`).

    Raises:
        InvalidInput: The range of the data is empty.
    """
    if scaling == "raw":
        return Rescale(1.0, 0.0)
    width = spec.high - spec.low
    if width <= 0:
        raise InvalidInput(
            f"the data's range [{spec.low:g}, {spec.high:g}] is empty, so it cannot be scaled; write scaling: raw"
        )
    return Rescale(1 / width, -spec.low / width - (0.5 if scaling == "centred" else 0.0))


@contextmanager
def initial_weights(ctx: Context) -> Iterator[None]:
    """Let torch's own initialisers draw from `ctx`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.set_state(ctx.generator("init").get_state())
        yield


def outputs_of(spec: DataSpec, outputs: int | None, who: str) -> int:
    """The number of outputs: the given one, else one for each class.

    Raises:
        InvalidInput: Neither is known.
    """
    if outputs is not None:
        return outputs
    if spec.classes is None:
        raise InvalidInput(f"{who}: the data has no classes, so write outputs: with the number of outputs")
    return spec.classes


@torch.inference_mode()
def check_shapes(module: nn.Module, spec: DataSpec, who: str) -> None:
    """Send two rows through a network that came from elsewhere.

    Raises:
        InvalidInput: It fails on inputs of this shape, or does not give one row of outputs for each row of inputs.
    """
    try:
        result = module(torch.full((2, *spec.shape), float(spec.low)))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidInput(f"{who} does not take inputs of shape {spec.shape}: {reason}") from error
    if not isinstance(result, Tensor) or result.ndim < 2 or len(result) != 2:
        found = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise InvalidInput(f"{who} must give (B, m) outputs for B inputs of shape {spec.shape}; for B = 2 it gave {found}")
