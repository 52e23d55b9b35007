# SPDX-License-Identifier: Apache-2.0
"""Distances that see first and second moments alone."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lipbench.api import Context

from ..base import Distance, Distribution
from ..moments import bures, gaussian_w2_published, gaussian_w2_squared, gram, moments, root


class GramLoss(Distance):
    """Squared Frobenius distance of Gram matrices: the style loss of Gatys et al., a squared MMD of the kernel (x.y)^2.

    Args:
        normalise: `source`: Gram matrices are divided by the rows, as in V. Marron's page. `gatys`: the convention of one layer
            in the paper, Gram matrices not divided and the sum of squares divided by 4 d^2 n^2, where the number n of rows is
            that of the first sample.
        squared: False for the Frobenius distance itself, which obeys the triangle inequality.

    Source: L. A. Gatys, A. S. Ecker, M. Bethge, A neural algorithm of artistic style, arXiv:1508.06576, equations 4 and 5.
    """

    def __init__(self, *, normalise: Literal["source", "gatys"] = "source", squared: bool = True) -> None:
        self.normalise, self.squared = normalise, squared
        self.degree = 4.0 if squared else 2.0
        self.unit = f"feature unit^{self.degree:g}"

    def _between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """From the two Gram matrices."""
        value = self.loss(x, y, ctx)
        return value if self.squared else value.sqrt()

    def loss(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """Its square, which has a gradient at 0."""
        if self.normalise == "source":
            return (gram(x) - gram(y)).square().sum()
        # With G = n gram: |n1 gram1 - n2 gram2|^2 / (4 d^2 n^2).
        return (len(x) * gram(x) - len(y) * gram(y)).square().sum() / (4 * x.shape[1] ** 2 * len(x) ** 2)

    def population(self, p: Distribution, q: Distribution) -> float | None:
        """Of the second moments; the other convention has no limit for many rows but a constant times this one."""
        if self.normalise == "gatys":
            return None
        value = float((p.gram - q.gram).square().sum())
        return value if self.squared else value**0.5


class MeanCovariance(Distance):
    """Root of || m1 - m2 ||^2 + || C1 - C2 ||_F^2: the plainest distance that tells mean from covariance."""

    degree = 2.0  # of its second part, which is the larger one for large features
    unit = "feature unit and its square"

    def _between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """From the sample moments."""
        return self.loss(x, y, ctx).sqrt()

    def loss(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """Its square."""
        return _squared_difference(*moments(x), *moments(y))

    def population(self, p: Distribution, q: Distribution) -> float:
        """From the known moments."""
        return float(_squared_difference(p.mean, p.cov, q.mean, q.cov)) ** 0.5


class MeanDifference(Distance):
    """|| m1 - m2 ||: what the means alone tell."""

    def _between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """From the sample means."""
        return torch.linalg.vector_norm(x.mean(0) - y.mean(0))

    def loss(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """Its square."""
        return (x.mean(0) - y.mean(0)).square().sum()

    def population(self, p: Distribution, q: Distribution) -> float:
        """From the known means."""
        return float(torch.linalg.vector_norm(p.mean - q.mean))


class GaussianW2(Distance):
    """2-Wasserstein distance of the Gaussians that have the moments of the samples (Frechet, Bures-Wasserstein).

    A metric between Gaussians. Between other distributions it sees nothing above second moments, and is a lower bound of their
    W2 (M. Gelbrich, Math. Nachr. 147, 1990).

    Args:
        form: `stable`: fidelity as the nuclear norm of a product of roots, in float64, differentiable everywhere. `source`: the
            formula of V. Marron's page, with rounded eigenvalues; see `gaussian_w2_published`.
        squared: Give the square, which does not obey the triangle inequality.

    Source: D. C. Dowson, B. V. Landau, J. Multivariate Anal. 12, 1982.
    """

    def __init__(self, *, form: Literal["stable", "source"] = "stable", squared: bool = False) -> None:
        self.form, self.squared = form, squared
        self.degree = 2.0 if squared else 1.0
        self.unit = "feature unit^2" if squared else "feature unit"

    def _between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """From the sample moments."""
        return self._distance(*moments(x), *moments(y))

    def loss(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        """The squared distance, y held fixed; its gradient is finite at equal samples and at any rank.

        That of `source` is the published formula squared, whose rounding leaves no gradient of the overlap.
        """
        mean, cov = moments(y)
        if self.form == "source":
            return gaussian_w2_published(*moments(x), mean, cov).square()
        mine = x.mean(0)
        factor = (x - mine) / len(x) ** 0.5
        return (mine - mean).square().sum() + bures(factor, root(cov).detach())

    def population(self, p: Distribution, q: Distribution) -> float:
        """From the known moments."""
        return float(self._distance(p.mean, p.cov, q.mean, q.cov))

    def _distance(self, mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
        if self.form == "source":
            value = gaussian_w2_published(mean1, cov1, mean2, cov2)
            return value.square() if self.squared else value
        value = gaussian_w2_squared(mean1, cov1, mean2, cov2)
        return value if self.squared else value.sqrt()


class Frechet(GaussianW2):
    """Squared Gaussian W2: the Frechet distance that is called FID where the features are those of Inception.

    Source: M. Heusel et al., GANs trained by a two time-scale update rule, NeurIPS 2017.
    """

    def __init__(self) -> None:
        super().__init__(squared=True)


def _squared_difference(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    return (mean1 - mean2).square().sum() + (cov1 - cov2).square().sum()
