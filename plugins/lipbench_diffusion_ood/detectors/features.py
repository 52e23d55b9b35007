# SPDX-License-Identifier: Apache-2.0
"""How far an image is from the in-domain ones among features: one Gaussian, or nearest neighbours; pixels serve as features too."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, InvalidInput

from ..base import Backbone, Denoiser, Detector, Scored, Tensors
from ..distances.perceptual import denoiser_layers
from ..models.autoencoder import Autoencoder
from ..models.features import FeatureNet
from ..models.fitting import parts
from ..models.pretrained import PretrainedFeatures
from .common import CALIBRATION_IMAGES, calibration_images, checked, like_training

Source = Literal["pixels", "backbone"]
# Activations take some tens of numbers for each pixel.
_SPREAD = 64
_TINY = 1e-12


class _Featured(Detector):
    """A detector that compares feature vectors.

    Args:
        source: Where they come from.
        images: Most in-domain training images to learn from; None for all.
    """

    def __init__(self, *, source: Source, images: int | None) -> None:
        self.source, self.images = source, images
        # Pixels need no backbone: what is read hangs on a parameter, so it is the instance that says so.
        vars(self)["reads"] = Backbone if source == "backbone" else None

    @property
    def evaluations(self) -> int:
        """Network evaluations for one image."""
        return int(self.source == "backbone")

    def learned(self, train: Tensor, ctx: Context) -> Tensor:
        """The training images that it learns from."""
        return calibration_images(train, ctx, len(train) if self.images is None else self.images)

    @torch.inference_mode()
    def vectors(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Tensor:
        """(n, d) float64 feature vectors of images (n, C, L, L) in [0, 1], on the CPU.

        Raises:
            InvalidInput: The backbone gives none.
        """
        if self.source == "pixels":
            return x.flatten(1).double()
        found = [
            embed(x[span].to(ctx.device), backbone, ctx).double().cpu() for span in parts(len(x), _SPREAD * x[0].numel(), ctx)
        ]
        return torch.cat(found)


def embed(x: Tensor, backbone: Backbone | None, ctx: Context) -> Tensor:
    """(n, d) features of images (n, C, L, L) in [0, 1]: an embedding, a code, or a denoiser's activations averaged over places.

    Raises:
        InvalidInput: The backbone gives none of them.
    """
    if isinstance(backbone, FeatureNet):
        return backbone.to(ctx.device).embedding(x)
    if isinstance(backbone, Autoencoder):
        return backbone.to(ctx.device).encode(x)
    if isinstance(backbone, PretrainedFeatures):
        return backbone.embedding(x)
    if isinstance(backbone, Denoiser):
        return torch.cat([f.mean((2, 3)) for f in denoiser_layers(backbone)(x)], dim=1)
    found = "none" if backbone is None else type(backbone).__name__
    raise InvalidInput(
        f"source: backbone needs a network with features, found {found}; write use: self_supervised, or source: pixels"
    )


class Mahalanobis(_Featured):
    """Squared Mahalanobis distance of an image's features to those of in-domain training images: one Gaussian, no labels.

    s(x) = (f(x) - m)^T S^-1 (f(x) - m). Of backbones the features are the embedding of a feature network, the code of an
    autoencoder, or a diffusion model's encoder activations averaged over places. Cost: one evaluation an image of the
    backbone, none for pixels.

    Args:
        source: `backbone`, or `pixels`, a control without any network.
        covariance: `ledoit_wolf` shrinks towards a multiple of the identity, which is always invertible; `mle` does not, so it
            is invariant under affine maps of the features.
        images: Most training images to learn from, null for all. Take many more than there are features: with fewer, Ledoit
            and Wolf's covariance is shrunk hard.

    Source: Z. Xiao et al., Do we really need to learn representations from in-domain data for outlier detection?, 2021;
    O. Ledoit and M. Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004.
    """

    def __init__(
        self,
        *,
        source: Source = "backbone",
        covariance: Literal["ledoit_wolf", "mle"] = "ledoit_wolf",
        images: Annotated[int, Field(ge=2)] | None = CALIBRATION_IMAGES,
    ) -> None:
        super().__init__(source=source, images=images)
        self.covariance = covariance

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        """Mean, and the factor A with A A^T = S^-1, of `images` training images.

        Raises:
            InvalidInput: The covariance has no inverse.
        """
        from sklearn.covariance import empirical_covariance, ledoit_wolf

        rows = self.vectors(self.learned(train, ctx), backbone, ctx)
        mean = rows.mean(0)
        centred = (rows - mean).numpy()
        plain = self.covariance == "mle"
        found = empirical_covariance(centred, assume_centered=True) if plain else ledoit_wolf(centred, assume_centered=True)[0]
        covariance = torch.from_numpy(found)
        factor, failed = torch.linalg.cholesky_ex(covariance)
        smallest = float(factor.diagonal().abs().min() / factor.diagonal().abs().max().clamp(min=_TINY))
        if int(failed) or not smallest > 1e-7:
            advice = "write covariance: ledoit_wolf" if plain else "the images may all be the same"
            raise InvalidInput(
                f"mahalanobis: the covariance of {rows.shape[1]} features of {len(rows)} images is singular; {advice}"
            )
        whiten = torch.linalg.solve_triangular(factor, torch.eye(len(factor), dtype=factor.dtype), upper=False).T.contiguous()
        return {"mean": mean, "whiten": whiten}

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Squared distances."""
        mean = calibrated["mean"]
        rows = like_training(self.vectors(x, backbone, ctx), len(mean), "mahalanobis")
        distances = ((rows - mean) @ calibrated["whiten"]).square().sum(1)
        return Scored(scores=checked(distances, "mahalanobis"), evaluations=self.evaluations)


class NearestNeighbors(_Featured):
    """Distance of an image's features to the k-th nearest of in-domain training images.

    Cost: one evaluation an image of the backbone, none for pixels; and `images` times d multiplications.

    Args:
        source: `backbone` (see `mahalanobis` for what its features are), or `pixels`, a control without any network.
        k: Which neighbour.
        normalise: Whether feature vectors get length 1 first; null for true with a backbone and false with pixels, whose
            length says something.
        images: Most training images among which neighbours are looked for, null for all.

    Source: Y. Sun et al., Out-of-distribution detection with deep nearest neighbors, ICML 2022, eq. 2.
    """

    def __init__(
        self,
        *,
        source: Source = "backbone",
        k: Annotated[int, Field(ge=1)] = 5,
        normalise: bool | None = None,
        images: Annotated[int, Field(ge=2)] | None = CALIBRATION_IMAGES,
    ) -> None:
        super().__init__(source=source, images=images)
        self.k, self.normalise = k, source == "backbone" if normalise is None else normalise

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        """Vectors of `images` training images.

        Raises:
            InvalidInput: There are fewer than k.
        """
        rows = self._vectors(self.learned(train, ctx), backbone, ctx)
        if len(rows) < self.k:
            raise InvalidInput(f"knn: {len(rows)} training images have no neighbour k: {self.k}; write a smaller k:")
        return {"neighbours": rows}

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Distances to the k-th neighbour."""
        known = calibrated["neighbours"].to(ctx.device)
        rows = like_training(self._vectors(x, backbone, ctx), known.shape[1], "knn").to(ctx.device)
        # Differences, not the expansion of the square: a distance then depends on no other row, to the last bit.
        exact = "donot_use_mm_for_euclid_dist"
        spans = parts(len(rows), len(known), ctx)
        found = [torch.cdist(rows[s], known, compute_mode=exact).kthvalue(self.k, dim=1).values.cpu() for s in spans]
        return Scored(scores=checked(torch.cat(found), "knn"), evaluations=self.evaluations)

    def _vectors(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Tensor:
        rows = self.vectors(x, backbone, ctx)
        return rows / rows.norm(dim=1, keepdim=True).clamp(min=_TINY) if self.normalise else rows
