# SPDX-License-Identifier: Apache-2.0
"""Style transfer: an image whose features come as near to those of another as a distance can bring them."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Metric, NotApplicable, NotFinite, Value

from ..base import evenly
from ..distances.by_kernels import Energy
from ..distances.by_moments import GaussianW2, GramLoss
from ..features import LAYERS, Features, photograph
from ..moments import moments
from ..pairs.photographs import Photographs
from ..pictures import png
from ..task import Compared

_JUDGED = 500
"""Positions that the energy distance looks at."""
_QUALITY = 88
_Layer = Annotated[int, Field(ge=1, le=LAYERS)]


class StyleTransfer(Metric):
    """Energy distance that is left to the style image's features after the image was optimised for another distance.

    Pixels start at the content image and are free in 0..255; Adam descends the sum over layers of the distance, each divided
    by its value at the start, so that no layer counts for more because its features are larger. There is no content term: what
    stays of the content is what the start leaves. The judge is a distance that none of the compared losses optimises, the mean
    over layers of the energy distance relative to that of the start.

    Args:
        layers: ReLU6 layers of EfficientNet-Lite0, ascending.
        steps: Of Adam.
        lr: Its step size, in raw pixels.

    Source: V. Marron, Style Transfer as Optimal Transport, 2017; L. A. Gatys et al., arXiv:1508.06576 (there with VGG-19).
    """

    def __init__(
        self,
        *,
        layers: Annotated[tuple[_Layer, ...], Field(min_length=1)] = (1, 3, 5),
        steps: Annotated[int, Field(ge=1)] = 150,
        lr: Annotated[float, Field(gt=0)] = 8.0,
    ) -> None:
        self.layers, self.steps, self.lr = layers, steps, lr

    def compute(self, evidence: Compared, ctx: Context) -> Value:
        """With the image, and what is left of Gram loss, Gaussian W2, means and covariances, relative to the start.

        Raises:
            NotApplicable: The pair has no photographs.
            NotFinite: The loss or its gradient is not.
        """
        pair = evidence.pair
        if not isinstance(pair, Photographs):
            raise NotApplicable("a style transfer needs photographs; write pair: photographs")
        features = Features(self.layers, pair.size, ctx)
        content, style = (photograph(name, pair.size).to(ctx.device) for name in (pair.first, pair.second))
        with torch.no_grad():
            there, start = features(style), features(content)
        image, trace = self._descend(evidence, features, content, there, ctx)
        with torch.no_grad():
            left = _left(features(image), start, there, ctx)
        pictures = {name: _jpeg(x) for name, x in (("content", content), ("style", style), ("image", image))}
        return Value(
            value=left["energy"],
            direction="lower",
            unit="share of the start",
            group=f"{pair.first} to {pair.second}, {self.steps} steps",
            extras=left | {"loss": trace, "pictures": pictures},
            forwards=self.steps + 3,
            backwards=self.steps,
        )

    def _descend(
        self, evidence: Compared, features: Features, content: Tensor, there: list[Tensor], ctx: Context
    ) -> tuple[Tensor, list[float]]:
        image = content.clone().requires_grad_()
        adam = torch.optim.Adam([image], lr=self.lr)
        every, trace = max(1, self.steps // 20), []
        weights: Tensor | None = None
        for step in range(self.steps):
            losses = torch.stack(
                [evidence.distance.loss(x, y, evidence.ctx) for x, y in zip(features(image), there, strict=True)]
            )
            if weights is None:
                weights = 1 / losses.detach().clamp(min=1e-12)
            loss = (weights * losses).mean()
            (image.grad,) = torch.autograd.grad(loss, image)
            if not bool(loss.isfinite() & image.grad.isfinite().all()):
                raise NotFinite(f"the loss of step {step} or its gradient is not finite")
            adam.step()
            with torch.no_grad():
                image.clamp_(0, 255)
            if step % every == 0:
                trace.append(float(f"{float(loss.detach()):.4g}"))
                ctx.report(f"step {step} of {self.steps}")
        return image.detach(), trace


def _left(now: list[Tensor], start: list[Tensor], there: list[Tensor], ctx: Context) -> dict[str, Any]:
    """What is left of several distances, each relative to the start, mean over layers."""
    some = [evenly(len(y), _JUDGED) for y in there]
    judges = {
        "energy": lambda x, y, i: float(Energy(squared=True).between(x[some[i]], y[some[i]], ctx)) ** 0.5,
        "gram_loss": lambda x, y, i: float(GramLoss().between(x, y, ctx)) ** 0.5,
        "gaussian_w2": lambda x, y, i: float(GaussianW2().between(x, y, ctx)),
        "mean": lambda x, y, i: float(torch.linalg.vector_norm(x.mean(0) - y.mean(0))),
        "covariance": lambda x, y, i: float(torch.linalg.matrix_norm(moments(x)[1] - moments(y)[1])),
    }
    layers = range(len(there))
    return {
        name: sum(judge(now[i], there[i], i) / judge(start[i], there[i], i) for i in layers) / len(there)
        for name, judge in judges.items()
    }


def _jpeg(image: Tensor) -> str:
    return png(image.cpu().permute(1, 2, 0) / 255, _QUALITY)
