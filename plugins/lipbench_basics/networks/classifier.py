# SPDX-License-Identifier: Apache-2.0
"""Training of the small networks: Adam on the cross entropy, the same bits on every run."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lipbench.api import Context, Dataset, InvalidInput, Network, NotFinite, Split


class Classifier(Network):
    """A network that learns to tell the classes of its dataset apart; subclasses make the layers.

    Args:
        epochs: Passes over the training split; 0 keeps the random initial weights and needs no labels.
        lr: Learning rate of Adam.
        batch_size: Rows in one step.
    """

    fitted = True

    def __init__(self, *, epochs: int, lr: float, batch_size: int) -> None:
        self.epochs, self.lr, self.batch_size = epochs, lr, batch_size

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Minimise the cross entropy on the training split; the log gets the accuracy on both splits."""
        if self.epochs == 0:
            return
        train = self._labelled(data, "train", ctx)
        module = self.module.to(ctx.device).train()
        x, y = train[0].to(ctx.device), train[1].to(ctx.device)
        optimiser = torch.optim.Adam(module.parameters(), lr=self.lr)
        shuffle = ctx.generator("batches")
        for epoch in range(1, self.epochs + 1):
            total = torch.zeros((), device=ctx.device)
            for rows in torch.randperm(len(x), generator=shuffle).to(ctx.device).split(self.batch_size):
                optimiser.zero_grad(set_to_none=True)
                loss = nn.functional.cross_entropy(module(x[rows]), y[rows])
                loss.backward()
                optimiser.step()
                total += loss.detach() * len(rows)
            mean = float(total) / len(x)
            if not math.isfinite(mean):
                raise NotFinite(f"the loss is {mean} in epoch {epoch}; write a smaller lr: than {self.lr:g}")
            ctx.report(f"epoch {epoch}/{self.epochs}, loss {mean:.4g}")
        test = self._labelled(data, "test", ctx)
        ctx.log(f"accuracy {self._accuracy(module, *train):.4f} on train, {self._accuracy(module, *test):.4f} on test")
        self.module = module.eval().cpu()

    def _labelled(self, data: Dataset, split: str, ctx: Context) -> tuple[Tensor, Tensor]:
        part: Split = data.split(split, ctx)
        who = type(self).__name__
        if part.targets is None:
            raise InvalidInput(
                f"{who} learns from labels, and {type(data).__name__} has none; write epochs: 0 for random weights"
            )
        last = list(self.module.children())[-1]
        outputs = last.out_features if isinstance(last, nn.Linear) else 0
        if int(part.targets.max()) >= outputs:
            raise InvalidInput(f"{who} has {outputs} outputs, but {split} has label {part.targets.max()}; leave outputs: out")
        return torch.from_numpy(part.inputs), torch.from_numpy(part.targets)

    @torch.inference_mode()
    def _accuracy(self, module: nn.Module, x: Tensor, y: Tensor) -> float:
        module.eval()
        device = next(module.parameters()).device
        guesses = torch.cat([module(rows.to(device)).argmax(1).cpu() for rows in x.split(512)])
        return float((guesses == y).float().mean())
