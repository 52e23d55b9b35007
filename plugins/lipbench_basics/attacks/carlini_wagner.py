# SPDX-License-Identifier: Apache-2.0
"""The attack of Carlini and Wagner for the smallest Euclidean change."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import InvalidInput

from .base import NetworkAttack, Victim, box, checked, load_foolbox


class CarliniWagnerL2(NetworkAttack):
    """Minimises |change|^2 + const * max(0, true logit - largest other logit + confidence) by Adam, within the data's range.

    The change counts in [0,1] units. A row for which no misclassified input is found stays as it was; the log counts them.
    Costs `binary_search_steps * steps` forwards and backwards a row. Carlini and Wagner, Towards evaluating the robustness of
    neural networks, IEEE S&P 2017, section VI-A; Adam moves the inverse hyperbolic tangent of the input.

    Args:
        confidence: By how much the wrong logit must exceed the true one.
        initial_const: Weight of the logits against the change, at first.
        binary_search_steps: How often the weight is adapted for each row: times 10 until a misclassified input is found, then
            halving the interval. 1 keeps it; the source uses 9 (with 1000 or more steps), for the smallest change.
        steps: Steps of Adam for each weight.
        lr: Learning rate of Adam.
    """

    def __init__(
        self,
        *,
        confidence: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
        initial_const: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
        binary_search_steps: Annotated[int, Field(ge=1)] = 1,
        steps: Annotated[int, Field(ge=1)] = 50,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01,
    ) -> None:
        super().__init__(clip=True)
        self.confidence, self.initial_const, self.binary_search_steps = confidence, initial_const, binary_search_steps
        self.steps, self.lr = steps, lr

    def attack(self, victim: Victim, x: Tensor, y: Tensor, noise: Tensor | None) -> Tensor:
        """Attack in [0,1] units, so that weight and learning rate mean the same whatever the raw unit."""
        spec = victim.spec
        if not spec.low < spec.high:
            raise InvalidInput(f"cw_l2 needs data with a range, [{spec.low:g}, {spec.high:g}] is empty; write low: and high:")
        load_foolbox()
        from .minimiser import nearest

        low, high = (torch.tensor(box(spec, x), dtype=x.dtype) / spec.unit).tolist()
        result, found = nearest(
            lambda u: checked(victim.logits(u * spec.unit), y, type(self).__name__),
            x / spec.unit,
            y,
            bounds=(low, high),
            confidence=self.confidence,
            initial_const=self.initial_const,
            binary_search_steps=self.binary_search_steps,
            steps=self.steps,
            lr=self.lr,
        )
        return torch.where(found.view(-1, *[1] * (x.ndim - 1)), result * spec.unit, x)
