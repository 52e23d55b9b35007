# SPDX-License-Identifier: Apache-2.0
"""Lift, Map, Detect: the distance of an image from its reconstructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split

from ..base import Backbone, Denoiser, Detector, Scored, Tensors
from ..distances.alexnet import ENLARGED, SMALLEST, Lpips
from ..distances.cosine import Cosine
from ..distances.pairs import MeanSquared, PairDistance
from ..distances.perceptual import PerceptualAutoencoder, PerceptualDenoiser, PerceptualRandom, PerceptualSelfSupervised
from ..distances.ssim import StructuralDissimilarity
from ..models.autoencoder import Autoencoder
from ..models.features import SelfSupervised
from ..models.fitting import ImageBackbone
from .common import checked

Aggregate = Literal["median", "mean", "min", "trimmed"]
_FILES = {"cosine": ("trunk",), "lpips": ("trunk", "heads", "sha256")}
"""What a distance reads."""
_PLAIN: dict[str, Callable[..., PairDistance]] = {
    "cosine": Cosine,
    "lpips": Lpips,
    "mse": MeanSquared,
    "ssim": StructuralDissimilarity,
    "perc_unet": PerceptualDenoiser,
    "perc_rand": PerceptualRandom,
}


def _trimmed(d: Tensor) -> Tensor:
    cut = len(d) // 5
    return d.sort(0).values[cut : len(d) - cut].mean(0)


_LEARNED: dict[str, tuple[type[PairDistance], Callable[[], ImageBackbone]]] = {
    "perc_ssl": (PerceptualSelfSupervised, SelfSupervised),
    "perc_ae": (PerceptualAutoencoder, Autoencoder),
}


class _Images(Dataset):
    """Images (n, C, L, L) in [0, 1] as a dataset."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def spec(self) -> DataSpec:
        """Their shape."""
        return DataSpec(shape=tuple(self.images.shape[1:]), low=0.0, high=1.0)

    def load(self, split: str, ctx: Context) -> Split:
        """All of them."""
        return Split(inputs=self.images.numpy())


_AGGREGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "median": lambda d: d.quantile(0.5, dim=0),  # of an even number the mean of the middle two, unlike torch.median
    "mean": lambda d: d.mean(0),
    "min": lambda d: d.amin(0),
    "trimmed": _trimmed,
}


def aggregate(distances: Tensor, how: Aggregate) -> Tensor:
    """(r, n) distances -> (n,): the median, the mean, the smallest, or the mean without the lowest and highest fifth."""
    return _AGGREGATES[how](distances)


class LiftMapDetect(Detector):
    """Lift, Map, Detect: the typical distance of an image from its reconstructions by an in-domain diffusion model.

    The reconstructions are given, so distances, aggregates and counts can be compared without sampling anew; the lift counts
    its own evaluations. This detector itself evaluates nothing but the encoder, for `perc_unet`: 1 + r times an image.
    The distances (r, n) are kept as an extra.

    Args:
        distance: `mse`, `ssim` (1 - SSIM), `perc_unet` (features of the diffusion model's encoder), `perc_rand` (features of
            random convolutions), `perc_ssl` and `perc_ae` (features of a network that learns to tell rotations of in-domain
            training images, or to compress them, once for each in-domain set), `lpips` (the source's choice, needs `trunk`
            and `heads`), `cosine` (of features of a network of yours, needs `trunk`; SimCLRv2 in the source).
        aggregate: `median` (the source's), `mean`, `min`, or `trimmed`: the mean without the lowest and the highest fifth.
            For distances with Gaussian noise the mean has the larger ROC-AUC, for heavy tails the median.
        attempts: How many of the reconstructions to use, the first ones; null for all.
        trunk: State dict of AlexNet for `lpips`, a `.pt2` file as for `pretrained_features` for `cosine`.
        heads: Linear heads of LPIPS, for `lpips` only.
        sha256: First digits, at least eight, of the SHA-256 that the trunk of `lpips` must have; null to take it as it is.

    Source: Z. Liu, J. P. Zhou, K. Q. Weinberger, Leveraging diffusion models for unsupervised out-of-distribution detection
    on image manifold, Frontiers in Artificial Intelligence 7, 2024, algorithm 1.
    """

    needs = "reconstructions"

    def __init__(
        self,
        *,
        distance: Literal["mse", "ssim", "perc_unet", "perc_rand", "perc_ssl", "perc_ae", "cosine", "lpips"] = "perc_unet",
        aggregate: Aggregate = "median",
        attempts: Annotated[int, Field(ge=1)] | None = None,
        trunk: str | None = None,
        heads: str | None = None,
        sha256: str | None = None,
    ) -> None:
        given = {"trunk": trunk, "heads": heads, "sha256": sha256}
        alien = [name for name, file in given.items() if file is not None and name not in _FILES.get(distance, ())]
        if alien:
            raise InvalidInput(f"lmd: distance: {distance} reads no {alien[0]}:; leave it out, or write distance: lpips")
        self.aggregate, self.attempts = aggregate, attempts
        self.distance: PairDistance
        self.learned: Callable[[], ImageBackbone] | None = None
        if distance in _LEARNED:
            kind, self.learned = _LEARNED[distance]
            self.distance = kind()
        else:
            files = {name: given[name] for name in _FILES.get(distance, ())}
            self.distance = _PLAIN[distance](**files)
        # An inpainter that is no diffusion model serves every other distance.
        vars(self)["reads"] = Denoiser if self.distance.encodes else None

    def files(self) -> Sequence[Path]:
        """The weights of LPIPS, where it is the distance."""
        return self.distance.files()

    def share(self, lifted: Tensors) -> float:
        """The first `attempts` of them."""
        return 1.0 if self.attempts is None else self.attempts / len(lifted["reconstructions"])

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        """The weights of the network whose features are compared, where `distance` has one of its own to learn."""
        if self.learned is None:
            return {}
        images = _Images(train)
        model = self.learned()
        model.build(images.spec(), ctx)
        model.fit(images, ctx)
        return dict(model.state())

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Aggregate the distances to the reconstructions (r, n, C, L, L).

        Raises:
            InvalidInput: There are no reconstructions, or fewer than `attempts`; or the distance cannot be computed.
        """
        if "reconstructions" not in lifted:
            raise InvalidInput("lmd measures reconstructions, found none; write a lift such as use: inpaint")
        reconstructions = lifted["reconstructions"]
        count = self.attempts or len(reconstructions)
        if not 1 <= count <= len(reconstructions):
            raise InvalidInput(
                f"lmd: {len(reconstructions)} reconstructions are too few for attempts: {count}; write a smaller one"
            )
        judge = backbone if self.learned is None else _loaded(self.learned(), x, calibrated, ctx)
        distances = self.distance.attempts(x, reconstructions[:count], judge, ctx)
        extras = {"distances": distances}
        if isinstance(self.distance, Lpips) and min(x.shape[-2:]) < SMALLEST:
            extras["enlarged_to"] = torch.full((len(x),), float(ENLARGED), dtype=torch.float64)
        return Scored(
            scores=checked(aggregate(distances, self.aggregate), "lmd"),
            evaluations=1 + count if self.distance.encodes else 0,
            extras=extras,
        )


def _loaded(model: ImageBackbone, x: Tensor, state: Tensors, ctx: Context) -> ImageBackbone:
    """A fitted network for images like x."""
    model.build(_Images(x).spec(), ctx)
    model.load_state(state)
    return model
