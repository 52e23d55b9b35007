# SPDX-License-Identifier: Apache-2.0
"""Features of two photographs: what distances between real features are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context

from ..base import Distribution, Pair
from ..features import LAYERS, Features, Photograph, path_of, photograph
from ..moments import moments

if TYPE_CHECKING:
    import numpy as np


class Photographs(Pair):
    """Features of two photographs in a layer of EfficientNet-Lite0, at positions drawn with replacement.

    Args:
        first: Photograph of the first distribution; the content of a style transfer.
        second: Of the second one; the style.
        layer: Which ReLU6 of the trunk: 32, 32, 96, 96, 144, 144 and 240 channels.
        size: Height and width in pixels, the largest centred square resized.

    Licences: `lipbench show natural_images`.
    """

    def __init__(
        self,
        *,
        first: Photograph = "china",
        second: Photograph = "flower",
        layer: Annotated[int, Field(ge=1, le=LAYERS)] = 3,
        size: Annotated[int, Field(ge=32)] = 160,
    ) -> None:
        self.first: Photograph = first
        self.second: Photograph = second
        self.layer, self.size = layer, size

    def files(self) -> Sequence[Path]:
        """The two photographs."""
        return [path_of(self.first), path_of(self.second)]

    def pick(self, rng: np.random.Generator) -> tuple[Distribution, Distribution]:
        """Always the same two."""
        features = Features([self.layer], self.size, Context(scope="photographs"))
        with torch.inference_mode():
            rows = [features(photograph(name, self.size))[0] for name in (self.first, self.second)]
        one, other = (_positions(r.clone()) for r in rows)
        return one, other


def _positions(rows: Tensor) -> Distribution:
    """The empirical distribution of rows (N, d)."""
    mean, cov = moments(rows)

    def draw(n: int, rng: np.random.Generator) -> Tensor:
        return rows[torch.from_numpy(rng.integers(len(rows), size=n))]

    return Distribution(mean=mean, cov=cov, gaussian=False, draw=draw)
