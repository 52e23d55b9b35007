# SPDX-License-Identifier: Apache-2.0
"""Foolbox's attack of Carlini and Wagner, with a record of the rows that it found; import it after `load_foolbox`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from eagerpy.astensor import astensor
from foolbox.attacks.carlini_wagner import L2CarliniWagnerAttack
from foolbox.criteria import Misclassification
from foolbox.models.pytorch import PyTorchModel
from torch import Tensor, nn


class _Found(Misclassification):
    """Misclassification that remembers which rows it ever saw misclassified: foolbox gives zeros for the others."""

    def __init__(self, labels: Tensor) -> None:
        super().__init__(labels)
        self.found = torch.zeros_like(labels, dtype=torch.bool)

    def __call__(self, perturbed: Any, outputs: Any) -> Any:
        result = super().__call__(perturbed, outputs)
        self.found |= astensor(result).raw
        return result


class _Function(nn.Module):
    """A function as a module, which is what foolbox takes."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Call it."""
        return self.function(x)


def nearest(
    logits: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    *,
    bounds: tuple[float, float],
    confidence: float,
    initial_const: float,
    binary_search_steps: int,
    steps: int,
    lr: float,
) -> tuple[Tensor, Tensor]:
    """The nearest misclassified inputs that were met, and (B,) whether there was one; rows without are not to be used."""
    attack = L2CarliniWagnerAttack(
        binary_search_steps=binary_search_steps,
        steps=steps,
        stepsize=lr,
        confidence=confidence,
        initial_const=initial_const,
        # It looks at the loss of all rows together, so that the result of a row would depend on the others.
        abort_early=False,
    )
    model = PyTorchModel(_Function(logits).eval(), bounds=bounds, device=x.device)
    criterion = _Found(y)
    result: Tensor = attack.run(model, x, criterion)
    return result, criterion.found
