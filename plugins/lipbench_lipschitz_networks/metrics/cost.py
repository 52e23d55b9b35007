# SPDX-License-Identifier: Apache-2.0
"""Parameters, and seconds a step."""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from lipbench.api import Context, Metric, Value

from ..task import NetworkOnClasses
from ..training import Adam, Alone, batches


class Parameters(Metric):
    """Numbers in the exported network; the extras have those of the constrained one: what is learned, and all that is kept."""

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """Lower is smaller."""
        constrained = evidence.trained().constrained
        learned = sum(p.numel() for p in constrained.parameters())
        kept = sum(t.numel() for t in constrained.state_dict().values())
        exported = sum(p.numel() for p in evidence.module.parameters())
        return Value(value=exported, direction="none", unit="parameters", extras={"learned": learned, "kept": kept})


class StepSeconds(Metric):
    """Seconds of one step of training of a network alone, the median of several on a copy: a measurement of time that a rerun changes.

    Args:
        steps: How many are timed, after three that are not.
    """

    def __init__(self, *, steps: Annotated[int, Field(ge=1)] = 10) -> None:
        self.steps = steps

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """Lower is better."""
        network = evidence.trained()
        module = copy.deepcopy(network.constrained).requires_grad_(True)
        recipe = replace(network.recipe, steps=self.steps + 3)
        x, (_, y) = evidence.train.x, evidence.train.labelled()
        net = Alone(module, recipe, x, y)
        optimiser = Adam(net.parameters(), recipe)
        seconds = []
        for rows in batches(recipe, y, ctx):
            start = time.perf_counter()
            optimiser.step(net.loss(rows))
            seconds.append(time.perf_counter() - start)
        return Value(
            value=statistics.median(seconds[3:]), direction="lower", unit="s / step", unranked="a time of a busy machine"
        )
