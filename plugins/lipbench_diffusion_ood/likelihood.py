# SPDX-License-Identifier: Apache-2.0
"""Log-likelihood of images under a diffusion model, by its probability-flow equation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from lipbench.api import Context, InvalidInput, NotFinite

from .base import Denoiser, image_generator
from .schedules import first_time, times_at

BATCH_VALUES = 1 << 19
"""Pixels times probes that go through the network at once."""
MOST_EXACT = 64
"""Largest number of pixels and channels whose trace may be computed exactly."""
TOLERANCE = 1e-5
"""Relative and absolute tolerance of the adaptive solver."""


def log_likelihood(
    denoiser: Denoiser,
    x: Tensor,
    *,
    intervals: int = 50,
    probes: int = 1,
    exact_trace: bool = False,
    method: Literal["heun", "rk45"] = "heun",
    ctx: Context,
) -> tuple[Tensor, float]:
    """Log density of images scaled to [-1, 1], and what it cost.

    Along dx/dt = f x + g^2 / (2 std) eps(x, t) the log density falls by the divergence of the right-hand side, so
    log p(x_0) = log p_1(x_1) + integral of the divergence. `heun` follows r = std / c instead of t, in which the equation is
    d(x / c)/dr = eps, over levels evenly spaced in log r, and integrates the divergence over log r; `rk45` is the adaptive
    reference, an image at a time. Nothing is clipped. The prior at t = 1 is Gaussian with standard deviation max(1, std(1)).

    The divergence is exact (D backward passes), or Hutchinson's estimate v . J v with Rademacher probes v that stay the same
    along the path and hang on the image and the seed alone.

    Args:
        denoiser: The model.
        x: (n, C, L, L) images in [0, 1].
        intervals: Steps of `heun`, two evaluations each; the error falls with their square.
        probes: Random probes for each image.
        exact_trace: Take the exact divergence; at most 64 pixels and channels.
        method: The solver.
        ctx: Seed and device.

    Returns:
        (n,) float64 nats, on the CPU, and the passes for one image: a forward counts one, and so does each backward (the mean
        over images for `rk45`).

    Raises:
        InvalidInput: `exact_trace` of too large images, no intervals, or no probes.
        NotFinite: The model gives NaN or infinite values.

    Source: Y. Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, ICLR 2021, eq. 39-40; T.
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, NeurIPS 2022, for Heun's rule.
    """
    size = x[0].numel() if len(x) else 1
    if exact_trace and size > MOST_EXACT:
        raise InvalidInput(
            f"the exact trace is for {MOST_EXACT} pixels at most, the images have {size}; write exact_trace: false"
        )
    if intervals < 1 or probes < 1:
        raise InvalidInput(f"the likelihood needs intervals and probes of at least 1, but got {intervals} and {probes}")
    directions = size if exact_trace else probes
    batch = ctx.batch(max(1, BATCH_VALUES // (size * directions))) if method == "heun" else 1
    nats, steps = torch.zeros(len(x), dtype=torch.float64), 0
    for first in range(0, len(x), batch):
        part = x[first : first + batch]
        flow = _Flow(denoiser, _probes(part, None if exact_trace else probes, ctx).to(ctx.device), exact_trace)
        start = (2 * part.double() - 1).to(ctx.device)
        end, change = _heun(flow, start, intervals) if method == "heun" else _rk45(flow, start)
        nats[first : first + batch] = (_prior(flow, end) + change).cpu()
        steps += flow.evaluations * len(part)
    if not bool(nats.isfinite().all()):
        row = int(nats.isfinite().logical_not().nonzero()[0])
        raise NotFinite(
            f"the log-likelihood of image {row} is {float(nats[row])}; train the model longer, or write method: rk45"
        )
    return nats, steps / max(1, len(x)) * (1 + directions)


def bits_per_dim(nats: Tensor, dimension: int) -> Tensor:
    """Bits for each pixel and channel of 8-bit images, from log densities of the images scaled to [-1, 1].

    The 256 grey levels share a range of length 2, so one level has the width 2^-7: the probability of a level is the density
    times 2^-7, and the uniform density costs 8 bits.

    Args:
        nats: (n,) log densities.
        dimension: Pixels times channels.
    """
    return -nats / (dimension * math.log(2)) + 7


@dataclass(frozen=True, kw_only=True)
class _Level:
    """The forward process at time t: signal c, noise std, drift f and diffusion g."""

    t: float
    c: float
    std: float
    f: float
    g: float

    @property
    def log_ratio(self) -> float:
        return math.log(self.std / self.c)


class _Flow:
    """The probability-flow equation of a batch, with its divergence."""

    def __init__(self, denoiser: Denoiser, probes: Tensor, exact: bool) -> None:
        self.denoiser, self.schedule, self.probes, self.exact = denoiser, denoiser.schedule, probes, exact
        self.evaluations = 0

    def noise(self, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """The predicted noise (B, C, L, L) and its divergence (B,), float64, by one forward and one backward for each probe."""
        self.evaluations += 1
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            eps = self.denoiser.eps(x, torch.full((len(x),), t, dtype=x.dtype, device=x.device))
            count, trace = len(self.probes), torch.zeros(len(x), dtype=torch.float64, device=x.device)
            for k, probe in enumerate(self.probes):
                (pulled,) = torch.autograd.grad(eps, x, probe, retain_graph=k + 1 < count)
                trace += (pulled * probe).flatten(1).sum(1)
        return eps.detach(), trace if self.exact else trace / count

    def at(self, t: float) -> _Level:
        """The process at one time."""
        time, s = torch.tensor(t, dtype=torch.float64), self.schedule
        return _Level(t=t, c=float(s.mean(time)), std=float(s.std(time)), f=float(s.drift(time)), g=float(s.diffusion(time)))


def _probes(x: Tensor, count: int | None, ctx: Context) -> Tensor:
    """(p, n, C, L, L) float64: Rademacher probes of each image, or the coordinate directions."""
    shape = x.shape[1:]
    if count is None:
        return torch.eye(shape.numel(), dtype=torch.float64).reshape(-1, 1, *shape).expand(-1, len(x), *shape)
    # Attempts below zero: lifts draw from those of an image that are not.
    drawn = [
        torch.stack([torch.randint(0, 2, shape, generator=image_generator(image, -1 - k, ctx)) for image in x])
        for k in range(count)
    ]
    return 2 * torch.stack(drawn).double() - 1


def _prior(flow: _Flow, x: Tensor) -> Tensor:
    """Log density at t = 1, (B,)."""
    size, std = x[0].numel(), max(1.0, flow.at(1.0).std)
    return -0.5 * x.flatten(1).square().sum(1) / std**2 - 0.5 * size * math.log(2 * math.pi * std**2)


def _levels(flow: _Flow, intervals: int) -> list[_Level]:
    """Times whose log(std / c) are evenly spaced, both ends exact."""
    ends = first_time(flow.schedule), 1.0
    low, high = (flow.at(t).log_ratio for t in ends)
    inner = times_at(flow.schedule, torch.linspace(low, high, intervals + 1, dtype=torch.float64)[1:-1])
    return [flow.at(t) for t in (ends[0], *inner.tolist(), ends[1])]


def _heun(flow: _Flow, x: Tensor, intervals: int) -> tuple[Tensor, Tensor]:
    """The state at t = 1 and the integral of the divergence, by Heun's rule in std / c and the trapezoidal rule in its log."""

    def slope(state: Tensor, at: _Level) -> tuple[Tensor, Tensor]:
        eps, trace = flow.noise(at.c * state, at.t)
        return eps, 2 * at.f * at.std**2 / at.g**2 * state[0].numel() + at.std * trace

    levels = _levels(flow, intervals)
    state, change = x / levels[0].c, torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for before, after in pairwise(levels):
        step = after.std / after.c - before.std / before.c
        k1, d1 = slope(state, before)
        k2, d2 = slope(state + step * k1, after)
        state = state + 0.5 * step * (k1 + k2)
        change = change + 0.5 * (after.log_ratio - before.log_ratio) * (d1 + d2)
    return levels[-1].c * state, change


def _rk45(flow: _Flow, x: Tensor) -> tuple[Tensor, Tensor]:
    """The same for one image, by scipy's adaptive Runge-Kutta pair of order 5(4) in t."""
    import numpy as np
    from scipy.integrate import solve_ivp

    def slope(t: float, state: np.ndarray) -> np.ndarray:
        at, image = flow.at(t), torch.from_numpy(state[:-1].copy()).reshape(x.shape).to(x.device)
        eps, trace = flow.noise(image, t)
        gain = at.g**2 / (2 * at.std)
        velocity = (at.f * image + gain * eps).flatten()
        return np.append(velocity.cpu().numpy(), at.f * image.numel() + gain * float(trace))

    start = np.append(x.flatten().cpu().numpy(), 0.0)
    path = solve_ivp(slope, (first_time(flow.schedule), 1.0), start, method="RK45", rtol=TOLERANCE, atol=TOLERANCE)
    if not path.success:
        raise NotFinite(f"the probability-flow equation could not be solved: {path.message} Train the model longer")
    end = torch.from_numpy(path.y[:, -1].copy()).to(x.device)
    return end[:-1].reshape(x.shape), end[-1:]
