# SPDX-License-Identifier: Apache-2.0
"""Ridge regression with its strength chosen by the leave-one-out error in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context

from ..rows import Rows, check_pair, means, spans
from ..solvers import factorise, rows_of, spread
from .base import Affine, LinearMap

STRENGTHS = tuple(10.0 ** (k / 2) for k in range(-12, 5))
"""1e-6, 3e-6, ..., 100."""


class RidgeCV(LinearMap):
    """Ridge regression with a bias on standardised source columns, one strength for all outputs.

    Minimises the mean over rows of |x W + b - y|^2 plus strength * |W|^2. The strength is that of the least squared
    leave-one-out error, in closed form from one singular value decomposition (what scikit-learn's `RidgeCV` calls its GCV
    mode; its `alpha` is n times this strength). Unlike least squares it depends on the scale of directions within the
    source, but it has no peak of the error where there are as many rows as columns.

    The decomposition is shared by all targets; each costs 2 n r q flops for each strength, with r the rank.

    Args:
        strengths: Candidates, relative to the mean square of a standardised column; null for 17 from 1e-6 to 100.

    Source: G. H. Golub, M. Heath, G. Wahba, Generalized cross-validation as a method for choosing a good ridge parameter,
    Technometrics 21, 1979; D. M. Allen, The relationship between variable selection and data augmentation, 1974 (PRESS).
    """

    factor = "standardised"

    def __init__(
        self,
        *,
        strengths: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)] | None = None,
    ) -> None:
        self.strengths = STRENGTHS if strengths is None else tuple(strengths)

    def factorise(self, x: Tensor) -> dict[str, Tensor]:
        """Singular values of the standardised rows."""
        return factorise(x, standardise=True, spectrum=True)

    def fit(self, x: Tensor, factor: Mapping[str, Tensor], y: Tensor, ctx: Context) -> Affine:
        """Choose the strength and solve."""
        check_pair(x, y)
        rows, target_mean, s = rows_of(x, factor), means(y), factor["s"]
        targets = y.double() - target_mean
        z = factor["u"].T @ targets if "u" in factor else (factor["v"].T @ rows.moment(targets)) / s[:, None]
        penalties = [strength * len(x) for strength in self.strengths]
        errors = _left_out(rows, factor, targets, z, penalties)
        best = int(errors.argmin())
        ctx.report(f"ridge strength {self.strengths[best]:g} of {len(penalties)} candidates")
        shrunk = z * (s / (s**2 + penalties[best]))[:, None]
        weight = factor["v"] @ shrunk if "v" in factor else rows.moment(factor["u"] @ (shrunk / s[:, None]))
        weight = spread(weight / factor["scale"][:, None], factor)
        return Affine(weight=weight, bias=target_mean - factor["mean"] @ weight)


def _left_out(rows: Rows, factor: Mapping[str, Tensor], targets: Tensor, z: Tensor, penalties: list[float]) -> Tensor:
    """Sums of the squared leave-one-out errors, one for each penalty.

    The error of row i is its residual over 1 - h_i. Both are summed from parts that stay accurate where the fit is nearly
    exact: what no map can reach, and what the penalty takes away.
    """
    n = len(targets)
    errors = torch.zeros(len(penalties), dtype=torch.float64)
    reaches_all = len(z) >= n - 1
    for part, u in _left_vectors(rows, factor):
        squares = u.square()
        out_of_reach = torch.zeros_like(targets[part]) if reaches_all else targets[part] - u @ z
        free = torch.zeros(len(u), dtype=torch.float64) if reaches_all else (1 - 1 / n - squares.sum(1)).clamp_(min=0)
        for k, penalty in enumerate(penalties):
            lost = penalty / (factor["s"] ** 2 + penalty)
            residual = torch.addmm(out_of_reach, u, z * lost[:, None])
            share = free + squares @ lost
            # A row that alone decides a direction has nothing left over: its error is 0 / 0 but for the penalty.
            errors[k] += (residual.square().sum(1) / share.clamp(min=1e-150).square()).sum()
    return errors


def _left_vectors(rows: Rows, factor: Mapping[str, Tensor]) -> Iterator[tuple[slice, Tensor]]:
    """Rows of the left singular vectors in blocks, made anew from the rows where they were not kept."""
    n, k = rows.shape
    for part in spans(n, max(k, 1)):
        yield part, factor["u"][part] if "u" in factor else (rows.block(part) @ factor["v"]) / factor["s"]
