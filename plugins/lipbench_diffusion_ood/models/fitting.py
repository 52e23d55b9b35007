# SPDX-License-Identifier: Apache-2.0
"""What the small image models share: the change of units, training by Adam, their state, and Adam on each row alone."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import torch
from lipbench_basics.networks.layers import initial_weights, rescale
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, NotFinite

from ..base import Backbone

CHECK_EVERY = 100
"""Steps between two looks at the loss."""


class ImageBackbone(Backbone):
    """A backbone of one torch module for square images; subclasses make the module and its loss.

    Args:
        steps: Steps of Adam; 0 keeps the random initial weights.
        batch_size: Images in one step.
        lr: Learning rate of Adam.
    """

    module: nn.Module
    """After `build`, float32 in eval mode, its parameters without gradient; on the CPU until `to` moves it."""
    shape: tuple[int, int, int]
    """(C, L, L) of one image."""

    def __init__(self, *, steps: int, batch_size: int, lr: float) -> None:
        self.steps, self.batch_size, self.lr = steps, batch_size, lr

    @abstractmethod
    def make(self) -> nn.Module:
        """The module for images of `self.shape`; initial weights by torch's own initialisers."""

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Make the module.

        Raises:
            InvalidInput: The data are no square images, or their range is empty.
        """
        if len(spec.shape) != 3 or spec.shape[1] != spec.shape[2]:
            raise InvalidInput(f"{_name(self)} needs square images (channels, side, side), the data has shape {spec.shape}")
        self.shape = (spec.shape[0], spec.shape[1], spec.shape[2])
        self.unit = rescale(spec, "unit")
        with initial_weights(ctx):
            self.module = self.make()
        _freeze(self.module)

    def state(self) -> Mapping[str, Tensor]:
        """The module's state dict, on the CPU."""
        return {name: tensor.cpu() for name, tensor in self.module.state_dict().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Load a state dict, every key of it."""
        self.module.load_state_dict(dict(state))
        _freeze(self.module)

    def to(self, device: str) -> Self:
        """Move the module; what this backbone computes stays on that device."""
        self.module.to(device)
        return self

    def place(self, x: Tensor) -> Tensor:
        """A tensor on the device and in the precision of the module."""
        return x.to(next(self.module.parameters()))

    def images(self, data: Dataset, ctx: Context) -> Tensor:
        """The training split (n, C, L, L) in [0, 1], on `ctx.device`."""
        return self.unit(torch.from_numpy(data.split("train", ctx).inputs)).to(ctx.device)

    def minimise(self, loss: Callable[[Tensor], Tensor], x: Tensor, ctx: Context, fast: Sequence[nn.Parameter] = ()) -> None:
        """Train the module by Adam on the mean loss of batches of x, the same bits on every run.

        Args:
            loss: A batch of images to a scalar.
            x: Training images.
            ctx: Streams, device and progress.
            fast: Parameters that learn ten times as fast.

        Raises:
            NotFinite: The loss or a weight is no longer finite.
        """
        module = _thaw(self.module.to(ctx.device))
        rest = [p for p in module.parameters() if all(p is not q for q in fast)]
        groups = [{"params": rest}] + ([{"params": list(fast), "lr": 10 * self.lr}] if fast else [])
        optimiser = torch.optim.Adam(groups, lr=self.lr, fused=True)
        for step, rows in self.batches(len(x), ctx):
            optimiser.zero_grad(set_to_none=True)
            value = loss(x[rows.to(x.device)])
            value.backward()
            optimiser.step()
            self.watch(step, {"loss": value}, ctx)
        self.done()

    def batches(self, n: int, ctx: Context) -> Iterator[tuple[int, Tensor]]:
        """Numbers of the steps from 1, and the rows of each: shuffled passes over n rows, whole batches only."""
        shuffle, size = ctx.generator("batches"), min(self.batch_size, n)
        order = torch.empty(0, dtype=torch.int64)
        for step in range(1, self.steps + 1):
            if len(order) < size:
                order = torch.randperm(n, generator=shuffle)
            rows, order = order[:size], order[size:]
            yield step, rows

    def watch(self, step: int, losses: Mapping[str, Tensor], ctx: Context) -> None:
        """Every hundred steps and at the last one, look at the losses and report them.

        Raises:
            NotFinite: One is NaN or infinite.
        """
        if step % CHECK_EVERY and step != self.steps:
            return
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        bad = [f"the {name} is {value}" for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise NotFinite(f"{_name(self)}: {bad[0]} at step {step}; write a smaller lr: than {self.lr:g}")
        ctx.report(f"step {step}/{self.steps}, " + ", ".join(f"{name} {value:.4g}" for name, value in values.items()))

    def done(self) -> None:
        """End of training: back to the CPU, fixed.

        Raises:
            NotFinite: A weight is NaN or infinite.
        """
        _freeze(self.module.cpu())
        if not all(bool(p.isfinite().all()) for p in self.module.parameters()):
            raise NotFinite(f"{_name(self)}: a weight is not finite after training; write a smaller lr: than {self.lr:g}")


Own = TypeVar("Own", bound=ImageBackbone)


def required(backbone: Backbone | None, kind: type[Own], x: Tensor, detector: str, ctx: Context) -> Own:
    """The backbone that a detector reads, on `ctx.device`.

    Raises:
        InvalidInput: It is of another class, or was built for images of another shape than x (n, C, L, L).
    """
    if not isinstance(backbone, kind):
        found = "no backbone" if backbone is None else _name(backbone)
        use = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
        raise InvalidInput(f"{detector} reads a fitted {kind.__name__}, but got {found}; write use: {use}")
    if tuple(x.shape[1:]) != backbone.shape:
        raise InvalidInput(
            f"{detector}: the images have shape {tuple(x.shape[1:])}, but the {_name(backbone)} was fitted on {backbone.shape}; "
            "write a dataset of the same shape"
        )
    return backbone.to(ctx.device)


def parts(n: int, cost: int, ctx: Context, budget: int = 2**22) -> Iterable[slice]:
    """Spans of n rows that each take `cost` numbers, about `budget` numbers a span, one row at least; fewer if memory ran out."""
    size = ctx.batch(max(1, budget // max(cost, 1)))
    return [slice(start, start + size) for start in range(0, n, size)]


def descend(start: Sequence[Tensor], loss: Callable[..., Tensor], *, steps: int, lr: float) -> tuple[Tensor, Tensor]:
    """Adam on every row alone, its rate falling to 0 along a cosine; a row's result does not hang on the others.

    Args:
        start: Where to start, (B, ...) each.
        loss: Those tensors to (B,) losses, row by row.
        steps: Steps; the loss is evaluated once more than that.
        lr: Rate of the first step.

    Returns:
        The losses at the start and the lowest ones met, (B,) each; the second never exceed the first.
    """
    at = [s.detach().clone().requires_grad_() for s in start]
    optimiser = torch.optim.Adam(at, lr=lr, fused=True)
    values = loss(*at)
    first = best = values.detach()
    for step in range(steps):
        for a, gradient in zip(at, torch.autograd.grad(values.sum(), at), strict=True):
            a.grad = gradient
        optimiser.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        optimiser.step()
        with torch.set_grad_enabled(step < steps - 1):
            values = loss(*at)
        best = torch.minimum(best, values.detach())
    return first, best


def _freeze(module: nn.Module) -> None:
    module.eval().requires_grad_(False)


def _thaw(module: nn.Module) -> nn.Module:
    return module.train().requires_grad_(True)


def _name(x: Any) -> str:
    return type(x).__name__
