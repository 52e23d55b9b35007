# SPDX-License-Identifier: Apache-2.0
"""Training of a noise-predicting network: seeded step by step, so that a run that was cut off resumes to the same bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, NotFinite, stable_seed

from ..schedules import Forward

Predict = Callable[[Tensor, Tensor], Tensor]
"""(x (B, C, L, L), t (B,)) -> the noise in x."""
WINDOW = 20
"""Steps whose mean loss is one point of the loss curve."""
SAVE_EVERY = 200
"""Steps between checkpoints, a multiple of WINDOW."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained; see the parameters of `DiffusionUNet`."""

    steps: int
    batch_size: int
    lr: float
    warmup: float
    decay: bool
    ema: float
    flips: bool
    discrete: int | None
    """Number of noise levels where training draws from a grid; None for continuous times."""
    dropout: bool
    """True where the network draws random numbers of its own."""

    def rate(self, step: int) -> float:
        """Learning rate of step 1, 2, ...: a linear rise over the warm-up, then constant or half a cosine to zero."""
        rise = self.warmup * self.steps
        if step <= rise:
            return self.lr * step / rise
        if not self.decay:
            return self.lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / (self.steps - rise + 1)))

    def averaging(self, step: int) -> float:
        """Decay of the average of weights: small at first, so that the random initial weights are soon forgotten."""
        return min(self.ema, (1 + step) / (10 + step))


def centred(x: Tensor, spec: DataSpec) -> Tensor:
    """Raw inputs of a dataset, any shape, in the unit of the models: [low, high] becomes [-1, 1].

    Raises:
        InvalidInput: The range of the data is empty.
    """
    width = spec.high - spec.low
    if width <= 0:
        raise InvalidInput(f"the data's range [{spec.low:g}, {spec.high:g}] is empty; write low: below high:")
    return (x - spec.low) * (2 / width) - 1


def image_shape(spec: DataSpec, who: str) -> tuple[int, int, int]:
    """Channels, height and width.

    Raises:
        InvalidInput: The data are no images.
    """
    if len(spec.shape) != 3:
        raise InvalidInput(f"{who} needs images (channels, height, width), but the data has shape {spec.shape}")
    return spec.shape[0], spec.shape[1], spec.shape[2]


class Trainer:
    """Minimises E |eps(c x_0 + std eps, t) - eps|^2, a mean over pixels, and averages the weights.

    Adam with the norm of the gradient clipped at 1. The random numbers of a step hang on the step alone, so a run needs no
    generator states to go on: weights, their average, the moments of Adam and the step are all.

    Args:
        predict: The network as a function of x and t; trains `module`.
        module: The network, on the device of the work.
        schedule: The forward process.
        recipe: How to train.

    Source: J. Ho, A. Jain, P. Abbeel, 2020, eq. 14; Y. Song et al., 2021, eq. 7 with weights std^2.
    """

    def __init__(self, predict: Predict, module: nn.Module, schedule: Forward, recipe: Recipe) -> None:
        self.predict, self.module, self.schedule, self.recipe = predict, module, schedule, recipe
        self.names = [name for name, _ in module.named_parameters()]
        self.weights: list[Tensor] = list(module.parameters())
        self.average = [p.detach().clone() for p in self.weights]
        # One fused kernel over all tensors saves about a tenth of a step of a small network.
        fused = self.weights[0].device.type in ("cpu", "cuda")
        self.optimiser = torch.optim.Adam(self.weights, lr=recipe.lr, fused=fused)
        self.step, self.curve = 0, list[float]()

    def run(self, data: Dataset, ctx: Context) -> Tensor:
        """Train on the training split, then put the averaged weights into the module; the loss curve, one mean per WINDOW.

        Raises:
            NotFinite: The loss diverges.
        """
        spec, images = data.spec(), torch.from_numpy(data.split("train", ctx).inputs)
        checkpoint = ctx.checkpoint
        kept = None if checkpoint is None else checkpoint.load()
        if kept is not None:
            self.restore(kept)
        self.module.train()
        cuda = [self.weights[0].device] if self.weights[0].device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda, enabled=self.recipe.dropout):
            while self.step < self.recipe.steps:
                self._window(images, spec, ctx)
                if checkpoint is not None and self.step % SAVE_EVERY == 0 and self.step < self.recipe.steps:
                    checkpoint.save(self.snapshot())
        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.average)
        self.module.eval()
        return torch.tensor(self.curve)

    def snapshot(self) -> dict[str, Tensor]:
        """All that the next step depends on, on the CPU."""
        kept = {"step": torch.tensor(self.step), "curve": torch.tensor(self.curve, dtype=torch.float64)}
        for name, weight, mean in zip(self.names, self.weights, self.average, strict=True):
            moments = self.optimiser.state[weight]
            parts = {"weight": weight, "average": mean, "first": moments["exp_avg"], "second": moments["exp_avg_sq"]}
            kept |= {f"{part}.{name}": tensor.detach().cpu().clone() for part, tensor in parts.items()}
        return kept

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Go on from a snapshot."""
        self.step, self.curve = int(kept["step"]), kept["curve"].tolist()
        with torch.no_grad():
            for name, weight, mean in zip(self.names, self.weights, self.average, strict=True):
                weight.copy_(kept[f"weight.{name}"])
                mean.copy_(kept[f"average.{name}"])
                self.optimiser.state[weight] = {
                    "step": torch.tensor(float(self.step), device=weight.device),
                    "exp_avg": kept[f"first.{name}"].to(weight.device, copy=True),
                    "exp_avg_sq": kept[f"second.{name}"].to(weight.device, copy=True),
                }

    def _window(self, images: Tensor, spec: DataSpec, ctx: Context) -> None:
        last = min(self.step + WINDOW, self.recipe.steps)
        total, count = torch.zeros((), device=self.weights[0].device), last - self.step
        while self.step < last:
            self.step += 1
            total += self._step(*self._batch(images, spec, ctx))
        mean = float(total) / count
        if not math.isfinite(mean):
            raise NotFinite(f"the loss is {mean} at step {last}; write a smaller lr: than {self.recipe.lr:g}")
        self.curve.append(mean)
        ctx.report(f"step {last}/{self.recipe.steps}, loss {mean:.4g}")

    def _batch(self, images: Tensor, spec: DataSpec, ctx: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Clean images, times and noise of this step."""
        recipe, size = self.recipe, self.recipe.batch_size
        draw = ctx.generator(f"step {self.step}")
        if recipe.dropout:
            torch.manual_seed(stable_seed(ctx.scope, ctx.seed, f"dropout {self.step}") % 2**63)
        x = centred(images[torch.randint(len(images), (size,), generator=draw)], spec)
        if recipe.flips:
            mirrored = torch.rand(size, 1, 1, 1, generator=draw) < 0.5
            x = torch.where(mirrored, x.flip(-1), x)
        if recipe.discrete is None:
            smallest = self.schedule.t_min
            t = smallest + (1 - smallest) * torch.rand(size, generator=draw)
        else:
            t = torch.randint(1, recipe.discrete + 1, (size,), generator=draw) / recipe.discrete
        noise = torch.randn(x.shape, generator=draw)
        device = self.weights[0].device
        return x.to(device), t.to(device), noise.to(device)

    def _step(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        c, std = (value[:, None, None, None] for value in (self.schedule.mean(t), self.schedule.std(t)))
        self.optimiser.zero_grad(set_to_none=True)
        loss = (self.predict(c * x + std * noise, t) - noise).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0, foreach=True)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights, 1 - self.recipe.averaging(self.step))
        return loss.detach()
