# SPDX-License-Identifier: Apache-2.0
"""What the networks of this plugin share: training, state, and the export to ordinary layers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Network

from ..constraints import settle
from ..layers import Activation, plain, seeded
from ..losses import make_loss
from ..training import Alone, Recipe, batches, train

_NET, _CURVE = "net.", "curve."


class TrainedNetwork(Network):
    """A network that keeps both of its forms: constrained, as it learns, and exported to ordinary layers, as others read it.

    Its state is the constrained form with the curves of the training.
    """

    fitted = True
    recipe: Recipe
    constrained: nn.Sequential
    """As it learns, float32 in eval mode."""
    curves: Mapping[str, Tensor]
    """See `train`; empty before `fit`."""

    @abstractmethod
    def constrain(self, spec: DataSpec) -> nn.Sequential:
        """The constrained network; layers draw their weights from the global generator."""

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Both forms with initial weights."""
        self.curves = {}
        with seeded(ctx):
            self.constrained = self.constrain(spec)
        settle(self.constrained)
        return plain(self.constrained)

    def rows(self, data: Dataset, split: str, ctx: Context) -> tuple[Tensor, Tensor]:
        """Inputs and classes of a split.

        Raises:
            InvalidInput: No labels, or classes that the outputs do not fit.
        """
        part = data.split(split, ctx)
        if part.targets is None:
            raise InvalidInput(f"{type(self).__name__} learns from labels, and {type(data).__name__} has none")
        outputs = [m for m in self.constrained.modules() if isinstance(m, nn.Linear)][-1].out_features
        classes = max(2, outputs)
        if int(part.targets.max()) >= classes:
            raise InvalidInput(f"{type(self).__name__} has {outputs} outputs, but {split} has label {part.targets.max()}")
        return torch.from_numpy(part.inputs), torch.from_numpy(part.targets)

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Train, then export."""
        x, y = self.rows(data, "train", ctx)
        module = self.constrained.to(ctx.device)
        alone = Alone(module, self.recipe, x.to(ctx.device), y.to(ctx.device))
        self.curves = train(alone, self.recipe, batches(self.recipe, y, ctx), ctx)
        self.constrained = module.cpu()
        self.module = plain(self.constrained)

    def state(self) -> Mapping[str, Tensor]:
        """The constrained network and the curves."""
        net = {_NET + name: tensor.contiguous() for name, tensor in self.constrained.state_dict().items()}
        return net | {_CURVE + name: tensor for name, tensor in self.curves.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Load both, and export again."""
        self.constrained.load_state_dict({k.removeprefix(_NET): v for k, v in state.items() if k.startswith(_NET)})
        self.curves = {k.removeprefix(_CURVE): v for k, v in state.items() if k.startswith(_CURVE)}
        self.constrained.eval()
        self.module = plain(self.constrained)


def check(network: str, recipe: Recipe, act: Activation, widths: Sequence[int], outputs: int | None) -> None:
    """Refuse what could not be trained, before anything is.

    Raises:
        InvalidInput: Alpha is not possible for the loss, widths cannot be sorted in pairs, or the loss needs more outputs.
    """
    make_loss(recipe.loss, recipe.alpha, recipe.margin)
    odd = [width for width in widths if width % 2]
    if act == "groupsort2" and odd:
        raise InvalidInput(f"{network}: act: groupsort2 sorts pairs, so that each width must be even, found {odd[0]}")
    if recipe.loss.startswith("hkr_multiclass") and outputs == 1:
        raise InvalidInput(f"{network}: loss: {recipe.loss} needs an output for each class; write outputs: with their number")


def share(k: float, layers: int) -> float:
    """The constant of each of N layers whose product is to be k: k^(1/N)."""
    return k if k == 1.0 else math.pow(k, 1 / layers)
