# SPDX-License-Identifier: Apache-2.0
"""A control for attacks: noise of the same size that knows nothing of the network."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lipbench.api import Context

from .base import Attack, Victim, check_rows
from .budget import Eps, EpsSpace, raw_budget


class RandomSign(Attack):
    """Adds eps or -eps to every input value, by a fair coin: what is detected here is noise, not an attack.

    Costs no forward.

    Args:
        eps: Change of every input value, in [0,1] units.
        eps_space: `pixel` as stated; `normalised` in units of what the network sees after it has rescaled its input.
        clip: Keep the inputs in the range of the data.
    """

    def __init__(self, *, eps: Eps = 0.1, eps_space: EpsSpace = "pixel", clip: bool = True) -> None:
        self.budget, self.eps_space, self.clip = eps, eps_space, clip

    @property
    def eps(self) -> float | None:
        """The change in [0,1] units; None where `eps_space` is `normalised`, as it may then differ between channels."""
        return self.budget if self.eps_space == "pixel" else None

    def craft(self, victim: Victim, x: Tensor, y: Tensor, ctx: Context, ids: np.ndarray | None = None) -> Tensor:
        """Add noise to each row; labels are not looked at."""
        check_rows(type(self).__name__, victim.spec, x, y, boxed=self.clip)
        clean = x.cpu()
        signs = 2 * torch.randint(2, x.shape, generator=ctx.generator("random sign")) - 1
        noisy = clean + signs.to(x.dtype) * raw_budget(self.budget, self.eps_space, victim, clean)
        return noisy.clamp(victim.spec.low, victim.spec.high) if self.clip else noisy
