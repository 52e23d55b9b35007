# SPDX-License-Identifier: Apache-2.0
"""The evidence of the task: scores of in-domain and foreign images by one detector."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

TRAITS = ("intensity", "complexity")


@dataclass(frozen=True, kw_only=True)
class OODScores:
    """What every metric of this task reads; larger scores are more out of distribution."""

    inside: Tensor
    """(n,) float64 scores of test images of the in-domain set."""
    outside: Tensor
    """(m,) float64 scores of test images of the other set."""
    evaluations: float
    """Evaluations of the network for one image, reconstructions included."""
    seconds: float
    """Seconds for one image on this machine, reconstructions included; the only number here that a rerun changes."""
    inside_labels: Tensor | None
    """(n,) int64 classes, for tables by class alone; None where the set has none."""
    outside_labels: Tensor | None
    """(m,) int64."""
    inside_traits: Tensor
    """(n, 2) float64, the columns of `TRAITS`: mean of the pixels, and bits of the image compressed by zlib."""
    outside_traits: Tensor
    """(m, 2)."""
    inside_images: Tensor
    """(k, C, L, L) the first in-domain images, in [0, 1]."""
    outside_images: Tensor
    """(k, C, L, L) the first images of the other set."""
    inside_lifted: Tensor
    """(k, C, L, L) what the first attempt left of them; themselves where nothing is reconstructed."""
    outside_lifted: Tensor
    """(k, C, L, L)."""
    inside_error: float
    """Mean squared difference of all in-domain images and their reconstructions; 0 where nothing is reconstructed."""
    outside_error: float
    """The same of the other set."""
    inside_mapped: Tensor | None
    """(r, k, C, L, L) their reconstructions; None where nothing is reconstructed."""
    outside_mapped: Tensor | None
    """(r, k, C, L, L)."""
    samples: Tensor | None = None
    """(k, C, L, L) images in [0, 1] that the diffusion model draws; None where the backbone is none, or nothing is mapped."""
    loss_curve: Tensor | None = None
    """Loss of its training, in order; None likewise."""
    enlarged_to: int | None = None
    """Pixels a side to which images were enlarged before they were compared; None where they were not."""
