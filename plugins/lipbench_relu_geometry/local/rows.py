# SPDX-License-Identifier: Apache-2.0
"""Local affine maps of piecewise linear networks: at x, f = w . x + b for each output, as the row [w; b]."""

from __future__ import annotations

import numpy as np
import torch
from lipbench_basics.networks.cifar.blocks import GlobalMean
from lipbench_basics.networks.layers import Rescale
from torch import Tensor, nn

from lipbench.api import NotApplicable

from ..engine.network import ReluNet

LINEAR = (
    nn.Linear, nn.Conv2d, nn.ReLU, nn.LeakyReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.BatchNorm1d,
    nn.BatchNorm2d, nn.Flatten, nn.Dropout, nn.Dropout2d, nn.Identity, Rescale, GlobalMean,
)  # fmt: skip
"""Layers that are piecewise affine in eval mode."""
_LOOKED, _MOVED, _STEP, _CURVED = 64, 0.03, 1e-5, 5e-14
"""Points at which curvature is looked for, how far they are moved and the step in deviations of the inputs, and what is more
than rounding."""


def local_rows(module: nn.Module, x: Tensor, *, mean: float, scale: float, batch: int) -> tuple[Tensor, Tensor]:
    """The local maps at points, as functions of the standardised input z = (x - mean) / scale.

    One backward pass for each output and batch: in eval mode rows do not mix, so the gradient of the sum over rows of one
    output has the gradient of each row. The offset is b = f(x) - w . z.

    Args:
        module: In eval mode, float64.
        x: (N, ...) float64 inputs in the raw unit of the data.
        mean: Of the inputs.
        scale: Their deviation.
        batch: Rows at a time.

    Returns:
        (o, N, d + 1) rows [w; b], and (N, o) outputs, both float64.

    Raises:
        NotApplicable: The network is not piecewise affine, or in training mode.

    Source: Sattelberg et al. 2023, section 2.1; `torch.func.vmap(jacrev(f))` gives the same.
    """
    _check(module, x, scale)
    rows: list[Tensor] = []
    outputs: list[Tensor] = []
    for part in x.split(batch):
        p = part.clone().requires_grad_()
        f = module(p)
        grads = [torch.autograd.grad(f[:, j].sum(), p, retain_graph=j + 1 < f.shape[1])[0] for j in range(f.shape[1])]
        w = torch.stack(grads).flatten(2) * scale
        z = (part.flatten(1) - mean) / scale
        f = f.detach()
        rows.append(torch.cat([w, (f.T - (w * z).sum(2))[:, :, None]], dim=2))
        outputs.append(f)
    return torch.cat(rows, dim=1), torch.cat(outputs)


def net_rows(net: ReluNet, x: Tensor, *, mean: float, scale: float) -> tuple[Tensor, Tensor]:
    """The same of a network as matrices, by its bit vectors; x is (N, m)."""
    points = x.numpy()
    _, _, slope, offset = net.affine(net.bits(points))
    rows = np.concatenate([scale * slope, (offset + mean * slope.sum(axis=2))[:, :, None]], axis=2)
    return torch.from_numpy(rows.transpose(1, 0, 2).copy()), torch.from_numpy(net(points))


def classes(outputs: Tensor) -> Tensor:
    """(N, o) outputs -> (N,) the largest; of a single one, whether it is above 0."""
    return outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).long()


def applied(rows: Tensor, z: Tensor) -> Tensor:
    """(o, N, d + 1) rows at their own points z (N, d): the (N, o) outputs [w; b] . [z; 1]."""
    return ((rows[:, :, :-1] * z).sum(2) + rows[:, :, -1]).T


def _check(module: nn.Module, x: Tensor, scale: float) -> None:
    for part in module.modules():
        if part.training:
            raise NotApplicable("local maps are those of a network in eval mode: dropout is random, batch norm mixes rows")
        if next(part.children(), None) is None and not isinstance(part, LINEAR):
            raise NotApplicable(f"{type(part).__name__} is not known to be piecewise affine, so the network has no local maps")
    if _curvature(module, x[:_LOOKED], scale) > _CURVED:
        raise NotApplicable(
            "the network is curved between its kinks, so it has no local maps; is there a smooth function in it?"
        )


@torch.no_grad()
def _curvature(module: nn.Module, x: Tensor, scale: float) -> float:
    """The median second difference over points, relative to the largest output: rounding alone where f is piecewise affine.

    Points are moved a little first: data lie on kinks, where max pooling has ties in a plain background. The step is short
    enough for few points to cross a kink on it.
    """
    way = torch.cos(torch.arange(x[0].numel(), dtype=x.dtype) * 1.7).reshape(x[0].shape)
    x, step = x + _MOVED * scale * way.square(), _STEP * scale * way
    middle = module(x)
    second = (module(x + step) + module(x - step) - 2 * middle).abs().amax(1)
    return float(second.median() / middle.abs().max().clamp_min(1e-300))
