# SPDX-License-Identifier: Apache-2.0
"""An attack that knows the detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import Tensor

from lipbench.api import InvalidInput

from .base import Victim, checked
from .budget import Eps, EpsSpace
from .gradient import Loss, SignAttack, cross_entropy, margin


class AdaptivePGD(SignAttack):
    """Projected gradient descent on network and detector together: ascends loss - weight * detector score.

    Costs `steps` forwards and backwards a row: head and detector read the same embedding. The white-box attack on a detector
    of Carlini and Wagner, Adversarial examples are not easily detected, AISec 2017, with a fixed weight of the two aims.

    Args:
        eps: Largest change of one input value, in [0,1] units.
        steps: Number of steps.
        step: Size of a step as a share of `eps`.
        weight: Of the detector's score against the loss; 0 is plain projected gradient descent.
        random_start: Start anywhere within the budget instead of at the clean input.
        eps_space: `pixel` as stated; `normalised` in units of what the network sees after it has rescaled its input.
        clip: Keep the attacked inputs in the range of the data.
        loss: What grows besides: `ce` the cross entropy, `margin` the largest other logit less the true one; see `fgsm`.
    """

    adaptive = True

    def __init__(
        self,
        *,
        eps: Eps = 0.1,
        steps: Annotated[int, Field(ge=1)] = 40,
        step: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1,
        weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0,
        random_start: bool = True,
        eps_space: EpsSpace = "pixel",
        clip: bool = True,
        loss: Loss = "ce",
    ) -> None:
        super().__init__(eps=eps, eps_space=eps_space, clip=clip, loss=loss, steps=steps, step=step, random_start=random_start)
        self.weight = weight

    def objective(self, victim: Victim, y: Tensor) -> Callable[[Tensor], Tensor]:
        """What grows, (B, *shape) -> (B,), from one pass through the embedding.

        Raises:
            InvalidInput: The victim has no detector.
        """
        loss = cross_entropy if self.loss == "ce" else margin
        detector = victim.detector
        if detector is None:
            raise InvalidInput("adaptive_pgd avoids a detector, and this victim has none; write use: pgd")

        def both(x: Tensor) -> Tensor:
            embedding = victim.embed(x)
            logits = checked(victim.head(embedding), y, type(self).__name__)
            return loss(logits, y) - self.weight * detector(embedding)

        return both
