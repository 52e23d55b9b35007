# SPDX-License-Identifier: Apache-2.0
"""Maps without least squares: a rotation, and two null maps that learn no more than the mean."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lipbench.api import Context

from ..rows import Rows, check_pair, means, spans
from .base import Affine, LinearMap, mean_to_mean


def _centred(x: Tensor, mean: Tensor) -> Rows:
    return Rows(x=x, live=torch.arange(x.shape[1]), mean=mean)


def _variance(rows: Rows, weight: Tensor | None = None) -> float:
    """Sum of the squares of the centred rows, mapped by the weight where there is one."""
    total = 0.0
    for part in spans(*rows.shape):
        z = rows.block(part)
        total += float((z if weight is None else z @ weight).square().sum())
    return total


class Procrustes(LinearMap):
    """The rotation (or reflection) of the centred source that fits the centred target best, between their means.

    W = U V^T from the singular value decomposition of X^T Y. For equal widths it is the orthogonal map of least squared
    error; for different widths it has orthonormal rows (p < q) or columns (p > q) and maximises tr(W^T X^T Y), which for
    p > q is not quite the least squared error. Lengths are not scaled. Directions that X^T Y says nothing of are matched
    arbitrarily. Costs 2 n p q flops and the decomposition of a p by q matrix for each pair.

    Source: P. H. Schönemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 31, 1966.
    """

    factor = "none"

    def fit(self, x: Tensor, factor: Mapping[str, Tensor], y: Tensor, ctx: Context) -> Affine:
        """Decompose the cross product."""
        check_pair(x, y)
        target_mean = means(y)
        cross = _centred(x, means(x)).moment(y.double() - target_mean)
        u, _, vh = torch.linalg.svd(cross, full_matrices=False)
        return mean_to_mean(u @ vh, x, y)


class Identity(LinearMap):
    """A null map: column k to column k, missing columns zero, superfluous ones left out; the mean goes to the mean."""

    factor = "none"

    def fit(self, x: Tensor, factor: Mapping[str, Tensor], y: Tensor, ctx: Context) -> Affine:
        """Learn the mean alone."""
        check_pair(x, y)
        return mean_to_mean(torch.eye(x.shape[1], y.shape[1], dtype=torch.float64), x, y)


class RandomMap(LinearMap):
    """A null map: one Gaussian matrix, scaled so that mapped rows vary in total as the target's do; mean to mean.

    One draw is one fixed direction of the source, which may well detect something: compare with many seeds.
    """

    factor = "none"

    def fit(self, x: Tensor, factor: Mapping[str, Tensor], y: Tensor, ctx: Context) -> Affine:
        """Draw the matrix; learn its scale and the mean."""
        check_pair(x, y)
        drawn = torch.randn((x.shape[1], y.shape[1]), generator=ctx.generator("random map"), dtype=torch.float64)
        mapped, wanted = _variance(_centred(x, means(x)), drawn), _variance(_centred(y, means(y)))
        return mean_to_mean(drawn * ((wanted / mapped) ** 0.5 if mapped > 0 else 0.0), x, y)
