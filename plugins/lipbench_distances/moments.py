# SPDX-License-Identifier: Apache-2.0
"""Means, covariances and the Wasserstein distance of two Gaussians, in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d), divided by n, of rows (n, d)."""
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.mT @ centred / len(x)


def gram(x: Tensor) -> Tensor:
    """Second moments about the origin, (d, d), of rows (n, d): X^T X / n."""
    return x.mT @ x / len(x)


def root(cov: Tensor) -> Tensor:
    """The positive semidefinite square root; eigenvalues below 0, which only rounding makes, count as 0.

    NaN where the covariance is not finite, as is all that is made of it.
    """
    if not bool(cov.isfinite().all()):
        return cov * math.nan
    values, vectors = torch.linalg.eigh(cov)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.mT


def bures(factor: Tensor, other: Tensor) -> Tensor:
    """Squared Bures distance of two covariances, tr C1 + tr C2 - 2 || A1 C2^(1/2) ||_*.

    The nuclear norm of the product of factors is the fidelity, `tr (C1^(1/2) C2 C1^(1/2))^(1/2)`, for any A1 with
    A1^T A1 = C1, and no eigenvalue of a nearly singular matrix is rooted in it. Its gradient is finite everywhere.

    Args:
        factor: A1, (k, d): a root of the covariance, or centred rows divided by the root of their number.
        other: C2^(1/2), (d, d).
    """
    product = factor @ other
    if not bool(product.isfinite().all()):
        return product.sum() * math.nan
    fidelity = torch.linalg.matrix_norm(product, "nuc")
    return factor.square().sum() + other.square().sum() - 2 * fidelity


def gaussian_w2_squared(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of two Gaussians, at least 0.

    Source: D. C. Dowson, B. V. Landau, The Frechet distance between multivariate normal distributions, J. Multivariate Anal.
    12, 1982.
    """
    return (mean1 - mean2).square().sum() + bures(root(cov1), root(cov2)).clamp(min=0)


def gaussian_w2_published(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    """The distance as V. Marron's page computes it: eigenvalues of C1 C2 rounded to five decimals before their roots.

    Kept with its defects, to show them: NaN where the difference is rounded below 0 (so also between a distribution and
    itself), and where a product of rank-deficient matrices has complex eigenvalues; off by up to the root of 5e-6 for each
    eigenvalue, whatever the scale.
    """
    eigenvalues = torch.linalg.eigvals(cov1 @ cov2)
    if bool((eigenvalues.imag == 0).all()):
        overlap = _rounded(eigenvalues.real).sqrt().sum()
    else:
        whole = torch.complex(_rounded(eigenvalues.real), _rounded(eigenvalues.imag)).sqrt().sum()
        overlap = whole.real if float(whole.imag) == 0 else torch.full_like(whole.real, torch.nan)
    return ((mean1 - mean2).square().sum() + (cov1 + cov2).trace() - 2 * overlap).sqrt()


def _rounded(values: Tensor) -> Tensor:
    return torch.round(values, decimals=5)
