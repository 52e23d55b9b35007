# SPDX-License-Identifier: Apache-2.0
"""AutoLip: carry a Lipschitz constant from the input of a network through its graph to its output."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from lipbench.api import NotApplicable

from .activations import Activation
from .operator_norms import gamma
from .ops import Affine, Convolution, Diagonal, Gain, Input, Join, Matrix, Step, Sum
from .tracing import read_network

_FUSED = (Matrix, Convolution)


@dataclass(frozen=True, kw_only=True)
class Factor:
    """What one operation contributes."""

    name: str
    norm: float
    """Its own Lipschitz constant."""
    total: float
    """Constant from the network's input to its result."""


def operator_norm(step: Step, order: str) -> float:
    """Bound on the operator norm of an affine step."""
    assert isinstance(step.op, Affine)  # noqa: S101  (the only steps that are measured)
    return step.op.norm(order)


def frobenius_norm(step: Step, order: str) -> float:
    """The Frobenius norm of a linear layer or convolution as a matrix, the operator norm of other affine maps."""
    op = step.op
    if order != "l2" or not isinstance(op, _FUSED):
        return operator_norm(step, order)
    weight = op.weight if isinstance(op, Matrix) else op.kernel.weight
    copies = step.size // weight.shape[0]  # each row of the weights is applied at so many places
    return math.sqrt(copies) * float(torch.linalg.vector_norm(weight)) * (1 + op.wobble) * (1 + gamma(weight.numel()))


def network_bound(
    module: nn.Module, shape: tuple[int, ...], order: str, measure: Callable[[Step, str], float] = operator_norm
) -> tuple[float, tuple[Factor, ...]]:
    """Upper bound on the global Lipschitz constant of a network of any feed-forward graph.

    Constants multiply along a path, add in a residual sum, and combine in a concatenation by the norm itself. Batch
    normalisation and changes of units are merged into the linear layer or convolution next to them.

    Args:
        module: The network.
        shape: Shape of one input.
        order: l2, l1 or linf, on inputs and outputs.
        measure: Upper bound on the norm of an affine step.

    Returns:
        The bound and the factor of every operation, in the order of execution.

    Raises:
        NotApplicable: An operation is not known, or has no constant in this norm; the message names it.
    """
    steps = fuse(read_network(module, shape))
    totals: list[float] = []
    factors: list[Factor] = []
    for step in steps:
        if isinstance(step.op, Input):
            totals.append(1.0)
            continue
        norm, total = _propagate(step, [totals[s] for s in step.sources], order, measure)
        totals.append(total)
        factors.append(Factor(name=step.name, norm=norm, total=total))
    return totals[-1] * (1 + gamma(4 * len(steps))), tuple(factors)


def _propagate(step: Step, before: Sequence[float], order: str, measure: Callable[[Step, str], float]) -> tuple[float, float]:
    """The operation's own constant and the one from the input to its result."""
    op = step.op
    if isinstance(op, Sum):
        return 1.0, sum(abs(f) * b for f, b in zip(op.factors, before, strict=True))
    if isinstance(op, Join):
        return 1.0, {"l2": math.hypot(*before), "l1": sum(before), "linf": max(before)}[order]
    if isinstance(op, Affine):
        norm = measure(step, order)
    elif isinstance(op, Activation):
        norm = op.lipschitz
    elif isinstance(op, Gain) and order in op.bounds:
        norm = op.bounds[order]
    else:
        raise NotApplicable(f"the operation {step.name} has no known Lipschitz constant in norm: {order}")
    return norm, norm * before[0]


def fuse(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Merge diagonal maps into neighbouring linear layers and convolutions where the first of the two has one consumer."""
    done: list[Step] = []
    place: dict[int, int] = {}  # where the result of an old step is now
    readers = Counter(source for step in steps for source in step.sources)
    for i, step in enumerate(steps):
        merged = None
        if isinstance(step.op, Affine) and readers[step.sources[0]] == 1:
            merged = _merged(done[place[step.sources[0]]], step)
        if merged is None:
            done.append(replace(step, sources=tuple(place[s] for s in step.sources)))
        else:
            done[place[step.sources[0]]] = merged
        place[i] = len(done) - 1 if merged is None else place[step.sources[0]]
    return tuple(done)


def _merged(first: Step, second: Step) -> Step | None:
    """Both steps as one, None where that is no map of a kind with a good norm."""
    a, b = first.op, second.op
    op: Affine | None = None
    if isinstance(a, _FUSED) and isinstance(b, Diagonal):
        op = a.rescaled(b.scale, after=True)
    elif isinstance(a, Diagonal) and isinstance(b, _FUSED):
        op = b.rescaled(a.scale, after=False)
    elif isinstance(a, Diagonal) and isinstance(b, Diagonal):
        op = Diagonal(scale=a.scale * b.scale, offset=a.offset * b.scale + b.offset, terms=a.terms + b.terms + 1)
    return None if op is None else replace(second, op=op, sources=first.sources, name=f"{first.name}, {second.name}")
