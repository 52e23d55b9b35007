# SPDX-License-Identifier: Apache-2.0
"""Stochastic gradient descent, one piece for single networks and for stacked replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How to descend."""

    lr: float
    momentum: float
    weight_decay: float
    batch_size: int

    def batches(self, count: int, shuffle: torch.Generator | None = None) -> list[Tensor]:
        """The rows of one pass over `count` rows, in random order where there is a generator.

        A last batch of one row is left out, as batch norm has no variance of it.
        """
        order = torch.arange(count) if shuffle is None else torch.randperm(count, generator=shuffle)
        parts = list(order.split(self.batch_size))
        return parts[:-1] if len(parts) > 1 and len(parts[-1]) < 2 else parts

    def steps(
        self,
        parameters: Iterable[Tensor],
        loss_of: Callable[[Tensor], Tensor],
        *,
        count: int,
        steps: int,
        shuffle: torch.Generator,
    ) -> Iterator[tuple[int, Tensor]]:
        """Descend step by step, passing over all rows in a new order again and again.

        Args:
            parameters: What changes.
            loss_of: (B,) rows -> the loss on them.
            count: Rows in all.
            steps: How many.
            shuffle: Draws the orders.

        Yields:
            The step, from 1, and its loss before the step.
        """
        optimiser = torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        left: list[Tensor] = []
        for step in range(1, steps + 1):
            left = left or self.batches(count, shuffle)
            optimiser.zero_grad(set_to_none=True)
            loss = loss_of(left.pop(0))
            loss.backward()
            optimiser.step()
            yield step, loss.detach()
