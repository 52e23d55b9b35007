# SPDX-License-Identifier: Apache-2.0
"""The source's exclusive or: four corners of a square to learn, and the square itself to look at local maps."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from lipbench_basics.datasets.files import check_split
from lipbench_basics.networks.layers import initial_weights
from pydantic import Field
from torch import nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Network, NotFinite, Split

from .planar import grid


class ExclusiveOrSquare(Dataset):
    """[-1, 1]^2 as a grid, class 1 where the signs of the coordinates differ.

    The training split is the source's grid, its border included; the test split is the middles between, the second coordinate
    a little less, so that no point lies on an axis or a diagonal, where the hand-set network has its kinks and its zero.

    Args:
        side: Points of the training grid along each side.

    Source: Sattelberg et al. 2023, section 2.1 and figure 6, on 101 x 101 points.
    """

    licence = "drawn, no licence needed"

    def __init__(self, *, side: Annotated[int, Field(ge=3)] = 101) -> None:
        self.side = side

    def spec(self) -> DataSpec:
        """Two classes in a square."""
        return DataSpec(shape=(2,), low=-1.0, high=1.0, classes=2)

    def load(self, split: str, ctx: Context) -> Split:
        """Lay the grid."""
        check_split(split)
        if split == "train":
            x = grid(-1, 1, self.side)
        else:
            edge = 1 - 1 / (self.side - 1)
            x = grid(-edge, edge, self.side - 1) * [1.0, 0.995]
        return Split(inputs=x.astype(np.float32), targets=(x.prod(axis=1) < 0).astype(np.int64))


class ExclusiveOrNet(Network):
    """One hidden layer and one output, which learns 1 at two corners of the data's box and -1 at the two others.

    Adam on the mean square error of all four corners at once; the source is silent about its training.

    Args:
        hidden: Units; 20 and 100 in the source.
        steps: Of Adam; 0 keeps the random initial weights.
        lr: Learning rate.

    Source: Sattelberg et al. 2023, figures 4 and 6.
    """

    fitted = True

    def __init__(
        self,
        *,
        hidden: Annotated[int, Field(ge=1)] = 20,
        steps: Annotated[int, Field(ge=0)] = 2000,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01,
    ) -> None:
        self.hidden, self.steps, self.lr = hidden, steps, lr

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Layers with torch's default initial weights.

        Raises:
            InvalidInput: The data has not two inputs.
        """
        if tuple(spec.shape) != (2,):
            raise InvalidInput(f"exclusive_or_net has 2 inputs, the data has shape {spec.shape}")
        with initial_weights(ctx):
            return nn.Sequential(nn.Linear(2, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1))

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Learn the four corners.

        Raises:
            NotFinite: The loss diverges.
        """
        low, high = data.spec().low, data.spec().high
        x = torch.tensor([[low, low], [low, high], [high, low], [high, high]])
        y = torch.tensor([[-1.0], [1.0], [1.0], [-1.0]])
        adam, loss = torch.optim.Adam(self.module.parameters(), lr=self.lr), torch.zeros(())
        for _ in range(self.steps):
            adam.zero_grad(set_to_none=True)
            loss = nn.functional.mse_loss(self.module(x), y)
            loss.backward()
            adam.step()
        if not loss.isfinite():
            raise NotFinite(f"the loss is {float(loss)}; write a smaller lr: than {self.lr:g}")
        ctx.log(f"mean square error {float(loss.detach()):.3g} at the corners")
