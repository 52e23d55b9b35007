# SPDX-License-Identifier: Apache-2.0
"""The protocol: a network, points, and a radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from lipbench.api import Context, Dataset, Network, Task


@dataclass(frozen=True)
class OnBoxes:
    """Evidence: a network and boxes of inputs."""

    module: torch.nn.Module
    """The network, (B, *shape) -> (B, m), float32."""
    points: np.ndarray
    """(N, *shape) float32, the centres of the boxes."""
    radius: float
    """Half the side of each box, in the raw unit of the data."""


class Boxes(Task):
    """How far can the outputs of a network move in a box around each point?

    Args:
        radius: Half the side of the box, in the raw unit of the data.
        count: Points, from the front of the test split.
    """

    fits = {"network": "data"}
    shared = True

    def __init__(self, *, radius: Annotated[float, Field(gt=0)] = 0.05, count: Annotated[int, Field(ge=1)] = 32) -> None:
        self.radius, self.count = radius, count

    def evidence(self, network: Network, data: Dataset, ctx: Context) -> OnBoxes:
        """Take the first test rows."""
        return OnBoxes(network.module, data.split("test", ctx).inputs[: self.count], self.radius)
