# SPDX-License-Identifier: Apache-2.0
"""The angle between the features of a network that the user brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lipbench.api import Context, DataSpec, InvalidInput

from ..base import Backbone
from ..models.pretrained import PretrainedFeatures
from .pairs import Measure, PairDistance

_TINY = 1e-12


class Cosine(PairDistance):
    """1 - cos of the angle between the features of two images, in [0, 2]; the source reads a SimCLRv2 ResNet-50.

    Args:
        trunk: A `.pt2` file as for the backbone `pretrained_features`.

    Source: T. Chen et al., Big self-supervised models are strong semi-supervised learners, NeurIPS 2020, for the features.
    """

    def __init__(self, *, trunk: str | None = None) -> None:
        self.trunk = trunk

    def files(self) -> Sequence[Path]:
        """The network.

        Raises:
            InvalidInput: None is named, or there is no such file.
        """
        return self._network().files()

    def prepare(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Measure:
        """Read the network; any backbone, or none."""
        network = self._network()
        network.build(DataSpec(shape=tuple(x.shape[1:]), low=0.0, high=1.0), ctx)

        def measure(x: Tensor, ys: Tensor) -> Tensor:
            features = network.embedding(torch.cat([x[None], ys]).flatten(0, 1)).double()
            unit = (features / features.norm(dim=1, keepdim=True).clamp(min=_TINY)).unflatten(0, (len(ys) + 1, len(x)))
            # Half the squared chord is 1 - cos without the cancellation near 0.
            return (unit[1:] - unit[0]).square().sum(-1) / 2

        return measure

    def _network(self) -> PretrainedFeatures:
        if self.trunk is None:
            raise InvalidInput("distance: cosine compares features of a network of yours; name its file by trunk: FILE.pt2")
        return PretrainedFeatures(path=self.trunk)
