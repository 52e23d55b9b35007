# SPDX-License-Identifier: Apache-2.0
"""What detectors share: which training images calibrate them, their own noise, and checks."""

from __future__ import annotations

import torch
from torch import Tensor

from lipbench.api import Context, InvalidInput, NotFinite

from ..base import image_generator

CALIBRATION_IMAGES = 1000
"""Most in-domain training images that a detector calibrates on."""
# Lifts number their attempts from 0, so that no detector shares their noise.
_ATTEMPT = -1


def calibration_images(train: Tensor, ctx: Context, most: int = CALIBRATION_IMAGES) -> Tensor:
    """The first of the training images (n, C, L, L) in a random order, `most` at most.

    Raises:
        InvalidInput: There are fewer than two.
    """
    if len(train) < 2:
        raise InvalidInput(
            f"a detector needs at least two in-domain training images, found {len(train)}; write a larger dataset"
        )
    return train[torch.randperm(len(train), generator=ctx.generator("calibration"))[:most]]


def noise(x: Tensor, count: int, ctx: Context) -> Tensor:
    """(count, n, C, L, L) standard normal noise for images x (n, C, L, L), of each image's own, in the dtype of x on its device."""
    drawn = torch.empty(len(x), count, *x.shape[1:], dtype=x.dtype)
    for row, image in zip(drawn, x, strict=True):
        torch.randn(row.shape, generator=image_generator(image, _ATTEMPT, ctx), dtype=x.dtype, out=row)
    return drawn.transpose(0, 1).contiguous().to(x.device)


def checked(scores: Tensor, detector: str) -> Tensor:
    """The scores in float64 on the CPU.

    Raises:
        NotFinite: One is NaN or infinite.
    """
    scores = scores.double().cpu()
    good = torch.isfinite(scores)
    if not bool(good.all()):
        raise NotFinite(
            f"{detector}: the score of image {int(good.int().argmin())} is not finite; look for NaN in it or its model"
        )
    return scores


def like_training(x: Tensor, features: int, detector: str) -> Tensor:
    """Images as rows (n, C L L) in float64.

    Raises:
        InvalidInput: They have another number of values than the training images.
    """
    rows = x.flatten(1).double()
    if rows.shape[1] != features:
        raise InvalidInput(
            f"{detector} was calibrated on images of {features} values, found {tuple(x.shape[1:])}; write data of the same shape"
        )
    return rows
