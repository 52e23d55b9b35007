# SPDX-License-Identifier: Apache-2.0
"""Local maps as pictures: the weights of each output at one image, and the centres that stand for them."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from lipbench.api import Context, Metric, NotApplicable, Value

from .clusters import kmeans
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
        maps, shape = evidence.own("map_pictures"), tuple(evidence.spec.shape)
        if len(shape) != 3 or shape[0] != 1:
            raise NotApplicable(f"map_pictures shows grey images (1, height, width), the data has shape {shape}")
        row = min(self.image, len(evidence.test) - 1)
        own = maps.test[:, row].numpy()
        found = []
        for j, (rows, at) in enumerate(zip(maps.train.numpy(), own, strict=True)):
            _, centres, _ = kmeans(rows, self.k, evidence.rng(f"pictures of output {j}"))
            found.append(centres[((centres - at) ** 2).sum(axis=1).argmin()])
        w, c = own[:, :-1], np.array(found)[:, :-1]
        cosine = (w * c).sum(axis=1) / np.maximum(np.linalg.norm(w, axis=1) * np.linalg.norm(c, axis=1), 1e-300)
        extras = {
            "shape": list(shape[1:]),
            "class": int(evidence.test_labels[row]),
            "image": _short(evidence.test[row].numpy()),
            "maps": [_short(v) for v in w],
            "centres": [_short(v) for v in c],
        }
        return Value(value=float(cosine.mean()), direction="none", unit="cosine", extras=extras)


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{v:.3g}") for v in values]
