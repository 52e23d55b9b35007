# SPDX-License-Identifier: Apache-2.0
"""Training by Adam, the same bits on every run, with what is to be seen on the way: KR, hinge, singular values."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

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

    @property
    def looks(self) -> list[int]:
        """Steps after which the network is looked at, 0 and the last among them."""
        if self.steps == 0:
            return [0]
        spread = {round(math.exp(i / (LOOKS - 2) * math.log(self.steps))) for i in range(LOOKS - 1)}
        return sorted({0, self.steps} | spread)


def batches(recipe: Recipe, y: Tensor, ctx: Context) -> Iterator[Tensor]:
    """Rows of each step.

    `balanced` as many of each class, without replacement within the batch; `shuffled` passes over all rows; `whole` all rows
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
            if len(order) < size:
                order = torch.randperm(len(y), generator=draw)
            part, order = order[:size], order[size:]
            yield part


def optimiser_of(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser of a network, which is put into training mode."""
    module.train()
    return torch.optim.Adam(module.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)


def train(module: nn.Module, recipe: Recipe, x: Tensor, y: Tensor, ctx: Context) -> Mapping[str, Tensor]:
    """Train a constrained or free network, then settle its constraints.

    Args:
        module: (B, *shape) -> (B, m), on the device of x.
        recipe: How.
        x: (N, *shape) training inputs.
        y: (N,) classes.
        ctx: Streams and progress.

    Returns:
        The curves: `step` (L,), `kr` and `hinge` (L,) on the training split in float64, `raw_max`, `raw_min`, `bound_max` and
        `bound_min` (L, layers), the extreme singular values of kernels before and after they are constrained.

    Raises:
        NotFinite: The loss or a weight is no longer finite.
    """
    loss_of = make_loss(recipe.loss, recipe.alpha, recipe.margin)
    optimiser = optimiser_of(module, recipe)
    looks = recipe.looks
    seen = [look(module, x, y, recipe.margin)]
    value = torch.zeros(())
    for step, rows in enumerate(batches(recipe, y.cpu(), ctx), 1):
        rows = rows.to(x.device)
        optimiser.zero_grad(set_to_none=True)
        value = loss_of(module(x[rows]), y[rows])
        value.backward()
        optimiser.step()
        if step in looks:
            if not math.isfinite(float(value.detach())):
                raise NotFinite(f"the loss is {float(value):g} at step {step}; write a smaller lr: than {recipe.lr:g}")
            seen.append(look(module, x, y, recipe.margin))
            ctx.report(f"step {step}/{recipe.steps}, loss {float(value.detach()):.4g}, KR {float(seen[-1]['kr']):.4g}")
    settle(module)
    seen[-1] = look(module, x, y, recipe.margin)
    if not all(bool(p.isfinite().all()) for p in module.parameters()):
        raise NotFinite(f"a weight is not finite after training; write a smaller lr: than {recipe.lr:g}")
    curves = {name: torch.stack([s[name] for s in seen]) for name in seen[0]}
    return {"step": torch.tensor(looks[: len(seen)]), **curves}


@torch.no_grad()
def look(module: nn.Module, x: Tensor, y: Tensor, margin: float) -> dict[str, Tensor]:
    """KR, hinge and singular values of a network in passing.

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
