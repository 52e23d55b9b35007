# SPDX-License-Identifier: Apache-2.0
"""Metrics that come with pictures: reconstructions, and what the diffusion model learned."""

from __future__ import annotations

import base64
import io

import numpy as np
from torch import Tensor

from lipbench.api import Context, Metric, NotApplicable, Value

from .evidence import OODScores

_LAST = 5
"""Points of the loss curve whose mean is the loss at the end."""


class Reconstructions(Metric):
    """Mean squared difference between in-domain images and their reconstructions, with a sheet of some images to look at.

    The sheet is a PNG in the extras: rows are the original, what the lift leaves of it, and two reconstructions; the left half
    has in-domain images, the right half foreign ones.
    """

    def compute(self, evidence: OODScores, ctx: Context) -> Value:
        """Without a direction: a good detector needs it small inside and large outside; the extras have the latter."""
        if evidence.inside_mapped is None or evidence.outside_mapped is None:
            raise NotApplicable("reconstructions: nothing is reconstructed here; leave the metric out of this block")
        rows = [
            _row(evidence.inside_images, evidence.outside_images),
            _row(evidence.inside_lifted, evidence.outside_lifted),
            *(_row(a, b) for a, b in zip(evidence.inside_mapped[:2], evidence.outside_mapped[:2], strict=True)),
        ]
        return Value(
            value=evidence.inside_error,
            direction="none",
            unit="mean square of [0,1] pixels",
            extras={
                "outside": evidence.outside_error,
                "images": [len(evidence.inside), len(evidence.outside)],
                "sheet": _png(np.concatenate(rows, 0)),
            },
        )


class DenoisingLoss(Metric):
    """Loss of the diffusion model at the end of its training, with the loss curve, and a sheet of images that it draws.

    The sheet is a PNG in the extras: the left half has in-domain test images, the right half samples of the model.
    """

    def compute(self, evidence: OODScores, ctx: Context) -> Value:
        """Mean squared error of the predicted noise over the last hundred steps; predicting zero has 1.

        Raises:
            NotApplicable: The backbone is no diffusion model, or learned without a loss.
        """
        curve = evidence.loss_curve
        if curve is None or len(curve) == 0 or evidence.samples is None:
            raise NotApplicable("denoising_loss: no diffusion model was trained here; leave the metric out of this block")
        return Value(
            value=float(curve[-_LAST:].double().mean()),
            direction="lower",
            unit="mean square",
            group="loss",
            extras={
                "loss_curve": [float(f"{v:.4g}") for v in curve.tolist()],
                "sheet": _png(_row(evidence.inside_images, evidence.samples)),
            },
        )


def _row(inside: Tensor, outside: Tensor) -> np.ndarray:
    """(L, w, C) images side by side, a white column between the two kinds."""
    tiles = [image.permute(1, 2, 0).numpy() for image in inside]
    gap = np.ones((tiles[0].shape[0], 2, tiles[0].shape[2]), dtype=np.float32)
    tiles += [gap, *(image.permute(1, 2, 0).numpy() for image in outside)]
    return np.concatenate(tiles, 1)


def _png(picture: np.ndarray) -> str:
    """A picture (h, w, 1 or 3) in [0, 1] as base64 of a PNG; empty where no library can write one."""
    try:
        from PIL import Image
    except ImportError:
        return ""
    bytes_ = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(bytes_[..., 0] if bytes_.shape[-1] == 1 else bytes_).save(out, format="PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()
