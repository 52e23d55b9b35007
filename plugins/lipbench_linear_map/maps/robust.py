# SPDX-License-Identifier: Apache-2.0
"""The map of least summed error, not squared: a few outlying rows do not move it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor

from lipbench.api import Context

from ..rows import check_pair, spans
from ..solvers import factorise, solve
from .base import Affine
from .least_squares import LeastSquares, least_squares

_FLOOR = 1e-8


class L21(LeastSquares):
    """min_{W, b} sum_i |x_i W + b - y_i|, the norm not squared, by iteratively reweighted least squares.

    Starts from least squares and weights each row by 1 / max(|error|, 1e-8); no step raises the sum in which errors below
    1e-8 count by their squares. Each step factorises the weighted rows anew, for each pair. Where columns are not far fewer
    than rows it closes in slowly: stopping at 1e-6 a step leaves the sum about 1e-4 above the least (512 columns, 800 rows).

    Args:
        steps: Most steps.
        tolerance: Stop when a step lowers the sum by less than this share of it.

    Source: the objective as printed in H. Jamil et al., Front. Comput. Sci. 5:1274832, 2023, Algorithm 1, which the text
    calls least squares; C. Ding et al., R1-PCA, ICML 2006 (the norm); P. W. Holland and R. E. Welsch, 1977 (the steps).
    """

    def __init__(
        self,
        *,
        steps: Annotated[int, Field(ge=1)] = 100,
        tolerance: Annotated[float, Field(ge=0, lt=1)] = 1e-6,
    ) -> None:
        self.steps, self.tolerance = steps, tolerance

    def fit(self, x: Tensor, factor: Mapping[str, Tensor], y: Tensor, ctx: Context) -> Affine:
        """Iterate; the log says where the limit ended it."""
        check_pair(x, y)
        best = least_squares(x, factor, y, affine=True)
        lengths = errors(best, x, y)
        least = summed(lengths)
        for step in range(1, self.steps + 1):
            found = _reweighted(x, y, lengths)
            lengths = errors(found, x, y)
            new, old = summed(lengths), least
            if new < least:
                best, least = found, new
            if new >= old * (1 - self.tolerance):
                return best
            ctx.report(f"step {step}, sum of errors {least:.6g}")
        ctx.log(f"l21 did not converge in {self.steps} steps, sum of errors {least:g}; write more steps:")
        return best


def errors(found: Affine, x: Tensor, y: Tensor) -> Tensor:
    """Length of each row's error, (n,) float64."""
    lengths = y.new_empty(len(x)).double()
    for rows in spans(len(x), max(x.shape[1], y.shape[1])):
        lengths[rows] = (found(x[rows].double()) - y[rows]).norm(dim=1)
    return lengths


def summed(lengths: Tensor) -> float:
    """Sum of the errors, those below 1e-8 by half their squares over 1e-8 plus half of it: what each step lowers."""
    small = lengths.square() / (2 * _FLOOR) + _FLOOR / 2
    return float(lengths.where(lengths > _FLOOR, small).sum())


def _reweighted(x: Tensor, y: Tensor, lengths: Tensor) -> Affine:
    weights = 1 / lengths.clamp(min=_FLOOR)
    weights = weights / weights.max()
    weight, bias = solve(x, factorise(x, weights=weights), y, weights)
    return Affine(weight=weight, bias=bias)
