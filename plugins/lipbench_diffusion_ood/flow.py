# SPDX-License-Identifier: Apache-2.0
"""The lift that follows an image into noise and gives its log density."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, InvalidInput

from .base import Backbone, Denoiser, Lift, Tensors, denoiser_of
from .likelihood import log_likelihood


class ProbabilityFlow(Lift):
    """Carry an image all the way into noise along the deterministic path, with its log density on the way.

    Costs intervals x 2 x (1 + probes) passes through the network for one image with `heun`, where a backward pass counts one
    too; a probe for each of the image's values with `exact_trace`.

    Args:
        intervals: Steps of Heun's method.
        probes: Random probes of the divergence, for each image.
        exact_trace: Compute the divergence without probes; for images of 64 values at most.
        method: `heun`, or `rk45`, the adaptive reference of the source, an image at a time.

    Source: Y. Song et al., Score-based generative modeling through stochastic differential equations, ICLR 2021, eqs. 39-40.
    """

    makes = "densities"
    reads = Denoiser

    def __init__(
        self,
        *,
        intervals: Annotated[int, Field(ge=1)] = 50,
        probes: Annotated[int, Field(ge=1)] = 1,
        exact_trace: bool = False,
        method: Literal["heun", "rk45"] = "heun",
    ) -> None:
        if method == "rk45" and intervals != 50:
            raise InvalidInput(f"intervals: {intervals} has no meaning for method: rk45, which chooses them; leave it out")
        self.intervals, self.probes, self.exact_trace, self.method = intervals, probes, exact_trace, method

    @property
    def evaluations(self) -> int:
        """With `heun` and probes; what was really taken comes with the densities."""
        return self.intervals * 2 * (1 + self.probes)

    def lifted(self, backbone: Backbone, x: Tensor, ctx: Context) -> Tensors:
        """`nats` (n,) of images x (n, C, L, L) in [0, 1], and the passes for one image as `evaluations`."""
        nats, passes = log_likelihood(
            denoiser_of(backbone, "probability_flow"),
            x,
            intervals=self.intervals,
            probes=self.probes,
            exact_trace=self.exact_trace,
            method=self.method,
            ctx=ctx,
        )
        return {"nats": nats, "evaluations": torch.tensor(passes, dtype=torch.float64)}
