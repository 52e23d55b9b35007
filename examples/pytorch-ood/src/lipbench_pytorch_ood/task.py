# SPDX-License-Identifier: Apache-2.0
"""The protocol: test rows of what a network learned against rows of something else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lipbench.api import Context, Dataset, Network, Task
from lipbench_pytorch_ood.detectors import PytorchOod


@dataclass(frozen=True)
class Scores:
    """Evidence: scores of a detector, higher is stranger."""

    inside: np.ndarray
    """(N,) float32 scores of test rows of the data that the network learned."""
    outside: np.ndarray
    """(M,) float32 scores of rows of the other data."""


class OutOfDistribution(Task):
    """Does a detector tell other data from those that a classifier learned?"""

    fits = {"network": "data"}
    shared = True

    def evidence(self, network: Network, data: Dataset, other: Dataset, detector: PytorchOod, ctx: Context) -> Scores:
        """Score the test rows of both."""
        scores = [
            detector.scores(network.module, torch.from_numpy(part.split("test", ctx).inputs), ctx.batch(256))
            for part in (data, other)
        ]
        return Scores(inside=scores[0], outside=scores[1])
