# SPDX-License-Identifier: Apache-2.0
"""Features of a network that the user brings, trained elsewhere and exported to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lipbench_basics.networks.exported import Program, find_weights
from lipbench_basics.networks.pt2 import load_program
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput

from ..base import Backbone


class PretrainedFeatures(Backbone):
    """A network from a `.pt2` file of `torch.export`, read as data and never as code.

    It takes a dynamic batch of RGB images (B, 3, S, S) in [0, 1], any normalisation inside it, and gives (B, d) features. Grey
    images are repeated to three channels; images of another side are resized by bicubic splines. What it was trained on, such
    as ImageNet, it knows beside the in-domain images: a detector that reads it is unsupervised only up to these features.

    Args:
        path: The file, absolute, from the working directory, or from the data folder.

    Source: the baseline of Z. Xiao et al., Do we really need to learn representations from in-domain data for outlier
    detection?, 2021.
    """

    fitted = False

    def __init__(self, *, path: str) -> None:
        self.path = path

    def files(self) -> Sequence[Path]:
        """The file."""
        return [find_weights(self.path)]

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Read the file.

        Raises:
            InvalidInput: It is damaged, its batch is fixed, or it takes no square RGB images; or the data are no images.
        """
        file = find_weights(self.path)
        program = Program(load_program(file), str(file))
        shape = program.shape[1:]
        if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2] or not isinstance(shape[1], int):
            raise InvalidInput(f"{file} takes inputs of shape {shape}; export a network of square RGB images, (B, 3, S, S)")
        self.side = shape[1]
        program.check(DataSpec(shape=(3, self.side, self.side), low=0.0, high=1.0))
        if len(spec.shape) != 3 or spec.shape[0] not in (1, 3):
            raise InvalidInput(f"pretrained_features needs grey or RGB images, the data has shape {spec.shape}")
        self.module = program.eval()

    def embedding(self, x: Tensor) -> Tensor:
        """(B, d) features of images (B, 1 or 3, L, L) in [0, 1], on their device.

        Raises:
            InvalidInput: The network gives something else.
        """
        colours = x.float().expand(-1, 3, -1, -1) if x.shape[1] == 1 else x.float()
        if x.shape[-1] != self.side:
            size = (self.side, self.side)
            # Cubic splines overshoot.
            colours = nn.functional.interpolate(colours, size=size, mode="bicubic", align_corners=False).clamp(0, 1)
        found: Tensor = self.module.to(x.device)(colours)
        if found.ndim != 2 or len(found) != len(x):
            raise InvalidInput(f"{self.path} gives {tuple(found.shape)} for {len(x)} images; export one that gives (B, d)")
        return found
