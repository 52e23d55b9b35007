# SPDX-License-Identifier: Apache-2.0
"""Certified bounds on the outputs."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from lipbench.api import Context, InvalidInput, Metric, NotApplicable, NotFinite, Value
from lipbench_auto_lirpa.task import OnBoxes


class Width(Metric):
    """Mean width of the bounds of auto_LiRPA (Xu et al., 2020) on the outputs, over points and outputs; lower is tighter.

    Args:
        method: How the bounds are made, as auto_LiRPA names it.
    """

    def __init__(self, *, method: Literal["IBP", "CROWN", "CROWN-IBP"] = "CROWN") -> None:
        self.method = method

    def compute(self, evidence: OnBoxes, ctx: Context) -> Value:
        """Not negative, in the unit of the outputs."""
        try:
            # Here and not above: without it, `lipbench list` and the task still work.
            from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm
        except ImportError as error:
            raise NotApplicable(f"auto_LiRPA cannot be imported ({error}); install a version that fits your torch") from error
        if not len(evidence.points):
            raise InvalidInput("lirpa_width: there are no points")
        if not np.isfinite(evidence.points).all():
            raise NotFinite("lirpa_width: a point is NaN or infinite")
        points = torch.tensor(evidence.points)
        bounded = BoundedModule(evidence.module, points[:1])
        widths = []
        for part in points.split(ctx.batch(256)):
            box = BoundedTensor(part, PerturbationLpNorm(norm=float("inf"), eps=evidence.radius))
            lower, upper = bounded.compute_bounds(x=(box,), method=self.method)
            widths.append((upper - lower).detach().double())
        return Value(
            value=float(torch.cat(widths).mean()), direction="lower", unit="output", group="width", forwards=len(points)
        )
