# SPDX-License-Identifier: Apache-2.0
"""What the task reads of a model: one or more ReLU networks of one architecture."""

from __future__ import annotations

from lipbench_basics.networks.layers import Rescale
from torch import nn

from lipbench.api import Model, Network, NotApplicable

from ..engine.network import ReluNet, read


class ReluNets(Model):
    """A model that holds one or more ReLU networks of one architecture, float64."""

    nets: tuple[ReluNet, ...]
    """After `build` and, where it learns, `fit`."""


def nets_of(model: Model, inputs: int) -> tuple[ReluNet, ...]:
    """The networks behind a role.

    Raises:
        NotApplicable: It is no network of Linear and ReLU layers.
    """
    if isinstance(model, ReluNets):
        return model.nets
    if isinstance(model, Network):
        return (read(model.module, inputs, {Rescale: _scaling}),)
    raise NotApplicable(f"{type(model).__name__} is no ReLU network; use mlp, relu_oracle, relu_replicas or relu_saved")


def _scaling(part: nn.Module) -> tuple[float, float]:
    """Factor and shift of the shared networks' change of units."""
    return float(part.get_buffer("scale")), float(part.get_buffer("shift"))
