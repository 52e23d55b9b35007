# SPDX-License-Identifier: Apache-2.0
"""Lift, Map, Detect: the distance of an image from its reconstructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, InvalidInput

from ..base import Backbone, Denoiser, Detector, Scored, Tensors
from ..distances.alexnet import ENLARGED, SMALLEST, Lpips
from ..distances.pairs import MeanSquared, PairDistance
from ..distances.perceptual import PerceptualDenoiser, PerceptualRandom
from ..distances.ssim import StructuralDissimilarity
from .common import checked

Aggregate = Literal["median", "mean", "min", "trimmed"]
_PLAIN: dict[str, type[PairDistance]] = {
    "mse": MeanSquared,
    "ssim": StructuralDissimilarity,
    "perc_unet": PerceptualDenoiser,
    "perc_rand": PerceptualRandom,
}


def _trimmed(d: Tensor) -> Tensor:
    cut = len(d) // 5
    return d.sort(0).values[cut : len(d) - cut].mean(0)


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
            random convolutions), `lpips` (the source's choice, needs `trunk` and `heads`).
        aggregate: `median` (the source's), `mean`, `min`, or `trimmed`: the mean without the lowest and the highest fifth.
            For distances with Gaussian noise the mean has the larger ROC-AUC, for heavy tails the median.
        attempts: How many of the reconstructions to use, the first ones; null for all.
        trunk: State dict of AlexNet, for `lpips` only.
        heads: Linear heads of LPIPS, for `lpips` only.

    Source: Z. Liu, J. P. Zhou, K. Q. Weinberger, Leveraging diffusion models for unsupervised out-of-distribution detection
    on image manifold, Frontiers in Artificial Intelligence 7, 2024, algorithm 1.
    """

    reads = Denoiser
    lifts = True

    def __init__(
        self,
        *,
        distance: Literal["mse", "ssim", "perc_unet", "perc_rand", "lpips"] = "perc_unet",
        aggregate: Aggregate = "median",
        attempts: Annotated[int, Field(ge=1)] | None = None,
        trunk: str | None = None,
        heads: str | None = None,
    ) -> None:
        if distance != "lpips" and (trunk is not None or heads is not None):
            raise InvalidInput(f"lmd: trunk: and heads: are the weights of distance: lpips, not of {distance}; leave them out")
        self.aggregate, self.attempts = aggregate, attempts
        self.distance = Lpips(trunk=trunk, heads=heads) if distance == "lpips" else _PLAIN[distance]()

    def files(self) -> Sequence[Path]:
        """The weights of LPIPS, where it is the distance."""
        return self.distance.files()

    def share(self, reconstructions: Tensor | None) -> float:
        """The first `attempts` of them."""
        return 0.0 if reconstructions is None else (self.attempts or len(reconstructions)) / len(reconstructions)

    def score(
        self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, reconstructions: Tensor | None, ctx: Context
    ) -> Scored:
        """Aggregate the distances to the reconstructions (r, n, C, L, L).

        Raises:
            InvalidInput: There are no reconstructions, or fewer than `attempts`; or the distance cannot be computed.
        """
        if reconstructions is None:
            raise InvalidInput("lmd measures reconstructions, found none; write a lift such as use: inpaint")
        count = self.attempts or len(reconstructions)
        if not 1 <= count <= len(reconstructions):
            raise InvalidInput(
                f"lmd: {len(reconstructions)} reconstructions are too few for attempts: {count}; write a smaller one"
            )
        distances = self.distance.attempts(x, reconstructions[:count], backbone, ctx)
        extras = {"distances": distances}
        if isinstance(self.distance, Lpips) and min(x.shape[-2:]) < SMALLEST:
            extras["enlarged_to"] = torch.full((len(x),), float(ENLARGED), dtype=torch.float64)
        return Scored(
            scores=checked(aggregate(distances, self.aggregate), "lmd"),
            evaluations=1 + count if self.distance.encodes else 0,
            extras=extras,
        )
