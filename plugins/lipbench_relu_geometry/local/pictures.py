# SPDX-License-Identifier: Apache-2.0
"""Local maps as pictures: weights at one image, the centres that stand for them, and what a matrix makes of them."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Metric, NotApplicable, Value

from .clusters import kmeans
from .mapping import predicted
from .rows import applied
from .task import Local


class MapPictures(Metric):
    """The weights w of each output at one test image, as images, beside those of the nearest of k centres.

    Args:
        image: Which test image; the source shows number 4.
        k: Centres for each output.
    """

    def __init__(self, *, image: Annotated[int, Field(ge=0)] = 4, k: Annotated[int, Field(ge=1)] = 10) -> None:
        self.image, self.k = image, k

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """The mean cosine of w and the w of its centre, over outputs.

        Raises:
            NotApplicable: The data are no grey images.
        """
        maps, row = evidence.own("map_pictures"), min(self.image, len(evidence.test) - 1)
        extras = _image(evidence, row, "map_pictures")
        own = maps.test[:, row].numpy()
        found = []
        for j, (rows, at) in enumerate(zip(maps.train.numpy(), own, strict=True)):
            _, centres, _ = kmeans(rows, self.k, evidence.rng(f"pictures of output {j}"))
            found.append(centres[((centres - at) ** 2).sum(axis=1).argmin()])
        w, c = own[:, :-1], np.array(found)[:, :-1]
        extras |= {"maps": [_short(v) for v in w], "centres": [_short(v) for v in c]}
        return Value(value=_alike(w, c), direction="none", unit="cosine", extras=extras)


class MappedPictures(Metric):
    """The target's weights w of each output at one test image, as images, beside those that a matrix makes of the source's.

    Args:
        image: Which test image; the source shows number 4.
    """

    def __init__(self, *, image: Annotated[int, Field(ge=0)] = 4) -> None:
        self.image = image

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """The mean cosine of predicted and true w at the image, over outputs.

        Raises:
            NotApplicable: The data are no grey images.
        """
        source, target = evidence.pair("mapped_pictures")
        row = min(self.image, len(evidence.test) - 1)
        extras = _image(evidence, row, "mapped_pictures")
        guess, _ = predicted(evidence, source, target, "fit", "biased")
        w, own, found = (rows[:, row, :-1].numpy() for rows in (target.test, source.test, guess))
        extras |= {"target": [_short(v) for v in w], "source": [_short(v) for v in own], "mapped": [_short(v) for v in found]}
        return Value(value=_alike(w, found), direction="none", unit="cosine", extras=extras)


class MappedSurface(Metric):
    """A planar target beside what a matrix makes of the source's local maps: surfaces, and how far it tears.

    The value is the median jump between neighbouring points of the test grid whose predicted maps differ, as a share of the
    deviation of the target's outputs: both maps at the middle between the points, the difference of the first outputs. A
    continuous function has jumps that vanish with the grid; those of the target itself are in the extras.
    """

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """The median jump; 0 where no two maps differ.

        Raises:
            NotApplicable: The test points are no square grid of the plane.
        """
        source, target = evidence.pair("mapped_surface")
        side = round(len(evidence.test) ** 0.5)
        if tuple(evidence.spec.shape) != (2,) or side**2 != len(evidence.test):
            raise NotApplicable("mapped_surface reads points on a square grid of the plane, such as exclusive_or_square")
        guess, _ = predicted(evidence, source, target, "fit", "biased")
        spread = float(target.test_outputs[:, 0].std()) or 1.0
        surfaces = {
            name: applied(rows, evidence.test)[:, 0].reshape(side, side)[:: max(1, side // 50), :: max(1, side // 50)]
            for name, rows in (("source", source.test), ("target", target.test), ("mapped", guess))
        }
        extras = {
            "low": evidence.spec.low,
            "high": evidence.spec.high,
            "own_jump": jump(target.test[0], evidence.test, side) / spread,
            **{name: [_short(row) for row in surface.numpy()] for name, surface in surfaces.items()},
        }
        return Value(value=jump(guess[0], evidence.test, side) / spread, direction="none", unit="deviations", extras=extras)


def jump(rows: Tensor, z: Tensor, side: int) -> float:
    """The median difference of two neighbours' maps at the middle between them, over neighbours with different maps.

    Args:
        rows: (side^2, 3) maps [w; b].
        z: (side^2, 2) points of the grid.
        side: Of the grid.
    """
    r, p = rows.reshape(side, side, -1), z.reshape(side, side, -1)
    found = []
    for (a, b), (x, y) in (((r[1:], r[:-1]), (p[1:], p[:-1])), ((r[:, 1:], r[:, :-1]), (p[:, 1:], p[:, :-1]))):
        step = a - b
        there = step.abs().amax(2) > 1e-9 * rows.abs().max()
        found.append(((step[:, :, :-1] * (x + y) / 2).sum(2) + step[:, :, -1]).abs()[there])
    both = torch.cat(found)
    return float(both.median()) if len(both) else 0.0


def _image(evidence: Local, row: int, who: str) -> dict[str, Any]:
    shape = tuple(evidence.spec.shape)
    if len(shape) != 3 or shape[0] != 1:
        raise NotApplicable(f"{who} shows grey images (1, height, width), the data has shape {shape}")
    return {
        "shape": list(shape[1:]),
        "class": int(evidence.test_labels[row]),
        "image": _short(evidence.test[row].numpy()),
    }


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    """Mean cosine of rows."""
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / np.maximum(size, 1e-300)).mean())


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{v:.3g}") for v in values]
