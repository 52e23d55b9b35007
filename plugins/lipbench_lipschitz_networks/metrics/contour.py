# SPDX-License-Identifier: Apache-2.0
"""The function of a planar network on a grid, to be drawn."""

from __future__ import annotations

import base64
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from lipbench.api import Context, Metric, NotApplicable, Value

from ..layers import plain
from ..task import NetworkOnClasses
from .steepness import jacobian_norms


class Contours(Metric):
    """Share of the plane around the data where |f| is below the margin; f, its gradient norm and points in the extras.

    The grid spans the test rows and 0.2 more on each side. The extras also have the largest difference between f on the grid
    before and after the export.

    Args:
        margin: Of the band.
        side: Points of the grid in each direction.
    """

    def __init__(
        self,
        *,
        margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.29,
        side: Annotated[int, Field(ge=2, le=200)] = 48,
    ) -> None:
        self.margin, self.side = margin, side

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """Not ranked."""
        if evidence.spec.shape != (2,) or evidence.test.f.shape[1] != 1:
            raise NotApplicable("contours are of networks from the plane to one number")
        _, y = evidence.test.labelled()
        x = evidence.test.x
        low, high = x.min(0).values - 0.2, x.max(0).values + 0.2
        axes = [torch.linspace(float(a), float(b), self.side) for a, b in zip(low, high, strict=True)]
        grid = torch.stack(torch.meshgrid(*axes, indexing="xy"), -1).view(-1, 2)
        constrained = evidence.trained().constrained
        with torch.no_grad():
            f = evidence.module(grid)[:, 0]
            gap = float((constrained(grid)[:, 0] - f).abs().max())
            again = float((plain(constrained)(grid)[:, 0] - f).abs().max())
        slope = jacobian_norms(evidence.module, grid, 1)
        shown = slice(0, 200)
        return Value(
            value=float((f.abs() < self.margin).double().mean()),
            direction="none",
            unit="share of the plane",
            extras={
                "box": [float(v) for v in (*low, *high)],
                "side": self.side,
                "f": _packed(f.numpy(), np.float16),
                "slope": _packed(slope.clamp(0, 2.55).mul(100).round().numpy(), np.uint8),
                "margin": self.margin,
                "points": [[round(float(v), 3) for v in row] for row in x[shown]],
                "classes": y[shown].tolist(),
                "export_difference": max(gap, again),
            },
        )


def _packed(values: np.ndarray, dtype: type) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode()
