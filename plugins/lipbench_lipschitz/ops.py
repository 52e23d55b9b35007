# SPDX-License-Identifier: Apache-2.0
"""What a layer does, in float64: affine maps with their operator norms, and the few maps that mix neurons otherwise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.func import vjp, vmap

from .activations import Activation
from .operator_norms import Kernel, conv_norm, gamma, matrix_norm, schur_test

SCALE_TERMS = 8
"""Roundings in a scale such as gamma / sqrt(variance + eps), generously."""


def _entrywise(norm: Callable[[str], float], order: str) -> float:
    """Bound on the norm of the matrix of absolute values."""
    return norm(order) if order != "l2" else schur_test(norm("linf"), norm("l1"))


class Affine(ABC):
    """x -> A x + b on one input shape, the weights exact in float64."""

    terms: int
    """Products in one output at most; gives the rounding error of an application."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """A x for (B, *in) float64."""

    @abstractmethod
    def shift(self, x: Tensor) -> Tensor:
        """A x + b for one row (1, *in)."""

    @abstractmethod
    def norm(self, order: str) -> float:
        """Upper bound on the operator norm of A."""

    def rescaled(self, scale: Tensor, *, after: bool) -> Affine | None:
        """This map without its bias, followed or preceded by a product with `scale`; None where that is no such map."""
        return None

    def absolute_norm(self) -> float:
        """Upper bound on the l2 norm of the matrix |A|, and of A."""
        return schur_test(self.norm("linf"), self.norm("l1"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrix(Affine):
    """A linear layer: acts on the last axis."""

    weight: Tensor
    bias: Tensor | None = None
    wobble: float = 0.0
    """Relative error of the entries: 0 for stored weights, a few roundings for rescaled ones."""

    @property
    def terms(self) -> int:  # type: ignore[override]
        """Products in one output."""
        return int(self.weight.shape[1])

    def __call__(self, x: Tensor) -> Tensor:
        """A x."""
        return x @ self.weight.mT

    def shift(self, x: Tensor) -> Tensor:
        """A x + b."""
        return self(x) if self.bias is None else self(x) + self.bias

    def norm(self, order: str) -> float:
        """Verified norm of the weight matrix."""
        exact = matrix_norm(self.weight, order)
        return exact if self.wobble == 0.0 else exact + self.wobble * _entrywise(lambda o: matrix_norm(self.weight, o), order)

    def rescaled(self, scale: Tensor, *, after: bool) -> Affine | None:
        """Rows (or columns) of the weight scaled."""
        if scale.numel() not in (1, scale.shape[-1]) or scale.shape[-1] not in (1, self.weight.shape[0 if after else 1]):
            return None
        last = scale.flatten()
        weight = self.weight * (last[:, None] if after else last)
        return Matrix(weight=weight, wobble=self.wobble + gamma(SCALE_TERMS + 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution(Affine):
    """A zero-padded convolution."""

    kernel: Kernel
    bias: Tensor | None = None
    wobble: float = 0.0
    """Relative error of the entries, as for `Matrix`."""

    @property
    def terms(self) -> int:  # type: ignore[override]
        """Products in one output."""
        return self.kernel.taps

    def __call__(self, x: Tensor) -> Tensor:
        """A x."""
        return self.kernel.apply(x)

    def shift(self, x: Tensor) -> Tensor:
        """A x + b."""
        y = self(x)
        return y if self.bias is None else y + self.bias.view(-1, *(1,) * (y.ndim - 2))

    def norm(self, order: str) -> float:
        """Bound on the convolution as an operator, not on its reshaped kernel."""
        exact = conv_norm(self.kernel, order)
        return exact if self.wobble == 0.0 else exact + self.wobble * _entrywise(lambda o: conv_norm(self.kernel, o), order)

    def rescaled(self, scale: Tensor, *, after: bool) -> Affine | None:
        """Channels of the kernel scaled, where each has one factor."""
        w, k = self.kernel.weight, self.kernel
        channels = w.shape[0] if after else w.shape[1] * k.groups
        spatial = len(k.size)
        if scale.numel() == 1:
            factor = scale.flatten().expand(channels)
        elif scale.ndim > spatial and scale.numel() == channels == scale.shape[-spatial - 1]:
            factor = scale.flatten()
        else:
            return None
        if after:
            weight = w * factor.view(-1, *(1,) * (spatial + 1))
        else:
            rows = factor.view(k.groups, 1, -1, *(1,) * spatial)
            weight = (k.parts() * rows).flatten(0, 1)
        return Convolution(kernel=replace(k, weight=weight), wobble=self.wobble + gamma(SCALE_TERMS + 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Diagonal(Affine):
    """Each coordinate times its own number: batch normalisation in eval mode, a change of units."""

    scale: Tensor
    """Broadcasts against (1, *in)."""
    offset: Tensor
    """Broadcasts against (1, *in)."""
    terms: int = SCALE_TERMS

    def __call__(self, x: Tensor) -> Tensor:
        """A x."""
        return x * self.scale

    def shift(self, x: Tensor) -> Tensor:
        """A x + b."""
        return x * self.scale + self.offset

    def norm(self, order: str) -> float:
        """The largest factor."""
        top = float(self.scale.abs().max())
        return top if top == 1.0 else top * (1 + gamma(self.terms))


@dataclass(frozen=True, eq=False)
class Nonnegative(Affine):
    """A linear map whose matrix has no negative entry: reshape, pad, crop, pool by averages, upsample, sum over axes."""

    function: Callable[[Tensor], Tensor]
    """On (1, *in) float64."""
    like: Tensor
    """Zeros (1, *in) float64."""
    keeps: bool = False
    """True where it only reshapes."""

    @cached_property
    def _value_at_zero(self) -> Tensor:
        return self.function(self.like)

    @property
    def terms(self) -> int:  # type: ignore[override]
        """Products in one output at most."""
        return 0 if self.keeps else int(self.like.numel())

    def __call__(self, x: Tensor) -> Tensor:
        """A x, by the function itself."""
        y = vmap(self.function)(x.unsqueeze(1)).squeeze(1)
        return y if self.keeps else y - self._value_at_zero

    def shift(self, x: Tensor) -> Tensor:
        """A x + b."""
        return self.function(x)

    @cached_property
    def _sums(self) -> tuple[float, float]:
        """Largest row sum and largest column sum."""
        if self.keeps:
            return 1.0, 1.0
        rows, back = vjp(self.function, torch.ones_like(self.like))[:2]
        (columns,) = back(torch.ones_like(rows))
        margin = 1 + gamma(self.like.numel() + rows.numel())
        exact = [float((rows - self._value_at_zero).max()), float(columns.max())]
        return tuple(s if s == 1.0 else s * margin for s in exact)  # type: ignore[return-value]

    def norm(self, order: str) -> float:
        """Row sums, column sums, or the root of their product."""
        rows, columns = self._sums
        return {"linf": rows, "l1": columns}.get(order) or (1.0 if rows == columns == 1.0 else schur_test(rows, columns))


@dataclass(frozen=True, kw_only=True, eq=False)
class Composed(Affine):
    """Two affine maps in one layer, such as a convolution with circular padding."""

    first: Affine
    second: Affine

    @property
    def terms(self) -> int:  # type: ignore[override]
        """Products in one output."""
        return self.first.terms + self.second.terms

    def __call__(self, x: Tensor) -> Tensor:
        """A x."""
        return self.second(self.first(x))

    def shift(self, x: Tensor) -> Tensor:
        """A x + b."""
        return self.second.shift(self.first.shift(x))

    def norm(self, order: str) -> float:
        """Product of both norms."""
        return self.first.norm(order) * self.second.norm(order) * (1 + gamma(2))


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A map that mixes neurons and is not linear, with a known constant in some norms: sorting, max-pooling, softmax."""

    name: str
    bounds: Mapping[str, float]
    """By norm; a norm that is missing has no known constant."""
    function: Callable[[Tensor], Tensor] | None = field(default=None, compare=False, repr=False)
    """The map itself on (1, *in) float64; None where the step was made by hand."""


@dataclass(frozen=True)
class Sum:
    """+-a +- b of two earlier results, times constant factors."""

    factors: tuple[float, ...]


@dataclass(frozen=True)
class Join:
    """Concatenation of earlier results."""

    function: Callable[..., Tensor] | None = field(default=None, compare=False, repr=False)
    """The concatenation itself, of as many results as there are; None where the step was made by hand."""


@dataclass(frozen=True)
class Input:
    """The network's input."""


Op = Affine | Activation | Gain | Sum | Join | Input


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation of a network."""

    name: str
    """For messages."""
    op: Op
    sources: tuple[int, ...]
    """Places of the steps whose results it takes."""
    shape: tuple[int, ...]
    """Shape of its result, without the batch."""
    layer: str = ""
    """Qualified name of the module that the step is, empty where it is no whole module."""

    @property
    def size(self) -> int:
        """Numbers in its result."""
        return math.prod(self.shape)
