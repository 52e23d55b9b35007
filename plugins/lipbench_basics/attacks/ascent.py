# SPDX-License-Identifier: Apache-2.0
"""Foolbox's projected gradient ascent through the hooks that it has for users; import it after `load_foolbox`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from eagerpy.astensor import astensor
from eagerpy.tensor.tensor import Tensor as EagerTensor
from foolbox.attacks.gradient_descent_base import Optimizer, normalize_lp_norms
from foolbox.attacks.mi_fgsm import GDMOptimizer
from foolbox.attacks.projected_gradient_descent import LinfProjectedGradientDescentAttack
from foolbox.models.base import Model
from foolbox.models.pytorch import PyTorchModel
from foolbox.types import Bounds
from torch import Tensor, nn

from lipbench.api import NotFinite

Objective = Callable[[Tensor], Tensor]


class _Ascent(LinfProjectedGradientDescentAttack):
    """Foolbox's loop with a loss, a start and budgets of ours.

    Foolbox itself ascends the cross entropy alone, draws its start from torch's global generator and has one budget for all
    channels. Its epsilon is 1 here, and `budget` what 1 stands for.
    """

    def __init__(
        self, *, objective: Objective, budget: Tensor, start: Tensor | None, steps: int, step: float, momentum: float | None
    ) -> None:
        super().__init__(rel_stepsize=step, steps=steps, random_start=start is not None)
        self.objective, self.momentum = objective, momentum
        self.budget, self.start = astensor(budget), start

    def get_loss_fn(self, model: Model, labels: EagerTensor) -> Callable[[EagerTensor], EagerTensor]:
        """The sum over rows, so that the gradient of a row does not depend on the others."""
        return lambda inputs: astensor(self.objective(inputs.raw).sum())

    def get_optimizer(self, x: EagerTensor, stepsize: float) -> Optimizer:
        """With momentum, that of MI-FGSM."""
        if self.momentum is None:
            return super().get_optimizer(x, stepsize)
        return GDMOptimizer(x, stepsize, self.momentum, lambda g: g.sign() * self.budget)

    def get_random_start(self, x0: EagerTensor, epsilon: float) -> EagerTensor:
        """The given start."""
        return x0 + astensor(self.start)

    def normalize(self, gradients: EagerTensor, *, x: EagerTensor, bounds: Bounds) -> EagerTensor:
        """The direction of a step.

        With momentum the gradient over its l1 norm, as Dong et al. write it in their equation 6; foolbox accumulates signs.

        Raises:
            NotFinite: The gradient is; torch would take the sign of NaN for 0 and the attack would seem to fail.
        """
        if not bool(torch.isfinite(gradients.raw).all()):
            raise NotFinite("the network's gradient by its input is NaN or infinite, so it cannot be attacked")
        if self.momentum is None:
            return gradients.sign() * self.budget
        return normalize_lp_norms(gradients, p=1)

    def project(self, x: EagerTensor, x0: EagerTensor, epsilon: float) -> EagerTensor:
        """Back to the budget around the clean inputs."""
        return x0 + (x - x0).maximum(-self.budget).minimum(self.budget)


def ascend(
    objective: Objective,
    x: Tensor,
    y: Tensor,
    *,
    budget: Tensor,
    bounds: tuple[float, float],
    steps: int,
    step: float,
    start: Tensor | None = None,
    momentum: float | None = None,
) -> Tensor:
    """Steps along the sign of a gradient, each projected to the budget around x and to the bounds.

    Args:
        objective: (B, *shape) -> (B,), what is to grow.
        x: (B, *shape) clean inputs.
        y: (B,) true classes.
        budget: Largest change of one value; one number or one a channel.
        bounds: Smallest and largest input value.
        steps: Number of steps, one forward and one backward each.
        step: Size of a step as a share of the budget.
        start: (B, *shape) added to x at first; None for nothing.
        momentum: Decay of accumulated gradients; None for the gradient of each step alone.
    """
    attack = _Ascent(objective=objective, budget=budget, start=start, steps=steps, step=step, momentum=momentum)
    # Foolbox asks this model for its bounds alone; the loss is ours.
    model = PyTorchModel(nn.Identity().eval(), bounds=bounds, device=x.device)
    result: Tensor = attack.run(model, x, y, epsilon=1.0)
    return result
