# SPDX-License-Identifier: Apache-2.0
"""Photographs and their features in EfficientNet-Lite0: positions of a layer are rows, its channels are columns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from lipbench_basics.datasets.files import package_folder
from lipbench_basics.datasets.pictures import fitted, planes, read_rgb
from lipbench_basics.networks.efficientnet import EfficientNetLite0
from torch import Tensor, nn

from lipbench.api import Context, DataSpec

Photograph = Literal["china", "flower", "astronaut", "chelsea", "coffee", "rocket"]

_PLACES = {
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
}
LAYERS = 7
"""ReLU6 layers in the trunk before the fourth halving of the image: 32, 32, 96, 96, 144, 144 and 240 channels."""


def path_of(name: Photograph) -> Path:
    """Where an installed package has it.

    Raises:
        InvalidInput: The package is not installed.
    """
    package, place = _PLACES[name]
    return package_folder(package, "lipbench[vision]") / place


def photograph(name: Photograph, size: int) -> Tensor:
    """(3, size, size) float32 in 0..255, the largest centred square."""
    return torch.from_numpy(planes(fitted(read_rgb(path_of(name)), size)).copy()).float()


class Features(nn.Module):
    """Rows of chosen layers of an image.

    Args:
        layers: Numbers of ReLU6 layers, from 1 to 7, ascending.
        size: Height and width of the image in pixels.
        ctx: Of the evidence.
    """

    def __init__(self, layers: Sequence[int], size: int, ctx: Context) -> None:
        super().__init__()
        spec = DataSpec(shape=(3, size, size), low=0.0, high=255.0, unit=255.0)
        trunk = list(EfficientNetLite0().make(spec, ctx).eval().requires_grad_(False).children())
        ends = [i for i, layer in enumerate(trunk) if isinstance(layer, nn.ReLU6)]
        stops = [0, *(ends[layer - 1] + 1 for layer in layers)]
        self.parts = nn.ModuleList(nn.Sequential(*trunk[a:b]) for a, b in itertools.pairwise(stops))
        self.to(ctx.device)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(3, size, size) raw pixels to (positions, channels) float64 of each layer."""
        found, x = [], image[None]
        for part in self.parts:
            x = part(x)
            found.append(x[0].flatten(1).mT.double())
        return found
