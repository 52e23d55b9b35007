# SPDX-License-Identifier: Apache-2.0
"""Does a network compute what was read of it? Its steps are run again on a few inputs and compared with the network."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from lipbench.api import NotApplicable

from .activations import Activation
from .ops import Affine, Gain, Input, Join, Op, Step, Sum

TOLERANCE = 1e-9
"""Largest relative difference that is taken for rounding in float64."""
FLOOR = 1e-13
"""The same relative to the largest number met on the way, for results that cancel to almost nothing."""
_SCALES = (1.0, 1.0, 64.0)  # small inputs and some of the size of 8-bit images


def probing_inputs(shape: tuple[int, ...]) -> Tensor:
    """Three random inputs (3, *shape) in float64, always the same: one in [0, 1], two normal ones of two sizes."""
    g = torch.Generator().manual_seed(0)
    first = torch.rand((1, *shape), generator=g, dtype=torch.float64)
    others = torch.randn((len(_SCALES) - 1, *shape), generator=g, dtype=torch.float64)
    return torch.cat([first, others]) * torch.tensor(_SCALES, dtype=torch.float64).view(-1, *(1,) * len(shape))


def check_replay(
    network: nn.Module, steps: Sequence[Step], result: Tensor, suspects: Collection[str], tolerance: float = TOLERANCE
) -> None:
    """Compare the steps with the network on the probing inputs.

    Args:
        network: The network in float64, with all that is attached to it.
        steps: What was read of it.
        result: What it gave for the probing inputs, all in one batch, so that a mixing of rows shows as well.
        suspects: Layers whose results are compared even where the final result agrees.
        tolerance: Largest relative difference.

    Raises:
        NotApplicable: They differ; the message names the first layer that does.
    """
    rows = probing_inputs(steps[0].shape)
    found, kept, top = _replay(steps, rows, suspects)
    agreed = _agree(found, result, top, tolerance)
    if not agreed:
        _, kept, top = _replay(steps, rows, {s.layer for s in steps} - {""})
    parted = _first_parted(network, rows, kept, top, tolerance) if kept else None
    if parted is not None:
        kind = type(network.get_submodule(parted)).__name__
        raise NotApplicable(
            f"the network does more than its trace shows: its layer {parted} ({kind}) gives other values than the layer "
            "alone does; remove hooks and in-place changes of values that are read again"
        )
    if not agreed:
        raise NotApplicable(
            "the network does more than its trace shows: its layers, taken one by one, do not make its output; look for "
            "in-place changes of values that are read again, hooks, and operations between the inputs of a batch"
        )


def _replay(steps: Sequence[Step], rows: Tensor, keep: Collection[str]) -> tuple[Tensor, dict[str, Tensor], float]:
    """Results for the rows, those of the layers to keep, and the largest number met."""
    runs = [_run(steps, row, keep) for row in rows.split(1)]
    kept = {name: torch.cat([run[1][name] for run in runs]) for name in runs[0][1]}
    return torch.cat([run[0] for run in runs]), kept, max(run[2] for run in runs)


def _run(steps: Sequence[Step], row: Tensor, keep: Collection[str]) -> tuple[Tensor, dict[str, Tensor], float]:
    once = {name for name, uses in Counter(step.layer for step in steps).items() if uses == 1}
    last = {source: i for i, step in enumerate(steps) for source in step.sources}
    values: dict[int, Tensor] = {}
    kept: dict[str, Tensor] = {}
    top = 0.0
    for i, step in enumerate(steps):
        # Copies, because an operation may write into what it takes: the steps mean functions.
        values[i] = row if isinstance(step.op, Input) else _apply(step.op)(*(values[s].clone() for s in step.sources))
        top = max(top, _largest(values[i]))
        if step.layer in once and step.layer in keep:
            kept[step.layer] = values[i]
        for source in step.sources:
            if last[source] == i:
                values.pop(source, None)
    return values[len(steps) - 1], kept, top


def _apply(op: Op) -> Callable[..., Tensor]:
    """A step as a function of float64 rows (1, *in)."""
    if isinstance(op, Affine):
        return op.shift
    if isinstance(op, Sum):
        factors = op.factors
        return lambda *parts: torch.stack([f * p for f, p in zip(factors, parts, strict=True)]).sum(0)
    assert isinstance(op, Activation | Gain | Join)  # noqa: S101  (the input is no function)
    assert op.function is not None  # noqa: S101  (reading a network always gives one)
    return op.function


def _first_parted(network: nn.Module, rows: Tensor, kept: dict[str, Tensor], top: float, tolerance: float) -> str | None:
    """The first layer, in the order of execution, whose result differs from the one kept."""
    parted: list[str] = []
    calls = Counter[str]()

    def watch(name: str) -> Callable[..., None]:
        def compare(_: nn.Module, inputs: object, result: object) -> None:
            calls[name] += 1
            if not isinstance(result, Tensor) or not _agree(kept[name], result, top, tolerance):
                parted.append(name)

        return compare

    handles = [network.get_submodule(name).register_forward_hook(watch(name)) for name in kept]
    network(rows.clone())
    for handle in handles:
        handle.remove()
    return next((name for name in parted if calls[name] == 1), None)


def _agree(mine: Tensor, theirs: Tensor, top: float, tolerance: float) -> bool:
    theirs = theirs.double()
    slack = tolerance * _largest(theirs) + FLOOR * top
    return mine.shape == theirs.shape and torch.allclose(mine, theirs, rtol=0.0, atol=slack, equal_nan=True)


def _largest(value: Tensor) -> float:
    top = float(value.abs().max()) if value.numel() else 0.0
    return top if math.isfinite(top) else float(value.nan_to_num(0.0, 0.0, 0.0).abs().max())
