# SPDX-License-Identifier: Apache-2.0
"""What an attack is given and what it gives back, and the steps that all attacks on a network share."""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, Method, NotApplicable, NotFinite

_CHUNK_ROWS = 256
_CHUNK_NUMBERS = 2**22
"""Inputs that are attacked at a time: at most so many rows, and so many numbers in them, to bound the memory."""


@dataclass(frozen=True, kw_only=True)
class Victim:
    """What is attacked: `logits = head(embed(x))`, x (B, *shape) in the raw unit of the data, on the device of the context."""

    embed: nn.Module
    """(B, *shape) -> (B, d)."""
    head: nn.Module
    """(B, d) -> (B, classes)."""
    spec: DataSpec
    """The box of inputs and their unit."""
    detector: Callable[[Tensor], Tensor] | None = None
    """A differentiable detector of adversarial inputs, (B, d) -> (B,), larger where it suspects more; None for none."""

    def logits(self, x: Tensor) -> Tensor:
        """The network, (B, *shape) -> (B, classes)."""
        logits: Tensor = self.head(self.embed(x))
        return logits


class Attack(Method):
    """Makes inputs that a network is meant to misclassify, or a control that is not."""

    own: ClassVar[bool] = True
    """False where the inputs are made on a surrogate, or elsewhere, and are the same whatever network is fed with them."""
    adaptive: ClassVar[bool] = False
    """True where the attack knows the detector and avoids it."""

    @property
    def eps(self) -> float | None:
        """The budget in the largest change of one input value, in [0,1] units; None where there is no such number."""
        return None

    @abstractmethod
    def craft(self, victim: Victim, x: Tensor, y: Tensor, ctx: Context, ids: np.ndarray | None = None) -> Tensor:
        """Attack each row.

        Args:
            victim: The network; its weights are left as they are.
            x: (B, *shape) clean inputs in the raw unit of the data.
            y: (B,) int64 true classes.
            ctx: Where random draws come from, and the device of the work.
            ids: (B,) what each row is called; only attacks made elsewhere need it.

        Returns:
            (B, *shape) attacked inputs on the CPU, in the raw unit and the floating-point type of x.

        Raises:
            InvalidInput: The rows are not of the shape, range or classes that the victim is made for.
            NotFinite: The network gave NaN or an infinite value.
        """


class NetworkAttack(Attack):
    """An attack that sends inputs through the victim, a bounded number of rows at a time.

    Args:
        clip: Keep the attacked inputs in the range of the data.
    """

    def __init__(self, *, clip: bool) -> None:
        self.clip = clip

    def draw(self, x: Tensor, ctx: Context) -> Tensor | None:
        """All random numbers, for all rows before they are divided, so that results do not depend on the division."""
        return None

    @abstractmethod
    def attack(self, victim: Victim, x: Tensor, y: Tensor, noise: Tensor | None) -> Tensor:
        """Attack a few rows, all on one device; `noise` has the rows of `draw`."""

    def craft(self, victim: Victim, x: Tensor, y: Tensor, ctx: Context, ids: np.ndarray | None = None) -> Tensor:
        """Attack each row; see `Attack.craft`. The log says how many rows came back unchanged."""
        who = type(self).__name__
        check_rows(who, victim.spec, x, y, boxed=self.clip)
        noise = self.draw(x, ctx)
        size = max(1, min(_CHUNK_ROWS, _CHUNK_NUMBERS // max(1, x[0].numel())))
        parts = []
        with _differentiable(victim):
            for i in range(0, len(x), size):
                rows = slice(i, i + size)
                some = None if noise is None else noise[rows].to(ctx.device)
                # Clones, because tensors made in inference mode cannot be differentiated.
                result = self.attack(victim, x[rows].to(ctx.device).clone(), y[rows].to(ctx.device).clone(), some)
                parts.append(result.detach().cpu())
                ctx.report(f"{who}: {min(i + size, len(x))} of {len(x)} rows")
        crafted = torch.cat(parts)
        if self.clip:
            crafted = crafted.clamp(victim.spec.low, victim.spec.high)
        unchanged = int((crafted == x.cpu()).flatten(1).all(1).sum())
        if unchanged:
            ctx.log(f"{who}: {unchanged} of {len(x)} rows are unchanged")
        return crafted


@contextmanager
def _differentiable(victim: Victim) -> Iterator[None]:
    """Gradients by inputs alone, in eval mode; afterwards the victim is as it was."""
    modules = [module for part in (victim.embed, victim.head) for module in part.modules()]
    training = [(module, module.training) for module in modules]
    learning = [weight for module in modules for weight in module.parameters(recurse=False) if weight.requires_grad]
    try:
        for weight in learning:
            weight.requires_grad_(False)
        for module in modules:
            module.training = False
        with torch.inference_mode(mode=False), torch.enable_grad():
            yield
    finally:
        for module, was in training:
            module.training = was
        for weight in learning:
            weight.requires_grad_(True)


def check_rows(who: str, spec: DataSpec, x: Tensor, y: Tensor, *, boxed: bool) -> None:
    """Check inputs before an attack.

    Raises:
        InvalidInput: No rows, a shape other than that of the data, inputs that are no floating-point numbers, labels that do
            not fit the rows, or (where `boxed`) an input outside the range of the data.
    """
    if len(x) == 0 or tuple(x.shape[1:]) != spec.shape or not x.is_floating_point():
        raise InvalidInput(
            f"{who} needs (B, *{spec.shape}) floating-point inputs with B at least 1, found {x.dtype} {tuple(x.shape)}"
        )
    if y.shape != x.shape[:1] or y.is_floating_point():
        raise InvalidInput(
            f"{who} needs one whole-numbered label for each of {len(x)} inputs, found {y.dtype} {tuple(y.shape)}"
        )
    outside = ~((x >= spec.low) & (x <= spec.high)).flatten(1).all(1)  # NaN is outside too
    if boxed and bool(outside.any()):
        row = int(outside.int().argmax())
        raise InvalidInput(
            f"{who}: input {row} leaves the data's range [{spec.low:g}, {spec.high:g}]; write clip: false or mend it"
        )


def box(spec: DataSpec, x: Tensor) -> tuple[float, float]:
    """Smallest and largest input, rounded to the type of x: foolbox compares Python numbers, where 0.1 is not float32's."""
    low, high = torch.tensor([spec.low, spec.high], dtype=x.dtype).tolist()
    return low, high


def checked(logits: Tensor, y: Tensor, who: str) -> Tensor:
    """The logits again.

    Raises:
        NotApplicable: There are not at least two of them a row.
        InvalidInput: A label has no logit.
        NotFinite: One is NaN or infinite.
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise NotApplicable(f"{who} needs a classifier with (B, 2 or more) logits, the network gave {tuple(logits.shape)}")
    top = int(y.max())
    if top >= logits.shape[1] or int(y.min()) < 0:
        raise InvalidInput(f"{who}: labels run from {int(y.min())} to {top}, but the network has {logits.shape[1]} classes")
    if not bool(torch.isfinite(logits).all()):
        raise NotFinite(f"{who}: the network gave NaN or an infinite logit within the budget of the attack")
    return logits


def load_foolbox() -> None:
    """Import foolbox once, quietly.

    Raises:
        InvalidInput: It is not installed.
    """
    if importlib.util.find_spec("foolbox") is None:
        raise InvalidInput("this attack needs the package foolbox: pip install 'lipbench[attacks]'")
    # GitPython, which foolbox imports, otherwise raises where there is no git.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with warnings.catch_warnings():
        # It imports a module of scipy by a name that is out of use.
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("foolbox")
