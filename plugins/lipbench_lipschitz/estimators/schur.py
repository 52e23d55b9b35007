# SPDX-License-Identifier: Apache-2.0
"""The Schur form of LipSDP, in closed form or with optimised multipliers, proven in float64."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from lipbench.api import Context, Value

from ..chain import Dense, dense_chain, layers, rounding_slack
from ..operator_norms import check_finite, gamma, spectral_norm
from ..result import Estimator, bound
from ..schur import Problem, certify, closed_form, optimised, sector
from ..task import NetworkOnRegion, need_l2

TRACE = 50  # numbers kept of an optimisation


class Schur(Estimator):
    """Upper bound on the global l2 constant of a feed-forward network from slope quadratic constraints.

    The certificate of LipSDP with diagonal multipliers, solved layer by layer through Schur complements instead of as one
    semidefinite program. Slopes may lie in any interval, negative ones (GELU, SiLU) included. Whatever the search finds is
    proven afterwards: the full matrix inequality is checked by a Cholesky factorisation that accounts for its own rounding.

    Args:
        mode: `closed` takes one number a layer by formula (milliseconds); `optimised` improves all multipliers with Adam.
        steps: Adam steps.
        rate: First step size of Adam, in units of the logarithm of a multiplier.

    Cost: no forwards, no backwards; a few factorisations of matrices of the hidden widths a step.

    Source: Fazlyab et al., "Efficient and Accurate Estimation of Lipschitz Constants for Deep Neural Networks", NeurIPS
    2019, theorem 2 (diagonal multipliers); Xu and Sivaranjani, "ECLipsE", NeurIPS 2024 (layer by layer); here with general
    slopes and joint optimisation.
    """

    def __init__(
        self,
        *,
        mode: Literal["closed", "optimised"] = "optimised",
        steps: Annotated[int, Field(ge=1)] = 300,
        rate: Annotated[float, Field(gt=0, le=1)] = 0.3,
    ) -> None:
        self.mode, self.steps, self.rate = mode, steps, rate

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """The proven bound, with the closed form and the course of the optimisation in the extras."""
        need_l2(evidence, "schur")
        chain = dense_chain(evidence.probe.source, evidence.probe.shape)
        dense, activations = layers(chain)
        weights, errors = _reduced(dense)
        dead = any(not bool(W.any()) for W in weights) or any(a.lipschitz == 0 for a in activations)
        extras: dict[str, Any] = {"mode": self.mode}
        if dead:
            value = 0.0
        elif len(weights) == 1:
            value = spectral_norm(weights[0])
        else:
            problem = Problem(weights=weights, slopes=tuple(sector(a.low, a.high) for a in activations))
            value = self._solve(problem, ctx, extras)
        return bound(
            evidence,
            check_finite(value + rounding_slack(chain, errors), "the Schur bound"),
            kind="upper",
            scope="global",
            certified=True,
            widths=[len(W) for W in weights[:-1]],
            **extras,
        )

    def _solve(self, problem: Problem, ctx: Context, extras: dict[str, Any]) -> float:
        solution = closed_form(problem)
        extras["closed"] = float(solution.constant)
        if self.mode == "optimised":
            with torch.enable_grad():
                solution, trace = optimised(problem, self.steps, self.rate, ctx.report)
            extras["trace"] = trace[:: max(1, len(trace) // TRACE)]
        value, extras["margin"] = certify(problem, solution)
        return value


def _reduced(dense: list[Dense]) -> tuple[tuple[torch.Tensor, ...], list[float]]:
    """The weights, a wide first one replaced by the triangle R of W_1^T = Q R, with the error of doing so.

    Q has orthonormal columns, so W_1 x = R^T (Q^T x) has the same norms with fewer inputs.
    """
    weights = [d.weight for d in dense]
    errors = [0.0] * len(weights)
    out, inputs = weights[0].shape
    if inputs > out and len(weights) > 1:
        weights[0] = torch.linalg.qr(weights[0].mT, mode="r")[1].mT.contiguous()
        # Householder QR is exact for a matrix this close to the given one (Higham 2002, theorem 19.4)
        errors[0] = 8 * gamma(inputs * out) * float(torch.linalg.vector_norm(dense[0].weight))
    return tuple(weights), errors
