# SPDX-License-Identifier: Apache-2.0
"""What two distributions share, and what their samples look like."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Metric, Value

from ..pictures import png
from ..task import Compared

_SIDE = 20
"""Rows and columns of the source's mosaics, a pixel for each sample."""


class SharedMoments(Metric):
    """Largest difference between the Gram matrices of the two distributions, with those of samples.

    Where there are three features, the extras have a picture of 400 samples of each as red, green and blue, clipped to [0, 1],
    as the source shows them.

    Args:
        rows: Of the samples whose Gram matrices are in the extras, as `first_11` and so on.
    """

    def __init__(self, *, rows: Annotated[int, Field(ge=1)] = 10_000) -> None:
        self.rows = rows

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """Of the distributions; differences of means and covariances in the extras."""
        first, second = evidence.distributions
        rng = evidence.ctx.rng("moments")
        drawn = [p.draw(self.rows, rng) for p in (first, second)]
        extras: dict[str, Any] = {
            "mean_difference": float(torch.linalg.vector_norm(first.mean - second.mean)),
            "covariance_difference": float(torch.linalg.matrix_norm(first.cov - second.cov)),
        }
        d = len(first.mean)
        if d == 3:
            for name, x in zip(("first", "second"), drawn, strict=True):
                g = (x.mT @ x / len(x)).tolist()
                extras |= {f"{name}_{i + 1}{j + 1}": g[i][j] for i in range(d) for j in range(i, d)}
            extras["mosaic"] = png(torch.cat([_mosaic(drawn[0]), _gap(), _mosaic(drawn[1])], 1))
        value = float((first.gram - second.gram).abs().max())
        return Value(value=value, direction="none", unit="feature unit^2", extras=extras)


def _mosaic(x: Tensor) -> Tensor:
    """(20, 20, 3) of the first 400 rows, repeated where there are fewer."""
    rows = x[torch.arange(_SIDE**2) % len(x)]
    return rows.clamp(0, 1).reshape(_SIDE, _SIDE, 3)


def _gap() -> Tensor:
    return torch.ones((_SIDE, 1, 3), dtype=torch.float64)
