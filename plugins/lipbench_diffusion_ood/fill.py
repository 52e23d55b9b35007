# SPDX-License-Identifier: Apache-2.0
"""The lift of the source's comparison: masked pixels filled in by a network that was trained for just that."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, NotFinite

from .base import Backbone, Lift, Tensors, image_generator
from .masks import Mask, known_pixels
from .models.fitting import parts, required
from .models.masked import MaskedAutoencoder

_SPREAD = 64


class FillIn(Lift):
    """Mask part of an image and let a masked autoencoder fill it in: one evaluation for each attempt, no noise.

    The control of `inpaint`: a network that does nothing but inpaint is the better inpainter and the worse detector,
    says the source. Attempts differ only where their masks do: `checkerboard` has two, `random_patch` any number.

    Args:
        mask: As for `inpaint`.
        cells: Squares along one side of a checkerboard; divides the side of the images.
        patch: Side of a random patch in pixels; divides the side of the images.
        ratio: Share of the random patches that is masked.
        attempts: Reconstructions of each image, r.

    Source: Z. Liu et al., Leveraging diffusion models for unsupervised out-of-distribution detection on image manifold, 2024,
    figure 11; K. He et al., Masked autoencoders are scalable vision learners, CVPR 2022.
    """

    reads = MaskedAutoencoder

    def __init__(
        self,
        *,
        mask: Mask = "checkerboard",
        cells: Annotated[int, Field(ge=1)] = 8,
        patch: Annotated[int, Field(ge=1)] = 4,
        ratio: Annotated[float, Field(gt=0, le=1)] = 0.5,
        attempts: Annotated[int, Field(ge=1)] = 2,
    ) -> None:
        self.mask, self.cells, self.patch, self.ratio, self.attempts = mask, cells, patch, ratio, attempts

    @property
    def evaluations(self) -> int:
        """One for each attempt."""
        return self.attempts

    @torch.inference_mode()
    def lifted(self, backbone: Backbone, x: Tensor, ctx: Context) -> Tensors:
        """`reconstructions` (r, n, C, L, L) of images x (n, C, L, L) in [0, 1], known pixels bit by bit, and `evaluations`.

        Raises:
            InvalidInput: The images do not suit the mask or the network.
            NotFinite: A reconstruction has NaN or an infinite value.
        """
        network = required(backbone, MaskedAutoencoder, x, "fill_in", ctx)
        images, found = x.float(), torch.empty(self.attempts, *x.shape)
        for attempt in range(self.attempts):
            for span in parts(len(x), _SPREAD * x[0].numel(), ctx):
                known = self._known(images[span], attempt, ctx)
                filled = network.fill(images[span].to(ctx.device), known.to(ctx.device)).clamp(0, 1).cpu()
                found[attempt, span] = torch.where(known, images[span], filled)
        if not bool(found.isfinite().all()):
            raise NotFinite("fill_in: a reconstruction is NaN or infinite; fit the masked autoencoder anew")
        return {"reconstructions": found, "evaluations": torch.tensor(self.evaluations, dtype=torch.float64)}

    def shown(self, backbone: Backbone, x: Tensor, ctx: Context) -> Tensor:
        """The images with grey for what the first attempt masks."""
        return torch.where(self._known(x, 0, ctx), x, 0.5)

    def _known(self, images: Tensor, attempt: int, ctx: Context) -> Tensor:
        generators = [image_generator(image, attempt, ctx) for image in images]
        side, attempts = images.shape[-1], [attempt] * len(images)
        return known_pixels(self.mask, side, attempts, generators, cells=self.cells, patch=self.patch, ratio=self.ratio)
