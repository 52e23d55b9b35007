# SPDX-License-Identifier: Apache-2.0
"""What is left to tell two samples apart after an optimiser has brought their distance to 0."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Metric, NotFinite, Value

from ..distances.by_moments import GaussianW2, GramLoss
from ..distances.transport import Wasserstein
from ..moments import moments
from ..task import Compared

_SHOWN = 150
"""Points of each cloud that are kept for a picture."""
_TRACED = 20
"""Values of the loss that are kept."""


class Matching(Metric):
    """Exact W2 that is left after Adam has moved a sample of the second distribution onto one of the first.

    Every coordinate of every row is free. The value is to be read beside that of two samples of the first distribution, which
    is `baseline` in the extras: no finite sample of it is nearer than that by chance alone.

    Args:
        rows: Of both samples.
        steps: Of Adam.
        lr: Its step size, in feature units.

    Adam: D. P. Kingma, J. Ba, ICLR 2015.
    """

    def __init__(
        self,
        *,
        rows: Annotated[int, Field(ge=2)] = 200,
        steps: Annotated[int, Field(ge=0)] = 500,
        lr: Annotated[float, Field(gt=0)] = 0.02,
    ) -> None:
        self.rows, self.steps, self.lr = rows, steps, lr

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """With errors of mean and covariance, Gram loss and Gaussian W2 of the end, and the way of the loss.

        Raises:
            NotFinite: The loss or its gradient is not.
        """
        first, second = evidence.distributions
        rng = evidence.ctx.rng("matching")
        target, again, start = (p.draw(self.rows, rng) for p in (first, first, second))
        moved, trace = self._descend(evidence, target, start, ctx)
        value = _exact(moved, target, ctx)
        mean, cov = moments(moved)
        mean_there, cov_there = moments(target)
        extras: dict[str, Any] = {
            "baseline": _exact(again, target, ctx),
            "start": _exact(start, target, ctx),
            "mean_error": float(torch.linalg.vector_norm(mean - mean_there)),
            "cov_error": float(torch.linalg.matrix_norm(cov - cov_there)),
            "gram_loss": float(GramLoss().between(moved, target, ctx)),
            "gaussian_w2": float(GaussianW2().between(moved, target, ctx)),
            "loss": trace,
            "clouds": {name: _points(z) for name, z in (("target", target), ("start", start), ("end", moved))},
        }
        return Value(
            value=value,
            direction="lower",
            unit="feature unit",
            group=f"{self.rows} rows, {self.steps} steps",
            extras=extras,
            backwards=self.steps,
        )

    def _descend(self, evidence: Compared, target: Tensor, start: Tensor, ctx: Context) -> tuple[Tensor, list[float]]:
        moved = start.clone().requires_grad_()
        adam = torch.optim.Adam([moved], lr=self.lr)
        every = max(1, self.steps // _TRACED)
        trace = []
        for step in range(self.steps + 1):
            loss = evidence.distance.loss(moved, target, evidence.ctx)
            if not bool(loss.isfinite()):
                raise NotFinite(f"the loss of step {step} is {float(loss.detach())}")
            if step % every == 0:
                trace.append(float(f"{float(loss.detach()):.4g}"))
                ctx.report(f"step {step} of {self.steps}")
            if step == self.steps:
                break
            (moved.grad,) = torch.autograd.grad(loss, moved)
            if not bool(moved.grad.isfinite().all()):
                raise NotFinite(f"the gradient of step {step} is not finite")
            adam.step()
        return moved.detach(), trace


class GradientAtZero(Metric):
    """Largest entry of the gradient of the loss where both samples are the same, and where they have too few rows for their rank.

    A gradient that is NaN there ends an optimisation; cells that are NaN fail.

    Args:
        rows: Of a sample in the second case, fewer than features and one.
    """

    def __init__(self, *, rows: Annotated[int, Field(ge=1)] = 2) -> None:
        self.rows = rows

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """At equal samples the gradient should vanish; the other one is in the extras.

        Raises:
            NotFinite: A gradient is not finite.
        """
        first, second = evidence.distributions
        rng = evidence.ctx.rng("gradient")
        same = first.draw(50, rng)
        few, others = first.draw(self.rows, rng), second.draw(50, rng)
        at_zero, at_few = (self._gradient(evidence, x, y) for x, y in ((same, same), (few, others)))
        return Value(
            value=at_zero,
            direction="none",
            unit="loss a feature unit",
            extras={"few_rows": at_few},
        )

    def _gradient(self, evidence: Compared, x: Tensor, y: Tensor) -> float:
        moved = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(evidence.distance.loss(moved, y, evidence.ctx), moved)
        if not bool(gradient.isfinite().all()):
            raise NotFinite(f"the gradient at {len(x)} rows is not finite")
        return float(gradient.abs().max())


def _exact(x: Tensor, y: Tensor, ctx: Context) -> float:
    return float(Wasserstein().between(x, y, ctx))


def _points(z: Tensor) -> list[list[float]]:
    """The first two features of some rows."""
    return [[float(f"{v:.3f}") for v in row] for row in z[:_SHOWN, :2].tolist()]
