# SPDX-License-Identifier: Apache-2.0
"""Dense networks of one shape that differ in their loss or seed, trained together."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput

from ..layers import Activation, Init
from ..losses import terms
from ..stack import Stack
from ..training import Sampling, batches, train
from .mlp import LipMLP

ScalarLoss = Literal["kr", "hinge", "hkr", "hkr_torchlip", "cross_entropy"]
Member = tuple[ScalarLoss, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
_SWEEP: tuple[Member, ...] = (("kr", 0.0), ("hkr", 1.0), ("hkr", 10.0), ("hkr", 100.0), ("hinge", 0.0))


class LipSweep(LipMLP):
    """One of the networks that a sweep trains at once as stacked tensors: all `members` for each seed, one output each.

    `loss`, `alpha` and the seed of the job only say which: uses that differ in nothing else share one fit. The members of a seed
    have the same initial weights and batches, so that they differ by their loss alone; each seed has its own data, weights and
    batches. A fault of one, such as a loss that is not finite, is a fault of the fit.

    Args:
        members: Loss and alpha of each, see `lip_mlp`; alpha says nothing for `kr`, `hinge` and `cross_entropy`.
        seeds: The fit has the seeds 0 to seeds - 1; a suite that uses it must not ask for others.
        loss: Which member; null for the first.
        alpha: Which member, where its loss has one.
        hidden: See `lip_mlp`, as for all that follows.
        act: Activation.
        norm: What is done to kernels.
        niter_spectral: Power iterations a step.
        niter_bjorck: Bjorck iterations a step.
        init: Initial kernels.
        k: Constant of the network.
        margin: Of the hinge, for all members.
        steps: Steps of Adam.
        batch_size: Rows in one step.
        lr: Learning rate.
        weight_decay: Of Adam.
        sampling: How batches are drawn.
    """

    picks = ("loss", "alpha", "seed")

    def __init__(
        self,
        *,
        members: Annotated[tuple[Member, ...], Field(min_length=1)] = _SWEEP,
        seeds: Annotated[int, Field(ge=1)] = 1,
        loss: ScalarLoss | None = None,
        alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
        hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 32),
        act: Activation = "fullsort",
        norm: Literal["bjorck", "spectral", "frobenius", "none"] = "bjorck",
        niter_spectral: Annotated[int, Field(ge=1)] = 3,
        niter_bjorck: Annotated[int, Field(ge=0)] = 15,
        init: Init = "orthogonal",
        k: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
        margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
        steps: Annotated[int, Field(ge=0)] = 300,
        batch_size: Annotated[int, Field(ge=2)] = 256,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01,
        weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
        sampling: Sampling = "balanced",
    ) -> None:
        names = [_name(*member) for member in members]
        name = names[0] if loss is None else _name(loss, alpha)
        if len(set(names)) < len(names):
            raise InvalidInput("lip_sweep: members: has a loss twice; write each loss and alpha once")
        if name not in names:
            raise InvalidInput(f"lip_sweep: loss: {name[0]} with alpha: {name[1]:g} is none of its members:; add it there")
        super().__init__(
            hidden=hidden, act=act, norm=norm, niter_spectral=niter_spectral, niter_bjorck=niter_bjorck, init=init, k=k,
            loss=name[0], alpha=name[1], margin=margin, steps=steps, batch_size=batch_size, lr=lr, weight_decay=weight_decay,
            sampling=sampling,
        )  # fmt: skip
        self.seeds, self.member, self.terms = seeds, names.index(name), [terms(*member, margin) for member in members]

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Both forms of the member with its initial weights.

        Raises:
            InvalidInput: The seed of the job is none of the fit.
        """
        if not 0 <= ctx.seed < self.seeds:
            raise InvalidInput(
                f"lip_sweep trains seeds 0 to {self.seeds - 1}, and the suite asks for {ctx.seed}; write seeds: with more"
            )
        self.seed = ctx.seed
        return super().make(spec, ctx)

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Train all members for all seeds.

        Raises:
            InvalidInput: Two seeds have samples or batches of different sizes.
        """
        each = [replace(ctx, seed=seed) for seed in range(self.seeds)]
        samples = [self.rows(data, "train", c) for c in each]
        draws = [list(batches(self.recipe, y, c)) for (_, y), c in zip(samples, each, strict=True)]
        if len({(len(y), *map(len, d[:1])) for (_, y), d in zip(samples, draws, strict=True)}) > 1:
            raise InvalidInput("lip_sweep: the seeds have samples or batches of different sizes; write seeds: 1")
        x, y = (torch.stack([sample[i] for sample in samples]).to(ctx.device) for i in (0, 1))
        networks = []
        for c in each:
            super().make(data.spec(), c)
            networks += [copy.deepcopy(self.constrained) for _ in self.terms]
        weights = torch.tensor(self.terms).T.repeat(1, self.seeds)
        stack = Stack(networks, weights, x, y, self.recipe.margin)
        curves = train(stack, self.recipe, (torch.stack(rows) for rows in zip(*draws, strict=True)), ctx)
        self.found: dict[str, Tensor] = {}
        for i, net in enumerate(networks):
            self.constrained = net
            self.curves = {name: c if name == "step" else c[:, i] for name, c in curves.items()}
            self.found |= {f"{i}.{name}": tensor.contiguous() for name, tensor in super().state().items()}

    def state(self) -> Mapping[str, Tensor]:
        """Of each network what `lip_mlp` has of one, after its number."""
        return self.found

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Load the member of the job's seed, and export it."""
        first = f"{self.seed * len(self.terms) + self.member}."
        super().load_state({name.removeprefix(first): t for name, t in state.items() if name.startswith(first)})


def _name(loss: ScalarLoss, alpha: float) -> tuple[ScalarLoss, float]:
    return loss, alpha if loss.startswith("hkr") else 0.0
