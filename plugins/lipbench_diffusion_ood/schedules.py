# SPDX-License-Identifier: Apache-2.0
"""Forward processes of diffusion models in closed form: discrete linear DDPM, VP, sub-VP and VE."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lipbench.api import InvalidInput

from .base import Schedule

Process = Literal["ddpm", "vp", "subvp", "ve"]
SMALLEST_END = 1e-3
"""Largest signal-to-noise ratio at t = 1 with which a chain may start from pure noise."""


class Forward(ABC):
    """What the processes share: float64 inside, results of the dtype and on the device of t.

    Times run from `t_min`, the smallest one that a network is trained on, to 1.
    """

    t_min: float = 1e-5
    """Smallest time of training and of the probability-flow equation."""

    def mean(self, t: Tensor) -> Tensor:
        """Coefficient of the signal, c(t), the shape of t."""
        return torch.exp(self.log_mean(t)).to(t.dtype)

    @abstractmethod
    def log_mean(self, t: Tensor) -> Tensor:
        """Logarithm of c(t) in float64, the shape of t."""

    @abstractmethod
    def std(self, t: Tensor) -> Tensor:
        """Standard deviation of the noise, the shape of t."""

    @abstractmethod
    def drift(self, t: Tensor) -> Tensor:
        """f(t) of dx = f(t) x dt + g(t) dw, the shape of t."""

    @abstractmethod
    def diffusion(self, t: Tensor) -> Tensor:
        """g(t), the shape of t."""

    def _reaches_noise(self, who: str, instead: str) -> None:
        end = torch.ones((), dtype=torch.float64)
        c, std = float(self.mean(end)), float(self.std(end))
        if not c**2 <= SMALLEST_END * std**2:
            raise InvalidInput(
                f"{who} ends with signal {c:.3g} beside noise {std:.3g}, so that pure noise is no start of its chain "
                f"(c^2 / std^2 must be at most {SMALLEST_END:g}); write {instead}"
            )


class DiscreteLinear(Forward):
    """The chain of T steps whose noise variances beta_k grow linearly; t = k / T is step k.

    abar_k = prod_{j <= k} (1 - beta_j), c = sqrt(abar), std = sqrt(1 - abar). Between the steps log abar is interpolated
    linearly, which makes drift and diffusion constant within a step.

    Args:
        T: Number of steps.
        beta_start: Variance of the first step.
        beta_end: Variance of the last step.

    Raises:
        InvalidInput: The variances are not in (0, 1), or the chain ends too far from noise.

    Source: J. Ho, A. Jain, P. Abbeel, Denoising Diffusion Probabilistic Models, NeurIPS 2020, section 4.
    """

    def __init__(self, T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> None:
        if T < 2 or not 0 < beta_start <= beta_end < 1:
            raise InvalidInput(
                f"a linear schedule needs T >= 2 and 0 < beta_start <= beta_end < 1, but got T={T}, "
                f"beta_start={beta_start:g}, beta_end={beta_end:g}; write T=1000, beta_start=1e-4, beta_end=0.02"
            )
        self.T = T
        self.t_min = 1 / T
        self.betas = torch.linspace(beta_start, beta_end, T, dtype=torch.float64)
        self._steps = torch.log1p(-self.betas)
        self._log_abar = torch.cat([torch.zeros(1, dtype=torch.float64), self._steps.cumsum(0)])
        scale = 1000 / T
        self._reaches_noise(
            f"the linear schedule with T={T}, beta_end={beta_end:g} (abar_T = {float(self.abar(T)):.3g})",
            f"larger betas such as beta_start={1e-4 * scale:g}, beta_end={min(0.02 * scale, 0.99):g}, or more steps",
        )

    def abar(self, k: int | Tensor) -> Tensor:
        """abar_k in float64 for steps k = 0..T, a number or integers of any shape; abar_0 = 1."""
        steps = torch.as_tensor(k)
        return torch.exp(self._log_abar.to(steps.device)[steps])

    def log_mean(self, t: Tensor) -> Tensor:
        """Half of log abar."""
        return 0.5 * self._interpolated(t)

    def std(self, t: Tensor) -> Tensor:
        """sqrt(1 - abar)."""
        return torch.sqrt(-torch.expm1(self._interpolated(t))).to(t.dtype)

    def drift(self, t: Tensor) -> Tensor:
        """T log(1 - beta_k) / 2 within step k."""
        return (0.5 * self._slope(t)).to(t.dtype)

    def diffusion(self, t: Tensor) -> Tensor:
        """sqrt(-2 f), as for every process that preserves variance."""
        return torch.sqrt(-self._slope(t)).to(t.dtype)

    def _slope(self, t: Tensor) -> Tensor:
        k = self._position(t).ceil().long().clamp(1, self.T)
        return self.T * self._steps.to(t.device)[k - 1]

    def _position(self, t: Tensor) -> Tensor:
        # k / T in the precision of t is not quite a grid point; it is one to within that precision.
        position = (t.double() * self.T).clamp(0, self.T)
        nearest = position.round()
        close = (position - nearest).abs() <= torch.finfo(t.dtype).eps * self.T
        return torch.where(close, nearest, position)

    def _interpolated(self, t: Tensor) -> Tensor:
        position = self._position(t)
        below = position.floor().long().clamp(max=self.T - 1)
        table = self._log_abar.to(t.device)
        return torch.lerp(table[below], table[below + 1], position - below)


class VP(Forward):
    """The variance-preserving process, b(t) = b0 + t (b1 - b0): the limit of the linear chain of many steps.

    Args:
        b0: b(0).
        b1: b(1).

    Raises:
        InvalidInput: The rates are not positive, or the process ends too far from noise.

    Source: Y. Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, ICLR 2021, eq. 32-33.
    """

    def __init__(self, b0: float = 0.1, b1: float = 20.0) -> None:
        if not 0 < b0 <= b1 < math.inf:
            raise InvalidInput(f"the process needs 0 < b0 <= b1, but got b0={b0:g}, b1={b1:g}; write b0=0.1, b1=20")
        self.b0, self.b1 = b0, b1
        self._reaches_noise(f"the process with b0={b0:g}, b1={b1:g}", "a larger b1 such as b1=20")

    def log_mean(self, t: Tensor) -> Tensor:
        """-t^2 (b1 - b0) / 4 - t b0 / 2."""
        wide = t.double()
        return -0.25 * wide.square() * (self.b1 - self.b0) - 0.5 * wide * self.b0

    def std(self, t: Tensor) -> Tensor:
        """sqrt(1 - c^2), without cancellation at small t."""
        return torch.sqrt(-torch.expm1(2 * self.log_mean(t))).to(t.dtype)

    def drift(self, t: Tensor) -> Tensor:
        """-b(t) / 2."""
        return (-0.5 * self._rate(t.double())).to(t.dtype)

    def diffusion(self, t: Tensor) -> Tensor:
        """sqrt(b(t))."""
        return torch.sqrt(self._rate(t.double())).to(t.dtype)

    def _rate(self, t: Tensor) -> Tensor:
        return self.b0 + t * (self.b1 - self.b0)


class SubVP(VP):
    """The sub-VP process: the signal of VP with less noise, std = 1 - c^2.

    Args:
        b0: b(0).
        b1: b(1).

    Source: Y. Song et al., 2021, eq. 13 and appendix B.
    """

    def std(self, t: Tensor) -> Tensor:
        """1 - c^2, without cancellation at small t."""
        return (-torch.expm1(2 * self.log_mean(t))).to(t.dtype)

    def diffusion(self, t: Tensor) -> Tensor:
        """sqrt(b(t) (1 - c^4))."""
        wide = t.double()
        return torch.sqrt(self._rate(wide) * -torch.expm1(4 * self.log_mean(t))).to(t.dtype)


class VE(Forward):
    """The variance-exploding process: the signal stays, std = sigma_min (sigma_max / sigma_min)^t.

    Args:
        sigma_min: Noise at t = 0.
        sigma_max: Noise at t = 1.

    Raises:
        InvalidInput: The noise does not grow, or ends too small to hide the signal.

    Source: Y. Song et al., 2021, appendix C.
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        if not 0 < sigma_min < sigma_max < math.inf:
            raise InvalidInput(
                f"the process needs 0 < sigma_min < sigma_max, but got sigma_min={sigma_min:g}, sigma_max={sigma_max:g}; "
                "write sigma_min=0.01, sigma_max=50"
            )
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self._growth = math.log(sigma_max / sigma_min)
        self._reaches_noise(f"the process with sigma_max={sigma_max:g}", "a larger sigma_max such as sigma_max=50")

    def log_mean(self, t: Tensor) -> Tensor:
        """Zero."""
        return torch.zeros_like(t, dtype=torch.float64)

    def std(self, t: Tensor) -> Tensor:
        """sigma(t)."""
        return (self.sigma_min * torch.exp(self._growth * t.double())).to(t.dtype)

    def drift(self, t: Tensor) -> Tensor:
        """Zero."""
        return torch.zeros_like(t)

    def diffusion(self, t: Tensor) -> Tensor:
        """sigma(t) sqrt(2 log(sigma_max / sigma_min))."""
        return (self.std(t.double()) * math.sqrt(2 * self._growth)).to(t.dtype)


_CLASSES: dict[str, type[Forward]] = {"ddpm": DiscreteLinear, "vp": VP, "subvp": SubVP, "ve": VE}


def make_schedule(name: str, **settings: Any) -> Forward:
    """The process of this name: `ddpm`, `vp`, `subvp` or `ve`.

    Args:
        name: One of `Process`.
        settings: Arguments of its class; none for the published constants.

    Raises:
        InvalidInput: No process has this name, or it does not end in noise.
    """
    if name not in _CLASSES:
        raise InvalidInput(f"no diffusion process is called {name!r}; write one of {', '.join(get_args(Process))}")
    return _CLASSES[name](**settings)


def first_time(schedule: Schedule) -> float:
    """The smallest time at which a model of this process is asked: its `t_min`, 1e-5 where it names none."""
    return float(getattr(schedule, "t_min", Forward.t_min))


def times_at(schedule: Schedule, log_ratio: Tensor) -> Tensor:
    """The times at which log(std / c) has these values, float64 in (0, 1]; by bisection to the last bit.

    Values beyond those of `first_time` and 1 give these ends.
    """
    target = log_ratio.double()
    low = torch.full_like(target, first_time(schedule))
    high = torch.ones_like(target)
    for _ in range(60):  # halves an interval of length 1 to below the spacing of float64
        middle = 0.5 * (low + high)
        below = torch.log(schedule.std(middle) / schedule.mean(middle)) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)
