# SPDX-License-Identifier: Apache-2.0
"""Detectors of pytorch-ood that look at the outputs of a classifier alone."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from lipbench.api import Method, NotApplicable


class PytorchOod(Method):
    """A detector of pytorch-ood (Kirchheim et al., 2022): it scores rows by the logits of a classifier, higher is stranger.

    Args:
        detector: Class in `pytorch_ood.detector`.
    """

    def __init__(self, *, detector: Literal["EnergyBased", "Entropy", "MaxLogit", "MaxSoftmax"] = "EnergyBased") -> None:
        self.detector = detector

    def scores(self, network: torch.nn.Module, rows: torch.Tensor, batch: int) -> np.ndarray:
        """(N, *shape) float32 -> (N,) float32.

        Raises:
            NotApplicable: pytorch-ood is not installed, or cannot be imported.
        """
        try:
            # Here and not above: without it, `lipbench list` and the other components still work.
            from pytorch_ood import detector
        except ImportError as error:
            raise NotApplicable(f"pytorch-ood cannot be imported ({error}); pip install pytorch-ood torchvision") from error
        made: Any = getattr(detector, self.detector)(network)
        with torch.inference_mode():
            found = [made.predict(part) for part in rows.split(batch)]
        return torch.cat(found).numpy().astype(np.float32) if found else np.empty(0, dtype=np.float32)
