# SPDX-License-Identifier: Apache-2.0
"""Attacks that step along the sign of a gradient, within a budget in the largest change of one input value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context

from .base import NetworkAttack, Victim, box, checked, load_foolbox
from .budget import Eps, EpsSpace, raw_budget

Loss = Literal["ce", "margin"]


class SignAttack(NetworkAttack):
    """Ascends a loss by steps along the sign of its gradient.

    Args:
        eps: Largest change of one input value, in [0,1] units.
        eps_space: Whether `eps` counts in pixels or in what the network sees.
        clip: Keep the attacked inputs in the range of the data.
        loss: What grows, `ce` or `margin`.
        steps: Number of steps.
        step: Size of a step as a share of the budget.
        random_start: Start anywhere within the budget instead of at the clean input.
        momentum: Decay of accumulated gradients; None for none.
    """

    def __init__(
        self,
        *,
        eps: float,
        eps_space: EpsSpace,
        clip: bool,
        loss: Loss,
        steps: int = 1,
        step: float = 1.0,
        random_start: bool = False,
        momentum: float | None = None,
    ) -> None:
        super().__init__(clip=clip)
        self.budget, self.eps_space, self.loss = eps, eps_space, loss
        self.steps, self.step, self.random_start, self.momentum = steps, step, random_start, momentum

    @property
    def eps(self) -> float | None:
        """The budget in [0,1] units; None where `eps_space` is `normalised`, as it may then differ between channels."""
        return self.budget if self.eps_space == "pixel" else None

    def draw(self, x: Tensor, ctx: Context) -> Tensor | None:
        """Uniform numbers in [-1, 1], in multiples of the budget, where there is a random start."""
        if not self.random_start:
            return None
        return 2 * torch.rand(x.shape, generator=ctx.generator("random start"), dtype=x.dtype) - 1

    def attack(self, victim: Victim, x: Tensor, y: Tensor, noise: Tensor | None) -> Tensor:
        """Ascend from `x + noise * budget`."""
        load_foolbox()
        from .ascent import ascend

        budget = raw_budget(self.budget, self.eps_space, victim, x)
        return ascend(
            self.objective(victim, y),
            x,
            y,
            budget=budget,
            bounds=box(victim.spec, x) if self.clip else (-math.inf, math.inf),
            steps=self.steps,
            step=self.step,
            start=None if noise is None else noise * budget,
            momentum=self.momentum,
        )

    def objective(self, victim: Victim, y: Tensor) -> Callable[[Tensor], Tensor]:
        """What grows, (B, *shape) -> (B,)."""
        loss = cross_entropy if self.loss == "ce" else margin
        return lambda x: loss(checked(victim.logits(x), y, type(self).__name__), y)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """(B,) negative logarithm of the probability of the true class."""
    return nn.functional.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """(B,) largest other logit less that of the true class: positive where the network is wrong."""
    others = logits.scatter(1, y[:, None], -math.inf)
    return others.max(1).values - logits.gather(1, y[:, None])[:, 0]


class FGSM(SignAttack):
    """Fast gradient sign method: one step of the whole budget, x + eps * sign(gradient of the loss).

    Costs one forward and one backward a row. Goodfellow, Shlens and Szegedy, Explaining and harnessing adversarial examples,
    ICLR 2015, section 4.

    Args:
        eps: Largest change of one input value, in [0,1] units.
        eps_space: `pixel` as stated; `normalised` in units of what the network sees after it has rescaled its input.
        clip: Keep the attacked inputs in the range of the data.
        loss: What the step increases. `ce`, the cross entropy, has no gradient where the network is so sure that the softmax
            rounds to 0 and 1, and such inputs stay as they are (the log counts them); `margin`, the largest other logit less
            the true one, always has one.
    """

    def __init__(self, *, eps: Eps = 0.1, eps_space: EpsSpace = "pixel", clip: bool = True, loss: Loss = "ce") -> None:
        super().__init__(eps=eps, eps_space=eps_space, clip=clip, loss=loss)


class PGD(SignAttack):
    """Projected gradient descent: steps along the sign of the gradient, each projected back to the budget.

    Costs `steps` forwards and backwards a row. Madry et al., Towards deep learning models resistant to adversarial attacks,
    ICLR 2018, section 2.1.

    Args:
        eps: Largest change of one input value, in [0,1] units.
        steps: Number of steps.
        step: Size of a step as a share of `eps`.
        random_start: Start anywhere within the budget instead of at the clean input.
        eps_space: `pixel` as stated; `normalised` in units of what the network sees after it has rescaled its input.
        clip: Keep the attacked inputs in the range of the data.
        loss: What grows: `ce` the cross entropy, `margin` the largest other logit less the true one; see `fgsm`.
    """

    def __init__(
        self,
        *,
        eps: Eps = 0.1,
        steps: Annotated[int, Field(ge=1)] = 10,
        step: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.25,
        random_start: bool = True,
        eps_space: EpsSpace = "pixel",
        clip: bool = True,
        loss: Loss = "ce",
    ) -> None:
        super().__init__(eps=eps, eps_space=eps_space, clip=clip, loss=loss, steps=steps, step=step, random_start=random_start)


class Transfer(SignAttack):
    """Momentum iterative FGSM on a surrogate: the same attacked inputs are fed to every network.

    With one step of 1 it is FGSM. Costs `steps` forwards and backwards of the surrogate a row. Dong et al., Boosting
    adversarial attacks with momentum, CVPR 2018, equations 6 and 7.

    Args:
        eps: Largest change of one input value, in [0,1] units.
        steps: Number of steps.
        step: Size of a step as a share of `eps`; null for 1 / `steps`, as in the source.
        momentum: Decay of the accumulated gradient.
        eps_space: `pixel` as stated; `normalised` in units of what the surrogate sees after it has rescaled its input.
        clip: Keep the attacked inputs in the range of the data.
        loss: What grows: `ce` the cross entropy, `margin` the largest other logit less the true one; see `fgsm`.
    """

    own = False

    def __init__(
        self,
        *,
        eps: Eps = 0.1,
        steps: Annotated[int, Field(ge=1)] = 10,
        step: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
        momentum: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0,
        eps_space: EpsSpace = "pixel",
        clip: bool = True,
        loss: Loss = "ce",
    ) -> None:
        share = 1 / steps if step is None else step
        super().__init__(eps=eps, eps_space=eps_space, clip=clip, loss=loss, steps=steps, step=share, momentum=momentum)
