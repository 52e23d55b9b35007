# SPDX-License-Identifier: Apache-2.0
"""The usual recipe for 32x32 pixels: SGD with momentum under a cosine, on randomly shifted and mirrored images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lipbench.api import Context, NotFinite

from .blocks import Drop

MARGIN = 4
"""Pixels by which a training image is shifted at most, in each direction."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Args:
        epochs: Passes over the training split.
        lr: Learning rate of the first epoch; it falls to zero along a half cosine.
        batch_size: Images in one step.
        weight_decay: Of every parameter.
        augment: Whether training images are shifted and mirrored.
    """

    epochs: int
    lr: float
    batch_size: int
    weight_decay: float
    augment: bool


def shifted(x: Tensor, top: Tensor, left: Tensor, mirror: Tensor, fill: float) -> Tensor:
    """Cut a window of the same size out of each image's padded self, then mirror some; one gather for the whole batch.

    Args:
        x: (B, C, H, W) images.
        top: (B,) int64 first row of the window, 0 ... 2 * MARGIN; MARGIN leaves the image where it is.
        left: (B,) int64 first column, likewise.
        mirror: (B,) bool, which windows to mirror left to right.
        fill: Value of the padding, in the unit of the images.
    """
    batch, channels, height, width = x.shape
    padded = nn.functional.pad(x, (MARGIN, MARGIN, MARGIN, MARGIN), value=fill)
    along = torch.arange(width, device=x.device)
    rows = top[:, None] + torch.arange(height, device=x.device)
    columns = left[:, None] + torch.where(mirror[:, None], along.flip(0), along)
    image = torch.arange(batch, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def augmented(x: Tensor, fill: float, generator: torch.Generator) -> Tensor:
    """A random crop after padding by `MARGIN`, mirrored with probability 1/2, of each image of a batch (B, C, H, W)."""
    offsets = torch.randint(2 * MARGIN + 1, (2, len(x)), generator=generator).to(x.device)
    mirror = torch.randint(2, (len(x),), generator=generator).bool().to(x.device)
    return shifted(x, offsets[0], offsets[1], mirror, fill)


def train(module: nn.Module, x: Tensor, y: Tensor, *, recipe: Recipe, fill: float, ctx: Context) -> None:
    """Minimise the cross entropy by SGD with momentum 0.9; reports the mean loss of each epoch.

    Args:
        module: The network, on the device of the images; left in training mode.
        x: (N, C, H, W) training images.
        y: (N,) int64 labels.
        recipe: How long, how fast, in which batches.
        fill: What is padded around a shifted image, in the unit of the images.
        ctx: Gives the streams `batches`, `augmentation` and `dropping`.

    Raises:
        NotFinite: The loss diverges.
    """
    optimiser = torch.optim.SGD(module.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=recipe.epochs)
    shuffle, moves = ctx.generator("batches"), ctx.generator("augmentation")
    with _dropping(module.train(), ctx.generator("dropping")):
        for epoch in range(1, recipe.epochs + 1):
            total = torch.zeros((), device=x.device)
            for rows in torch.randperm(len(x), generator=shuffle).to(x.device).split(recipe.batch_size):
                images = augmented(x[rows], fill, moves) if recipe.augment else x[rows]
                optimiser.zero_grad(set_to_none=True)
                loss = nn.functional.cross_entropy(module(images), y[rows])
                loss.backward()
                optimiser.step()
                total += loss.detach() * len(rows)
            cosine.step()
            mean = float(total) / len(x)
            if not math.isfinite(mean):
                raise NotFinite(f"the loss is {mean} in epoch {epoch}; write a smaller lr: than {recipe.lr:g}")
            ctx.report(f"epoch {epoch}/{recipe.epochs}, loss {mean:.4g}")


@contextmanager
def _dropping(module: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Let every `Drop` inside draw from `generator`; taken away again, because a generator cannot be copied with a network."""
    drops = [part for part in module.modules() if isinstance(part, Drop)]
    for part in drops:
        part.generator = generator
    try:
        yield
    finally:
        for part in drops:
            part.generator = None
