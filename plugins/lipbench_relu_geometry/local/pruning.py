# SPDX-License-Identifier: Apache-2.0
"""The network itself, pruned until it holds as many numbers as k centres of each output."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn.utils import prune

from lipbench.api import Context, Metric, NotApplicable, Value

from ..metrics.values import share
from .clusters import right
from .rows import classes
from .task import Local


class PrunedNetwork(Metric):
    """Accuracy of the network without its smallest weights, at the size of k centres of each output; nothing is trained again.

    A network whose offsets and numbers of batch norm alone are more than the centres' is not ranked.

    Args:
        k: Centres for each output, k o (d + 1) numbers in all.
        of: `accuracy`; `fidelity`, the share of test points with the same class as the whole network; `numbers`, how many the
            whole network holds.

    Source: S. Han, J. Pool, J. Tran, W. Dally, Learning both weights and connections, NeurIPS 2015, without the retraining.
    """

    def __init__(
        self, *, k: Annotated[int, Field(ge=1)] = 1, of: Literal["accuracy", "fidelity", "numbers"] = "accuracy"
    ) -> None:
        self.k, self.of = k, of

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """What `of` says.

        Raises:
            NotApplicable: It is no single network of torch.
        """
        maps = evidence.own("pruned_network")
        if evidence.module is None:
            raise NotApplicable("pruned_network reads a single network with layers; leave it out here")
        held = sum(p.numel() for p in evidence.module.parameters())
        if self.of == "numbers":
            return Value(value=float(held), direction="none", unit="numbers")
        room = self.k * maps.test.shape[0] * maps.test.shape[2]
        smaller, left = pruned(evidence.module, room)
        with torch.inference_mode():
            x = torch.from_numpy(evidence.raw_test).reshape(-1, *evidence.spec.shape)
            outputs = torch.cat([smaller(part) for part in x.split(ctx.batch(512))])
        wanted = evidence.test_labels if self.of == "accuracy" else classes(maps.test_outputs)
        found = share(right(outputs, wanted), unit=self.of, direction="higher", numbers=left, of_numbers=held)
        # Centres of fewer numbers are another thing.
        return replace(found, unranked=f"{left} numbers are left where there is room for {room}") if left > room else found


def pruned(module: nn.Module, room: int) -> tuple[nn.Module, int]:
    """A copy in which weights of least magnitude over all layers are 0, and how many numbers are left: `room`, if it can be.

    Offsets and the numbers of batch norm stay. Where these are more than `room`, all weights go and more are left.
    """
    copied = copy.deepcopy(module)
    weights = [(part, "weight") for part in copied.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    count = sum(part.weight.numel() for part, _ in weights)
    held = sum(p.numel() for p in copied.parameters())
    gone = min(count, max(0, held - room))
    if gone:
        prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=gone)
    return copied, held - gone
