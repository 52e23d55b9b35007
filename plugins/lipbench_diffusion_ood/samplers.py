# SPDX-License-Identifier: Apache-2.0
"""Reverse steps of a diffusion model on few levels: ancestral, DDIM, DPM-Solver++(2M) and its stochastic form.

Any Gaussian process x_t = c(t) x_0 + s(t) z is a variance-preserving one but for its scale: with r = sqrt(c^2 + s^2) the
state y_t = x_t / r is sqrt(A) x_0 + sqrt(1 - A) z, where A = c^2 / r^2 hangs on the signal-to-noise ratio c / s alone. All
steps are taken on y; the network is asked at x = r y. So one set of formulas serves VP, sub-VP and VE.

Each sampler is one affine step y' = keep y + pull D + fresh z, with D the predicted clean image (for the multistep ones
extrapolated from the prediction before it), and all its coefficients are known before the first evaluation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lipbench.api import InvalidInput

from .base import Denoiser, Schedule
from .schedules import first_time, times_at

Kind = Literal["ancestral", "ddim", "dpmsolver", "sde_dpmsolver"]
Variance = Literal["beta_tilde", "beta"]
Grid = Literal["time", "log_snr"]
Noise = Callable[[], Tensor]
"""Gives the next block of standard normal noise, the shape of the batch."""

LAST_TIME = 1e-3
"""Where a grid in the log signal-to-noise ratio has its last noisy level, as the ratio is infinite at 0."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One noise level: y = signal x_0 + noise z, signal^2 + noise^2 = 1, and x = scale y."""

    t: float
    signal: float
    noise: float
    scale: float

    @property
    def log_snr(self) -> float:
        """ln(signal / noise), infinite without noise."""
        return math.log(self.signal / self.noise) if self.noise > 0 else math.inf


CLEAN = Level(t=0.0, signal=1.0, noise=0.0, scale=1.0)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One reverse step between two levels; all factors are plain numbers."""

    start: Level
    stop: Level
    keep: float
    """Factor of the state."""
    pull: float
    """Factor of the predicted clean image."""
    fresh: float
    """Standard deviation of the new noise; 0 where the step lands on the clean image."""
    back: float
    """How far the prediction is extrapolated, D = D_k + back (D_k - D_{k-1}); 0 for a step of first order."""
    up_signal: float
    """Factor of the state when it is diffused from `stop` back to `start`."""
    up_noise: float
    """Standard deviation of the noise of that."""


@torch.inference_mode()
def time_grid(schedule: Schedule, steps: int, *, start: float = 1.0, last: float | None = None, grid: Grid = "time") -> Tensor:
    """The times at which a network is evaluated, and 0.

    Args:
        schedule: The forward process.
        steps: Evaluations, K >= 1.
        start: First time, in (0, 1].
        last: Time of the last evaluation; None for start / K in uniform time, for `LAST_TIME` in log_snr.
        grid: `time` is uniform in t, `log_snr` uniform in the logarithm of the signal-to-noise ratio.

    Returns:
        (K + 1,) float64, strictly falling, the last one 0.

    Raises:
        InvalidInput: No steps, more than the process has levels, or a time out of range.
    """
    if steps < 1:
        raise InvalidInput(f"a sampler needs at least one step; write steps: 1 or more, not {steps}")
    if not 0 < start <= 1:
        raise InvalidInput(f"diffusion starts at t = {start}; write a time in (0, 1]")
    if last is None:
        last = start / steps if grid == "time" else min(max(LAST_TIME, first_time(schedule)), start)
    if last < first_time(schedule) * (1 - 1e-9):
        raise InvalidInput(
            f"{steps} levels from t = {start:g} have their last one at {last:g}, below the first time of the process, "
            f"{first_time(schedule):g}; write fewer steps:"
        )
    if last > start or (last == start and steps > 1):
        raise InvalidInput(f"{steps} levels do not fit between t = {start:g} and {last:g}; write a larger t: or steps: 1")
    times = torch.linspace(start, last, steps, dtype=torch.float64)
    if grid == "log_snr" and steps > 2:
        high, low = _log_ratio(schedule, times[[0, -1]]).tolist()
        times[1:-1] = times_at(schedule, torch.linspace(high, low, steps, dtype=torch.float64)[1:-1])
    return torch.cat([times, torch.zeros(1, dtype=torch.float64)])


@torch.inference_mode()
def plan(
    schedule: Schedule, times: Tensor, kind: Kind = "ancestral", *, eta: float = 0.0, variance: Variance = "beta_tilde"
) -> list[Step]:
    """The reverse steps of a sampler over falling times.

    Args:
        schedule: The forward process.
        times: (K + 1,) strictly falling, in [0, 1]; ends at 0, or earlier to stop at a noisy level.
        kind: `ancestral`, `ddim`, `dpmsolver` (DPM-Solver++(2M), deterministic) or `sde_dpmsolver`.
        eta: Share of the ancestral noise in DDIM; 0 is deterministic and 1 is `ancestral`.
        variance: Of the ancestral noise: `beta_tilde` is right for data in one point, `beta` for N(0, I).

    Returns:
        K steps; the first one, and one that lands on 0, are of first order.

    Raises:
        InvalidInput: The signal-to-noise ratio does not rise from one time to the next.

    Sources: J. Ho, A. Jain, P. Abbeel, Denoising diffusion probabilistic models, 2020, eqs. 6-7; J. Song, C. Meng,
    S. Ermon, Denoising diffusion implicit models, 2021, eqs. 12 and 16; C. Lu et al., DPM-Solver++, 2022, algorithm 2 and
    eq. 18 (stochastic).
    """
    levels = _levels(schedule, times)
    steps: list[Step] = []
    for number, (start, stop) in enumerate(itertools.pairwise(levels)):
        if not stop.log_snr > start.log_snr:
            raise InvalidInput(
                f"the signal-to-noise ratio does not rise from t = {start.t:g} to {stop.t:g}; write fewer steps: than {len(levels) - 1}"
            )
        multistep = kind.endswith("dpmsolver") and number > 0 and stop.noise > 0
        before = start.log_snr - levels[number - 1].log_snr
        back = (stop.log_snr - start.log_snr) / (2 * before) if multistep else 0.0
        steps.append(_step(start, stop, kind, eta, variance, back))
    return steps


def predict(denoiser: Denoiser, state: Tensor, level: Level, *, clip: bool = True) -> Tensor:
    """The clean image behind a state, one evaluation of the network.

    Args:
        denoiser: The diffusion model.
        state: (B, C, H, W) at unit total variance, y = x / scale.
        level: The level of the state.
        clip: Clip the prediction to [-1, 1]. The noise that a step keeps is then that of the clipped image: `Step.keep`
            and `Step.pull` act on the state and the prediction, never on the network's output.
    """
    t = torch.full((len(state),), level.t, dtype=state.dtype, device=state.device)
    eps = denoiser.eps(state if level.scale == 1 else state * level.scale, t)
    clean = torch.add(state, eps, alpha=-level.noise).div_(level.signal)
    return clean.clamp_(-1, 1) if clip else clean


def advance(state: Tensor, clean: Tensor, before: Tensor | None, step: Step) -> Tensor:
    """The state one step further without its new noise.

    Args:
        state: (B, C, H, W) at `step.start`.
        clean: The prediction there.
        before: The prediction one step earlier; read by multistep samplers only.
        step: The step.
    """
    target = clean if before is None or step.back == 0 else torch.lerp(before, clean, 1 + step.back)
    return torch.mul(state, step.keep).add_(target, alpha=step.pull)


def noise_blocks(steps: Sequence[Step]) -> int:
    """How often `denoise` asks for noise."""
    return sum(step.fresh > 0 for step in steps)


@torch.inference_mode()
def denoise(denoiser: Denoiser, state: Tensor, steps: Sequence[Step], noise: Noise, *, clip: bool = True) -> Tensor:
    """Take a state back along all steps; one evaluation of the network for each.

    Args:
        denoiser: The diffusion model.
        state: (B, C, H, W) at unit total variance (y = x / scale) at the first level.
        steps: From `plan`.
        noise: New noise, asked `noise_blocks(steps)` times.
        clip: Clip each predicted clean image to [-1, 1].

    Returns:
        (B, C, H, W) at the last level, images in [-1, 1] where that is 0.

    Schedulers of the diffusers library give the same steps for a variance-preserving process. They do not drive this loop:
    they draw one noise tensor from one generator for the whole batch, where here each image has its own, they keep their
    multistep history hidden, where inpainting has to replace pixels in it, and they know no sub-VP process.
    """
    before = None
    for step in steps:
        clean = predict(denoiser, state, step.start, clip=clip)
        state = advance(state, clean, before, step)
        if step.fresh > 0:
            state.add_(noise(), alpha=step.fresh)
        before = clean
    return state


def _step(start: Level, stop: Level, kind: Kind, eta: float, variance: Variance, back: float) -> Step:
    over, under = start.noise**2, stop.noise**2
    lost = (over - under) / stop.signal**2  # 1 - A/B without the cancellation
    share = {"ancestral": 1.0, "ddim": eta, "dpmsolver": 0.0, "sde_dpmsolver": 1.0}[kind]
    fresh = share * math.sqrt(under / over * lost)
    keep = math.sqrt(max(under - fresh**2, 0.0) / over)
    if kind == "ancestral" and variance == "beta" and under > 0:
        fresh = math.sqrt(lost)
    return Step(
        start=start,
        stop=stop,
        keep=keep,
        pull=stop.signal - keep * start.signal,
        fresh=fresh,
        back=back,
        up_signal=start.signal / stop.signal,
        up_noise=math.sqrt(lost),
    )


def _levels(schedule: Schedule, times: Tensor) -> list[Level]:
    noisy = times[times > 0].double()
    mean, std = schedule.mean(noisy).double(), schedule.std(noisy).double()
    scale = torch.sqrt(mean**2 + std**2)
    levels = []
    for t, c, s, r in zip(noisy.tolist(), mean.tolist(), std.tolist(), scale.tolist(), strict=True):
        # A variance-preserving schedule has scale 1 but for rounding; the state is then handed to the network as it is.
        levels.append(Level(t=t, signal=c / r, noise=s / r, scale=1.0 if abs(r - 1) < 1e-6 else r))
    return levels + [CLEAN] * (len(times) - len(noisy))


def _log_ratio(schedule: Schedule, t: Tensor) -> Tensor:
    return torch.log(schedule.std(t).double() / schedule.mean(t).double())
