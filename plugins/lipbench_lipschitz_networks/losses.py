# SPDX-License-Identifier: Apache-2.0
"""Losses of optimal transport, each under a name that says whose convention it follows.

Signs are +1 for class 0 and -1 for class 1 throughout. `*_torchlip` are those of deel-torchlip 1.0.5, the others those of the
manual of deel-lip 1.0.0; the same minimum has other parameters in the two:

    hkr(alpha, m) = (1 + alpha) hkr_torchlip(alpha / (1 + alpha), 2 m)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lipbench.api import InvalidInput

Loss = Literal["kr", "hinge", "hkr", "hkr_torchlip", "hkr_multiclass", "hkr_multiclass_torchlip", "cross_entropy"]


def signs(classes: Tensor) -> Tensor:
    """+1 for class 0, -1 for class 1, float32."""
    return 1.0 - 2.0 * classes.float()


def kr(f: Tensor, s: Tensor) -> Tensor:
    """Mean of f over s > 0, less its mean over the rest: what is maximised, at most W1 for a 1-Lipschitz f.

    Args:
        f: (..., B) scalar outputs.
        s: (..., B) signs.
    """
    up = (s > 0).to(f.dtype)
    down = 1 - up
    return (f * up).sum(-1) / up.sum(-1).clamp_min(1) - (f * down).sum(-1) / down.sum(-1).clamp_min(1)


def hinge(f: Tensor, s: Tensor, margin: float | Tensor) -> Tensor:
    """Mean of max(0, margin - s f): `min_margin` of deel-lip 1.0 to 1.3, half of it in later versions and in deel-torchlip."""
    return F.relu(margin - s * f).mean(-1)


def hkr(f: Tensor, s: Tensor, alpha: float, margin: float) -> Tensor:
    """-KR + alpha hinge; alpha inf is the hinge alone."""
    return hinge(f, s, margin) if math.isinf(alpha) else -kr(f, s) + alpha * hinge(f, s, margin)


def terms(name: Loss, alpha: float, margin: float) -> tuple[float, float, float, float]:
    """The losses of one output as a sum, so that those of many networks are one expression.

    Returns:
        Weights of -KR, of the hinge and of the cross entropy, and the margin of the hinge in the convention of deel-lip 1.0.

    Raises:
        InvalidInput: The loss is of several outputs, or alpha is not possible for it.
    """
    make_loss(name, alpha, margin)
    found = {
        "kr": (1.0, 0.0, 0.0, margin),
        "hinge": (0.0, 1.0, 0.0, margin),
        "hkr": (1.0, alpha, 0.0, margin),
        "hkr_torchlip": (1.0 - alpha, alpha, 0.0, margin / 2),
        "cross_entropy": (0.0, 0.0, 1.0, margin),
    }
    if name not in found:
        raise InvalidInput(f"loss {name} is of several outputs; networks that are trained together have one")
    return found[name]


def total(f: Tensor, s: Tensor, weights: Tensor) -> Tensor:
    """(S,) losses of S networks with one output.

    Args:
        f: (S, B) outputs.
        s: (S, B) signs.
        weights: (4, S) of `terms`.
    """
    a, b, c, margin = weights
    loss = b * hinge(f, s, margin[:, None]) - a * kr(f, s)
    return loss + c * F.softplus(-s * f).mean(-1) if bool(c.any()) else loss


def to_torchlip(alpha: float, margin: float) -> tuple[float, float]:
    """Alpha and margin of deel-torchlip that have the same minimum; its loss times 1 + alpha is ours.

    >>> to_torchlip(10, 0.29)
    (0.9090909090909091, 0.58)
    """
    return (1.0 if math.isinf(alpha) else alpha / (1 + alpha)), 2 * margin


def kr_multiclass(f: Tensor, y: Tensor) -> Tensor:
    """KR of each output, its own class against the rest, as a mean over outputs.

    Args:
        f: (B, C) outputs.
        y: (B,) classes.
    """
    own = F.one_hot(y, f.shape[1]).to(f.dtype)
    rest = 1 - own
    return ((f * own).sum(0) / own.sum(0).clamp_min(1) - (f * rest).sum(0) / rest.sum(0).clamp_min(1)).mean()


def hkr_multiclass(f: Tensor, y: Tensor, alpha: float, margin: float) -> Tensor:
    """-KR/alpha + hinge as in deel-lip 1.1, where alpha divides; the hinge is a mean over rows and outputs."""
    s = 2 * F.one_hot(y, f.shape[1]).to(f.dtype) - 1
    return F.relu(margin - s * f).mean() - kr_multiclass(f, y) / alpha


def make_loss(name: Loss, alpha: float, margin: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of outputs (B, 1) or (B, C) and classes (B,).

    Raises:
        InvalidInput: alpha is not possible for this loss.
    """
    if name.endswith("_torchlip") and not 0 <= alpha <= 1:
        raise InvalidInput(f"loss {name} has alpha: between 0 and 1, found {alpha:g}; use {name.removesuffix('_torchlip')}")
    if name == "hkr_multiclass" and alpha <= 0:
        raise InvalidInput("loss hkr_multiclass divides by alpha:, so it must be positive")
    binary: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "kr": lambda f, s: -kr(f, s),
        "hinge": lambda f, s: hinge(f, s, margin),
        "hkr": lambda f, s: hkr(f, s, alpha, margin),
        "hkr_torchlip": lambda f, s: _torchlip(f[:, None], s[:, None], "hkr_loss", alpha, margin),
    }
    if name in binary:
        return lambda f, y: binary[name](_scalar(f, name), signs(y).to(f.device))
    if name == "hkr_multiclass":
        return lambda f, y: hkr_multiclass(f, y, alpha, margin)
    if name == "hkr_multiclass_torchlip":
        return lambda f, y: _torchlip(f, F.one_hot(y, f.shape[1]), "hkr_multiclass_loss", alpha, margin)
    return _cross_entropy


def _scalar(f: Tensor, name: str) -> Tensor:
    if f.shape[1] != 1:
        raise InvalidInput(f"loss {name} needs one output, the network has {f.shape[1]}; write outputs: 1")
    return f[:, 0]


def _torchlip(f: Tensor, target: Tensor, function: str, alpha: float, margin: float) -> Tensor:
    from deel.torchlip import functional

    loss: Tensor = getattr(functional, function)(f, target, alpha, margin)
    return loss.mean()


def _cross_entropy(f: Tensor, y: Tensor) -> Tensor:
    """Of the logits, or of one logit of class 0."""
    if f.shape[1] == 1:
        return F.softplus(-signs(y).to(f.device) * f[:, 0]).mean()
    return F.cross_entropy(f, y)


def evaluate(f: Tensor, y: Tensor, margin: float) -> dict[str, float]:
    """KR and hinge of outputs on a whole split, in float64; for several outputs the multiclass ones."""
    f = f.double()
    if f.shape[1] == 1:
        s = signs(y).double()
        return {"kr": float(kr(f[:, 0], s)), "hinge": float(hinge(f[:, 0], s, margin))}
    s = 2 * F.one_hot(y, f.shape[1]).double() - 1
    return {"kr": float(kr_multiclass(f, y)), "hinge": float(F.relu(margin - s * f).mean())}


def right(f: Tensor, y: Tensor, threshold: float = 0.0) -> Tensor:
    """(B,) bool: one output at or above the threshold says class 0; of several the largest says its own."""
    if f.shape[1] == 1:
        return (f[:, 0] >= threshold) == (y == 0)
    return f.argmax(1) == y


def margins(f: Tensor, y: Tensor) -> Tensor:
    """(B,) how far the outputs are from another answer, in units of a jointly 1-Lipschitz network; negative where wrong.

    |f| with the sign of being right for one output, (f_y - max of the others) / sqrt 2 for several.
    """
    if f.shape[1] == 1:
        return signs(y).to(f) * f[:, 0]
    own = f.gather(1, y[:, None])[:, 0]
    others = f.masked_fill(F.one_hot(y, f.shape[1]).bool(), -torch.inf).max(1).values
    return (own - others) / math.sqrt(2)
