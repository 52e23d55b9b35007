# SPDX-License-Identifier: Apache-2.0
"""How many different local maps there are, and how many dimensions they fill."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from lipbench.api import Context, Metric, Value

from ..metrics.values import mean_value
from .task import Local


class RowRedundancy(Metric):
    """Statistics of the local maps at the training points, the mean over outputs.

    Args:
        of: `unique` share of rows, rounded to the tolerance; `rank` of the table of rows; `effective_rank`, the exponential of
            the entropy of its singular values as shares of their sum; `weight_norm` and `bias_size`, the mean size of w and of
            b.
        tolerance: Of `unique`.

    Source: the effective rank is that of O. Roy and M. Vetterli, EUSIPCO 2007.
    """

    def __init__(
        self,
        *,
        of: Literal["unique", "rank", "effective_rank", "weight_norm", "bias_size"] = "unique",
        tolerance: Annotated[float, Field(gt=0)] = 1e-3,
    ) -> None:
        self.of, self.tolerance = of, tolerance

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """The mean and the values of all outputs."""
        rows = evidence.own("row_redundancy").train
        if self.of == "unique":
            counts = [len(np.unique(np.round(r.numpy() / self.tolerance), axis=0)) for r in rows]
            return mean_value(np.array(counts) / rows.shape[1], unit="share", of="outputs", points=rows.shape[1])
        if self.of == "weight_norm":
            return mean_value(rows[:, :, :-1].norm(dim=2).mean(1).numpy(), unit="norm", of="outputs")
        if self.of == "bias_size":
            return mean_value(rows[:, :, -1].abs().mean(1).numpy(), unit="size", of="outputs")
        s = evidence.once("spectra", lambda: torch.linalg.svdvals(rows))
        if self.of == "rank":
            return mean_value((s > 1e-10 * s[:, :1]).sum(1).double().numpy(), unit="rank", of="outputs", columns=rows.shape[2])
        p = s / s.sum(1, keepdim=True)
        entropy = -(p * torch.log(p.clamp_min(1e-300))).sum(1)
        return mean_value(
            entropy.exp().numpy(), unit="rank", of="outputs", spectrum=[float(f"{v:.4g}") for v in (s / s[:, :1]).mean(0)]
        )
