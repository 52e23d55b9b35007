# SPDX-License-Identifier: Apache-2.0
"""A plain feed-forward network as alternating dense maps and activations in float64: what white-box methods read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lipbench.api import NotApplicable, NotFinite

from .activations import Activation
from .operator_norms import gamma, spectral_norm
from .ops import Affine, Input, Matrix, Nonnegative, Step
from .tracing import read_network


@dataclass(frozen=True, kw_only=True)
class Dense:
    """x -> weight x + bias."""

    weight: Tensor
    """(out, in) float64."""
    bias: Tensor
    """(out,) float64."""
    rounding: float = 0.0
    """Bound on the Frobenius norm of the error of `weight`: 0 for a stored matrix, positive where layers were merged."""


Chain = tuple[Dense | Activation, ...]


def dense_chain(module: nn.Module, shape: tuple[int, ...], max_entries: int = 20_000_000) -> Chain:
    """Write a feed-forward network as Dense, Activation, Dense, ..., Dense [, Activation].

    Affine layers in a row are merged: changes of units, linear layers, convolutions, batch normalisation in eval mode,
    average pooling, padding, reshapes.

    Args:
        module: The network.
        shape: Shape of one input.
        max_entries: Largest number of entries of a matrix, intermediate results of the merging included.

    Returns:
        The steps. Activations know their function, slopes and name.

    Raises:
        NotApplicable: The network is no such chain, or a matrix would be too large.
        NotFinite: A weight is NaN or infinite.
    """
    steps = read_network(module, shape)
    for i, step in enumerate(steps):
        if not isinstance(step.op, Affine | Activation | Input) or step.sources != ((i - 1,) if i else ()):
            raise NotApplicable(
                f"the operation {step.name} makes the network no plain chain of affine layers and activations; "
                "use spectral_product, which reads any graph"
            )
    chain: list[Dense | Activation] = []
    start = 0
    for i, step in enumerate(steps):
        if isinstance(step.op, Activation):
            chain += [_merge(steps[start:i], max_entries), step.op]
            start = i
    if start < len(steps) - 1 or not chain:
        chain.append(_merge(steps[start:], max_entries))
    return tuple(chain)


def _merge(steps: Sequence[Step], max_entries: int) -> Dense:
    """One matrix for the affine steps after the first, whose shape is that of the input."""
    first = torch.zeros((1, *steps[0].shape), dtype=torch.float64)
    columns, error, bias = None, 0.0, first
    for step in steps[1:]:
        op = step.op
        assert isinstance(op, Affine)  # noqa: S101  (checked by dense_chain)
        bias = op.shift(bias)
        if columns is None and isinstance(op, Nonnegative) and op.keeps:
            first = bias  # only the shape changes; the matrix is still the identity
            continue
        if columns is None and isinstance(op, Matrix) and first.ndim == 2:
            _check(op.weight.numel(), max_entries)
            columns = op.weight.mT
            continue
        if columns is None:
            columns = _identity(first, max_entries)
        _check(first.numel() * step.size, max_entries)
        # normwise error of the product, |fl(A C) - A C| <= gamma |A| |C|, on top of what the columns carry already
        wide = op.absolute_norm()
        error = wide * (error + gamma(op.terms + 4) * float(torch.linalg.vector_norm(columns))) * (1 + gamma(8))
        columns = op(columns)
    columns = _identity(first, max_entries) if columns is None else columns
    weight = columns.flatten(1).mT.contiguous()
    if not bool(torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise NotFinite("the network's weights hold NaN or infinite values")
    return Dense(weight=weight, bias=bias.flatten().clone(), rounding=error)


def _identity(like: Tensor, max_entries: int) -> Tensor:
    n = like.numel()
    _check(n * n, max_entries)
    return torch.eye(n, dtype=torch.float64).view(n, *like.shape[1:])


def _check(entries: int, limit: int) -> None:
    if entries > limit:
        raise NotApplicable(f"a matrix of {entries} entries exceeds the limit of {limit}; use spectral_product")


def layers(chain: Chain) -> tuple[list[Dense], list[Activation]]:
    """Dense maps W_1..W_L and the activations between them, an identity appended where the chain ends in an activation."""
    dense = [s for s in chain if isinstance(s, Dense)]
    activations = [s for s in chain if isinstance(s, Activation)]
    if len(activations) == len(dense):
        n = len(dense[-1].weight)
        dense.append(Dense(weight=torch.eye(n, dtype=torch.float64), bias=torch.zeros(n, dtype=torch.float64)))
    return dense, activations


def perturbation(norms: Sequence[float], errors: Sequence[float]) -> float:
    """What errors e of its factors, of norms n, do to a product of matrices at most: prod (n + e) - prod n."""
    total, before = 0.0, 1.0  # written without cancellation
    for n, e in zip(norms, errors, strict=True):
        total, before = total * (n + e) + before * e, before * n
    return total * (1 + gamma(8 * len(norms) + 8))


def rounding_slack(chain: Chain, extra: Sequence[float] = ()) -> float:
    """How much the l2 constant can exceed that of the same chain with its matrices taken as exact.

    For any slopes D_l the products W_L D .. D W_1 with and without the errors differ by no more than this.

    Args:
        chain: The network.
        extra: A further error for each dense map (of `layers`), such as that of a factorisation.
    """
    dense, activations = layers(chain)
    errors = [d.rounding + e for d, e in zip(dense, extra or [0.0] * len(dense), strict=True)]
    if not any(errors):
        return 0.0
    return math.prod(a.lipschitz for a in activations) * perturbation([spectral_norm(d.weight) for d in dense], errors)
