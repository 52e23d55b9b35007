# SPDX-License-Identifier: Apache-2.0
"""Controls without any network: what mean brightness and linear reconstruction can tell."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, InvalidInput

from ..base import Backbone, Detector, Scored, Tensors
from .common import calibration_images, checked, like_training


class MeanIntensity(Detector):
    """How far the mean intensity of an image is from that of in-domain training images, |mean(x) - m|.

    The trivial control: a pair of datasets that it tells apart says little about any detector. Absolute, because without
    images from elsewhere nothing says whether these are brighter or darker. No network is evaluated.
    """

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        """Mean over up to 1000 training images."""
        return {"mean": calibration_images(train, ctx).double().mean()[None]}

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Absolute differences; the means are kept as an extra."""
        means = x.flatten(1).double().mean(1)
        scores = (means - calibrated["mean"]).abs()
        return Scored(scores=checked(scores, "mean_intensity"), extras={"mean_intensity": means})


class PrincipalComponents(Detector):
    """Mean squared error of an image after projection on the first principal components of in-domain training images.

    What the best linear autoencoder does, in closed form. The mean over the training images is the sum of the discarded
    eigenvalues of their covariance, divided by the number of values of an image. No network is evaluated.

    Args:
        components: How many are kept; fewer than the values of an image and the training images.

    Source: P. Baldi and K. Hornik, Neural networks and principal component analysis, Neural Networks 2, 1989.
    """

    def __init__(self, *, components: Annotated[int, Field(ge=1)] = 12) -> None:
        self.components = components

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        """Mean and components of up to 1000 training images.

        Raises:
            InvalidInput: So many components would keep everything.
        """
        rows = calibration_images(train, ctx).flatten(1).double()
        most = min(rows.shape[1], len(rows) - 1)
        if self.components >= most:
            raise InvalidInput(
                f"pca_mse: components: {self.components} keeps all of {len(rows)} images of {rows.shape[1]} values; "
                f"{f'write fewer than {most}' if most > 1 else 'more training images are needed'}"
            )
        mean = rows.mean(0)
        _, _, vectors = torch.linalg.svd(rows - mean, full_matrices=False)
        return {"mean": mean, "components": vectors[: self.components].clone()}

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Mean squared residuals."""
        mean, vectors = calibrated["mean"], calibrated["components"]
        centred = like_training(x, len(mean), "pca_mse") - mean
        residual = centred - (centred @ vectors.T) @ vectors
        return Scored(scores=checked(residual.square().mean(1), "pca_mse"))
