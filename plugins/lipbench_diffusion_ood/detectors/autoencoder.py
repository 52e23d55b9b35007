# SPDX-License-Identifier: Apache-2.0
"""Detectors on an autoencoder: the error of the reconstruction, alone or with the distance of the code."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from lipbench.api import Context, InvalidInput, NotFinite

from ..base import Backbone, Detector, Scored, Tensors
from ..models.autoencoder import Autoencoder
from ..models.fitting import parts, required

SPREAD = 32
"""Numbers that the widest layer holds for one value of an image, as an upper bound."""


class AeMse(Detector):
    """Mean squared error of the autoencoder's reconstruction.

    Costs one forward an image.

    Source: B. B. Thompson et al., Implicit learning in autoencoder novelty assessment, IJCNN 2002.
    """

    reads: ClassVar[type[Backbone] | None] = Autoencoder

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Mean over pixels and channels of the squared difference, (n,).

        Raises:
            InvalidInput: The backbone is no `Autoencoder` for images of this shape.
        """
        error, _ = _through(required(backbone, Autoencoder, x, "ae_mse", ctx), x, ctx)
        return Scored(scores=error, evaluations=1)


class AeMahalanobis(Detector):
    """Reconstruction error plus Mahalanobis distance of the code from those of the training images.

    Both terms are standardised by their mean and standard deviation on the training images, and added. The distance is the
    square root of (z - m)^T S^-1 (z - m). Costs one forward an image.

    Args:
        covariance: S of the training codes: `ledoit_wolf` shrinks it towards a multiple of the identity, so that it can
            always be inverted; `mle` is the plain one (divided by n), for which the mean of the squared distance over the
            training images is the length of the code.

    Source: T. Denouden et al., Improving reconstruction autoencoder out-of-distribution detection with Mahalanobis distance,
    arXiv:1812.02765, 2018; weights by standardisation instead of search. O. Ledoit, M. Wolf, A well-conditioned estimator
    for large-dimensional covariance matrices, Journal of Multivariate Analysis 88, 2004.
    """

    reads: ClassVar[type[Backbone] | None] = Autoencoder

    def __init__(self, *, covariance: Literal["ledoit_wolf", "mle"] = "ledoit_wolf") -> None:
        self.covariance = covariance

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        """Moments of the codes and of both terms on the training images.

        Raises:
            InvalidInput: The backbone is no `Autoencoder` for images of this shape, or the covariance is singular.
        """
        if len(train) < 2:
            raise InvalidInput(f"ae_mahalanobis needs two training images or more, got {len(train)}; write a larger dataset")
        error, codes = _through(required(backbone, Autoencoder, train, "ae_mahalanobis", ctx), train, ctx)
        mean = codes.mean(0)
        whiten = self._whiten(codes - mean)
        distance = ((codes - mean) @ whiten).norm(dim=1)
        terms = torch.stack([distance, error])
        spread = terms.std(1)
        # A term that is the same for all training images, such as the error of a perfect map, is left in its own unit.
        spread = torch.where(spread > 0, spread, 1.0)
        return {"mean": mean, "whiten": whiten, "centre": terms.mean(1), "spread": spread}

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Sum of the two standardised terms, (n,); the extras have the terms themselves as `mahalanobis` and `mse`.

        Raises:
            InvalidInput: The backbone is no `Autoencoder` for images of this shape.
        """
        error, codes = _through(required(backbone, Autoencoder, x, "ae_mahalanobis", ctx), x, ctx)
        distance = ((codes - calibrated["mean"]) @ calibrated["whiten"]).norm(dim=1)
        terms = torch.stack([distance, error], dim=1)
        scores = ((terms - calibrated["centre"]) / calibrated["spread"]).sum(1)
        return Scored(scores=scores, evaluations=1, extras={"mahalanobis": distance, "mse": error})

    def _whiten(self, centred: Tensor) -> Tensor:
        """(d, d) matrix A with A A^T = S^-1, so that the distance of a centred code z is |z A|."""
        from sklearn.covariance import empirical_covariance, ledoit_wolf

        rows = centred.numpy()
        plain = self.covariance == "mle"
        found = empirical_covariance(rows, assume_centered=True) if plain else ledoit_wolf(rows, assume_centered=True)[0]
        covariance = torch.from_numpy(found)
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if int(failed):
            advice = (
                "write covariance: ledoit_wolf"
                if plain
                else "the codes are all the same: train the autoencoder for more steps:, or on images that differ"
            )
            raise InvalidInput(f"ae_mahalanobis: the covariance of the {len(rows)} training codes is singular; {advice}")
        return torch.linalg.solve_triangular(factor, torch.eye(len(factor), dtype=factor.dtype), upper=False).T.contiguous()


@torch.inference_mode()
def _through(network: Autoencoder, x: Tensor, ctx: Context) -> tuple[Tensor, Tensor]:
    """Squared errors (n,) and codes (n, d) in float64 on the CPU, by one pass of each image through the network."""
    errors, codes = [], []
    for span in parts(len(x), SPREAD * x[0].numel(), ctx):
        image = network.place(x[span])
        code = network.encode(image)
        errors.append((network.decode(code) - image).double().square().flatten(1).mean(1).cpu())
        codes.append(code.double().cpu())
    error, code = torch.cat(errors), torch.cat(codes)
    if not bool(error.isfinite().all()):
        raise NotFinite(f"the autoencoder gives no finite image for image {int(error.isfinite().int().argmin())} of {len(x)}")
    return error, code
