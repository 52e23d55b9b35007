# SPDX-License-Identifier: Apache-2.0
"""AnoGAN: how near a generative adversarial network comes to an image when its input is optimised."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, NotFinite

from ..base import Backbone, Detector, Scored, Tensors, image_generator
from ..models.fitting import descend, parts, required
from ..models.gan import Gan

SPREAD = 32
"""Numbers that the widest layer holds for one value of an image, as an upper bound."""


class AnoGan(Detector):
    """min over z of (1 - weight) * sum |x - G(z)| + weight * sum |f(x) - f(G(z))|.

    f are the activations that the discriminator's output reads. z starts from a few draws of the prior and is moved by Adam
    with a falling rate; all starts of all images are one batch, and the lowest loss met is the score. Sums, not means, as
    published: with `weight` 0.1 the features do not vanish beside the pixels.

    Costs restarts * (steps + 1) forwards and restarts * steps backwards of generator and discriminator an image, and one
    forward of the discriminator.

    Args:
        weight: Share of the discriminator's features; 0 leaves the discriminator out.
        steps: Steps of Adam; 500 in the source.
        restarts: Starts; 1 in the source.
        lr: Rate of the first step.
        residual: `absolute` differences, or their `squared`.

    Source: T. Schlegl et al., Unsupervised anomaly detection with generative adversarial networks to guide marker discovery,
    IPMI 2017, eqs. 3 to 5.
    """

    reads: ClassVar[type[Backbone] | None] = Gan

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, le=1)] = 0.1,
        steps: Annotated[int, Field(ge=0)] = 200,
        restarts: Annotated[int, Field(ge=1)] = 3,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05,
        residual: Literal["absolute", "squared"] = "absolute",
    ) -> None:
        self.weight, self.steps, self.restarts, self.lr, self.residual = weight, steps, restarts, lr, residual

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """The lowest losses (n,); the extras have the lowest of each start as `starts`, (restarts, n).

        Raises:
            InvalidInput: The backbone is no `Gan` for images of this shape.
            NotFinite: A loss is NaN or infinite.
        """
        gan = required(backbone, Gan, x, "anogan", ctx)
        spans = parts(len(x), self.restarts * SPREAD * x[0].numel(), ctx)
        losses = torch.cat([self._search(gan, x[span], ctx) for span in spans], dim=1).double().cpu()
        scores = losses.amin(0)
        if not bool(scores.isfinite().all()):
            raise NotFinite(f"anogan: the loss of image {int(scores.isfinite().int().argmin())} is not finite")
        return Scored(scores=scores, evaluations=self.restarts * (self.steps + 1), extras={"starts": losses})

    def _search(self, gan: Gan, x: Tensor, ctx: Context) -> Tensor:
        """(restarts, n) lowest losses."""
        starts = [
            torch.randn(gan.dimension, generator=image_generator(row, attempt, ctx))
            for attempt in range(self.restarts)
            for row in x
        ]
        target = gan.place(x)
        with torch.no_grad():
            features = gan.features(target)[-1] if self.weight else target

        def loss(z: Tensor) -> Tensor:
            made = gan.generate(z)
            total = (1 - self.weight) * self._distance(made, target)
            if self.weight:
                total = total + self.weight * self._distance(gan.features(made)[-1], features)
            return total

        _, best = descend([gan.place(torch.stack(starts))], loss, steps=self.steps, lr=self.lr)
        return best.unflatten(0, (self.restarts, len(x)))

    def _distance(self, made: Tensor, target: Tensor) -> Tensor:
        """(restarts * n,) sums over all but the rows; `target` (n, ...) serves every start."""
        difference = made.unflatten(0, (self.restarts, len(target))) - target
        size = difference.abs() if self.residual == "absolute" else difference.square()
        return size.flatten(2).sum(2).flatten()
