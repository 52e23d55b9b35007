# SPDX-License-Identifier: Apache-2.0
"""Ordinary least squares in its four uses; they share one factorisation of the source rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lipbench.api import Context

from ..rows import check_pair, means
from ..solvers import factorise, solve, through_origin
from .base import Affine, LinearMap


class LeastSquares(LinearMap):
    """Shared part of the maps that minimise squared errors: `factorise` gives the same for all of them."""

    factor = "centred"

    def factorise(self, x: Tensor) -> dict[str, Tensor]:
        """QR, singular values, or Cholesky of the centred rows; see the module `solvers` for which, and what they cost."""
        return factorise(x)


def least_squares(x: Tensor, factor: Mapping[str, Tensor], y: Tensor, *, affine: bool) -> Affine:
    """The map of least squared error, of several such the one with the smallest weight."""
    check_pair(x, y)
    weight, bias = solve(x, factor, y)
    if not affine:
        weight, bias = through_origin(x, factor, weight, means(y)), torch.zeros_like(bias)
    return Affine(weight=weight, bias=bias)


class OLS(LeastSquares):
    """Ordinary least squares, min_W sum_i |x_i W (+ b) - y_i|^2, the smallest W where several are best.

    The factorisation of the source rows is shared by all targets; each target then costs one product. Near as many columns
    as rows the out-of-sample error explodes: with Gaussian rows and noise of variance s^2 it is s^2 (1 + p / (n - p - 1)).

    Args:
        affine: Fit a bias too, which takes the mean of the source to the mean of the target; the published map has none.

    Source: H. Jamil et al., Front. Comput. Sci. 5:1274832, 2023, Algorithm 1.
    """

    def __init__(self, *, affine: bool = False) -> None:
        self.affine = affine

    def fit(self, x: Tensor, factor: Mapping[str, Tensor], y: Tensor, ctx: Context) -> Affine:
        """Solve for one target."""
        return least_squares(x, factor, y, affine=self.affine)


class OLSAffine(OLS):
    """Ordinary least squares with a bias, which takes the mean of the source to the mean of the target.

    Args:
        affine: Fit the bias; false is `ols`.
    """

    def __init__(self, *, affine: bool = True) -> None:
        super().__init__(affine=affine)


class ScoreRegression(LeastSquares):
    """Least squares of the target detector's score itself, without the target's embedding.

    With w the weight of the target's linear detector, (argmin_W |X W - Y|) w = argmin_v |X v - Y w|: the scores are those of
    ordinary least squares followed by the detector, for the price of one output instead of all of the target's.

    Args:
        affine: Fit a bias too, as `ols_affine` does; false for what `ols` gives.
    """

    predicts: ClassVar[Literal["embedding", "score"]] = "score"

    def __init__(self, *, affine: bool = True) -> None:
        self.affine = affine

    def fit(self, x: Tensor, factor: Mapping[str, Tensor], y: Tensor, ctx: Context) -> Affine:
        """Regress scores (n, 1).

        The detector's own bias is no linear function of rows without a bias, so without one the identity holds for scores
        whose bias was left out.
        """
        return least_squares(x, factor, y, affine=self.affine)


class Shuffled(LeastSquares):
    """A null map: least squares with a bias on target rows in a random order, so that no row meets its own image.

    Its detection rates say what a map of the right size and mean gives without any correspondence. One draw is one fixed
    direction, so compare with many seeds, not with the standard error of one.
    """

    def fit(self, x: Tensor, factor: Mapping[str, Tensor], y: Tensor, ctx: Context) -> Affine:
        """Permute the target rows, then solve."""
        check_pair(x, y)
        order = torch.randperm(len(y), generator=ctx.generator("shuffled"))
        return least_squares(x, factor, y[order], affine=True)
