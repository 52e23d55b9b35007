# SPDX-License-Identifier: Apache-2.0
"""Training by Adam, the same bits on every run, with what is to be seen on the way: KR, hinge, singular values."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.adam import adam

from lipbench.api import Context, InvalidInput, NotFinite

from .constraints import SETTLING, Orthonormal, settle
from .losses import Loss, evaluate, make_loss

Sampling = Literal["balanced", "shuffled", "whole"]
LOOKS = 24
"""Points of a curve over the steps, evenly spread in their logarithm."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained; see the parameters of `LipMLP`."""

    loss: Loss
    alpha: float
    margin: float
    steps: int
    batch_size: int
    lr: float
    weight_decay: float
    sampling: Sampling

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Recipe:
        """From the arguments of a constructor, whose other ones are left out."""
        return cls(**{field.name: given[field.name] for field in fields(cls)})

    @property
    def looks(self) -> list[int]:
        """Steps after which the network is looked at, 0 and the last among them."""
        if self.steps == 0:
            return [0]
        spread = {round(math.exp(i / (LOOKS - 2) * math.log(self.steps))) for i in range(LOOKS - 1)}
        return sorted({0, self.steps} | spread)


def batches(recipe: Recipe, y: Tensor, ctx: Context) -> Iterator[Tensor]:
    """Rows of each step.

    `balanced` as many of each class, without replacement within the batch; `shuffled` passes over all rows, the last
    batch of each with what is left; `whole` all rows
    each time.

    Raises:
        InvalidInput: `balanced`, and a class has too few rows for its share, or there are not two.
    """
    draw = ctx.generator("batches")
    if recipe.sampling == "whole":
        yield from (torch.arange(len(y)) for _ in range(recipe.steps))
    elif recipe.sampling == "balanced":
        rows = [torch.nonzero(y == c)[:, 0] for c in range(int(y.max()) + 1)]
        share = min(recipe.batch_size // len(rows), *map(len, rows)) if len(rows) > 1 else 0
        if share < 1:
            raise InvalidInput("sampling: balanced needs two classes or more, with rows of each; write sampling: shuffled")
        for _ in range(recipe.steps):
            yield torch.cat([r[torch.randperm(len(r), generator=draw)[:share]] for r in rows])
    else:
        order = torch.empty(0, dtype=torch.int64)
        size = min(recipe.batch_size, len(y))
        for _ in range(recipe.steps):
            if not len(order):
                order = torch.randperm(len(y), generator=draw)
            part, order = order[:size], order[size:]
            yield part


class Adam:
    """Adam on tensors that require gradients, the step of `torch.optim.Adam` to the bit.

    That class imports torch's compiler when it is first made, which takes longer than a small network learns.

    Args:
        parameters: What learns.
        recipe: Learning rate and weight decay.
    """

    def __init__(self, parameters: Iterable[Tensor], recipe: Recipe) -> None:
        self.parameters, self.recipe = list(parameters), recipe
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros(()) for _ in self.parameters]

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of a loss."""
        gradients = list(torch.autograd.grad(loss, self.parameters))
        with torch.no_grad():
            adam(
                self.parameters, gradients, self.first, self.second, [], self.steps, amsgrad=False, beta1=0.9, beta2=0.999,
                lr=self.recipe.lr, weight_decay=self.recipe.weight_decay, eps=1e-8, maximize=False,
            )  # fmt: skip


class Trainee(Protocol):
    """What `train` trains: one network, or many at once."""

    def parameters(self) -> Iterable[Tensor]:
        """What learns."""

    def loss(self, rows: Tensor) -> Tensor:
        """The loss of a step on training rows (..., B), to be differentiated."""

    def look(self) -> Mapping[str, Tensor]:
        """See the function `look`."""

    def settle(self) -> None:
        """See `constraints.settle`; training is over."""


class Alone:
    """One network on its data.

    Args:
        module: (B, *shape) -> (B, m), constrained or free, on the device of x.
        recipe: How it is trained.
        x: (N, *shape) training inputs.
        y: (N,) classes.
    """

    def __init__(self, module: nn.Module, recipe: Recipe, x: Tensor, y: Tensor) -> None:
        self.module, self.recipe, self.x, self.y = module.train(), recipe, x, y
        self.loss_of = make_loss(recipe.loss, recipe.alpha, recipe.margin)

    def parameters(self) -> Iterable[Tensor]:
        """Those of the module."""
        return self.module.parameters()

    def loss(self, rows: Tensor) -> Tensor:
        """On rows (B,)."""
        return self.loss_of(self.module(self.x[rows]), self.y[rows])

    def look(self) -> Mapping[str, Tensor]:
        """Of all training rows."""
        return look(self.module, self.x, self.y, self.recipe.margin)

    def settle(self) -> None:
        """Bring estimates up to the last weights."""
        settle(self.module)


def train(net: Trainee, recipe: Recipe, draws: Iterable[Tensor], ctx: Context) -> Mapping[str, Tensor]:
    """Train, then settle the constraints.

    Args:
        net: What.
        recipe: How.
        draws: The rows of each step, see `batches`.
        ctx: Device and progress.

    Returns:
        The curves: `step` (L,), and (L, ...) of all that `look` gives.

    Raises:
        NotFinite: A loss or a weight is no longer finite.
    """
    optimiser = Adam(net.parameters(), recipe)
    looks = recipe.looks
    seen = [net.look()]
    for step, rows in enumerate(draws, 1):
        value = net.loss(rows.to(ctx.device))
        optimiser.step(value)
        if step in looks:
            if not math.isfinite(float(value.detach())):
                raise NotFinite(f"the loss is {float(value):g} at step {step}; write a smaller lr: than {recipe.lr:g}")
            seen.append(net.look())
            mean = float(seen[-1]["kr"].mean())
            ctx.report(f"step {step}/{recipe.steps}, loss {float(value.detach()):.4g}, KR {mean:.4g}")
    net.settle()
    if not all(bool(p.isfinite().all()) for p in optimiser.parameters):
        raise NotFinite(f"a weight is not finite after training; write a smaller lr: than {recipe.lr:g}")
    seen[-1] = net.look()
    curves = {name: torch.stack([s[name] for s in seen]) for name in seen[0]}
    return {"step": torch.tensor(looks[: len(seen)]), **curves}


@torch.no_grad()
def look(module: nn.Module, x: Tensor, y: Tensor, margin: float) -> dict[str, Tensor]:
    """KR, hinge and singular values of a network in passing.

    `kr` and `hinge` are on the rows x, in float64; `raw_max`, `raw_min`, `bound_max` and `bound_min` (layers,) the extreme singular
    values of kernels before and after they are constrained.

    Looked at is a copy whose estimates are brought up to the present weights: a large step can leave a kernel so far above an old
    estimate that Bjorck's iteration diverges.
    """
    copied = copy.deepcopy(module).train()
    for part in copied.modules():
        if isinstance(part, Orthonormal):
            part.niter_spectral = SETTLING
    with parametrize.cached():
        f = torch.cat([copied(part) for part in x.split(4096)]).cpu()
        found = {name: torch.tensor(v, dtype=torch.float64) for name, v in evaluate(f, y.cpu(), margin).items()}
        extremes = [(_extremes(raw), _extremes(bound)) for raw, bound in kernels(copied)]
    for i, name in enumerate(("raw", "bound")):
        for j, end in enumerate(("min", "max")):
            found[f"{name}_{end}"] = torch.tensor([e[i][j] for e in extremes], dtype=torch.float64)
    return found


def kernels(module: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Kernels (out, rest) of all linear layers and convolutions, as they are stored and as they are used."""
    found = []
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            constrained = parametrize.is_parametrized(part, "weight")
            raw = part.parametrizations["weight"].original if constrained else part.weight  # type: ignore[union-attr, index]
            found.append((raw.detach().flatten(1), part.weight.detach().flatten(1)))
    return found


def _extremes(W: Tensor) -> tuple[float, float]:
    if not bool(W.isfinite().all()):
        raise NotFinite("a kernel is not finite while training; write a smaller lr:")
    values = torch.linalg.svdvals(W.double().cpu())
    return float(values[-1]), float(values[0])
