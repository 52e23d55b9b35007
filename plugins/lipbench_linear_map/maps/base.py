# SPDX-License-Identifier: Apache-2.0
"""What a map between embedding spaces is, and what fits one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from lipbench.api import Context, InvalidInput, Method

from ..rows import means


@dataclass(frozen=True, kw_only=True)
class Affine:
    """`x @ weight + bias`, rows are samples."""

    weight: Tensor
    """(p, q)."""
    bias: Tensor
    """(q,)."""

    def __call__(self, x: Tensor) -> Tensor:
        """(n, p) -> (n, q), differentiable."""
        return x @ self.weight + self.bias

    def then(self, other: Affine) -> Affine:
        """This map followed by another, as one map.

        A linear detector of mapped embeddings becomes a linear detector of the source's own embeddings: (W w, b w + c).

        Raises:
            InvalidInput: The other map takes another width than this one gives.
        """
        if self.weight.shape[1] != other.weight.shape[0]:
            raise InvalidInput(f"a map to {self.weight.shape[1]} columns cannot go before one from {other.weight.shape[0]}")
        return Affine(weight=self.weight @ other.weight, bias=self.bias @ other.weight + other.bias)


class LinearMap(Method):
    """Fits an affine map from the rows of one embedding space to those of another."""

    predicts: ClassVar[Literal["embedding", "score"]] = "embedding"
    """What its outputs are: the target's embedding, or the score of the target's detector alone."""

    factor: ClassVar[str] = "own"
    """Which factorisation of the source's rows it shares with other maps: `centred` rows, `standardised` rows with their
    singular values, its `own` by `factorise`, or `none`."""

    def factorise(self, x: Tensor) -> dict[str, Tensor]:
        """What depends on the source rows (n, p) alone; empty where targets have nothing to share."""
        return {}

    @abstractmethod
    def fit(self, x: Tensor, factor: Mapping[str, Tensor], y: Tensor, ctx: Context) -> Affine:
        """Fit on pairs of rows.

        Args:
            x: (n, p) source rows.
            factor: What `factorise(x)` gave.
            y: (n, q) target rows, or (n, 1) scores where `predicts` says so.
            ctx: Where random draws come from.

        Raises:
            InvalidInput: The rows are no pairs.
            NotFinite: They hold NaN or an infinite value.
        """


def mean_to_mean(weight: Tensor, x: Tensor, y: Tensor) -> Affine:
    """The affine map with this weight that takes the mean of x to the mean of y."""
    return Affine(weight=weight, bias=means(y) - means(x) @ weight)
