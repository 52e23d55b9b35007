# SPDX-License-Identifier: Apache-2.0
"""The structural similarity turned into a distance."""

from __future__ import annotations

import torch
from torch import Tensor

from lipbench.api import Context

from ..base import Backbone
from .pairs import Measure, PairDistance

WINDOW = 7
K1, K2 = 0.01, 0.03


def structural_similarity(x: Tensor, y: Tensor, window: int = WINDOW) -> Tensor:
    """Mean structural similarity of images with values in [0, 1]; differentiable.

    Uniform window, sample covariance, only windows that lie inside the image, mean over windows and channels: what
    `skimage.metrics.structural_similarity(x, y, data_range=1, channel_axis=0)` computes.

    Args:
        x: (..., C, L, L).
        y: The same shape, or one that broadcasts with it.
        window: Side of the window, odd and at most L.

    Returns:
        (...) similarities, at most 1, in the dtype of x.

    Source: Z. Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE TIP 2004, eq. 13.
    """

    def local_mean(z: Tensor) -> Tensor:
        pooled = torch.nn.functional.avg_pool2d(z.reshape(-1, 1, *z.shape[-2:]), window, stride=1)
        return pooled.reshape(*z.shape[:-2], *pooled.shape[-2:])

    sample = window**2 / (window**2 - 1) if window > 1 else 1.0
    mean_x, mean_y = local_mean(x), local_mean(y)
    var_x = sample * (local_mean(x * x) - mean_x * mean_x)
    var_y = sample * (local_mean(y * y) - mean_y * mean_y)
    cov = sample * (local_mean(x * y) - mean_x * mean_y)
    c1, c2 = K1**2, K2**2
    light = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    structure = (2 * cov + c2) / (var_x + var_y + c2)
    return (light * structure).mean((-3, -2, -1))


def window_of(x: Tensor) -> int:
    """7, or the largest odd window that fits into images (..., H, W) of fewer pixels."""
    side = min(WINDOW, *x.shape[-2:])
    return side if side % 2 else side - 1


class StructuralDissimilarity(PairDistance):
    """1 - SSIM: single scale, 7x7 uniform window, data range 1, K1 = 0.01, K2 = 0.03, sample covariance; in [0, 2].

    Images of less than 7 pixels a side get the largest odd window that fits. No network is evaluated.

    Source: Z. Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE TIP 2004, eq. 13.
    """

    def prepare(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Measure:
        """The window for images of this size; any backbone, or none."""
        window = window_of(x)
        return lambda x, ys: 1 - structural_similarity(x.double(), ys.double(), window)
