# SPDX-License-Identifier: Apache-2.0
"""Local affine maps of piecewise linear networks: at x, f = w . x + b for each output, as the row [w; b]."""

from __future__ import annotations

import numpy as np
import torch
from lipbench_basics.networks.layers import Rescale
from torch import Tensor, nn

from lipbench.api import NotApplicable

from ..engine.network import ReluNet

LINEAR = (
    nn.Linear, nn.Conv2d, nn.ReLU, nn.LeakyReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.BatchNorm1d,
    nn.BatchNorm2d, nn.Flatten, nn.Dropout, nn.Dropout2d, nn.Identity, Rescale,
)  # fmt: skip
"""Layers that are piecewise affine in eval mode."""


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
        NotApplicable: A layer is not piecewise affine, or the network is in training mode.

    Source: Sattelberg et al. 2023, section 2.1; `torch.func.vmap(jacrev(f))` gives the same.
    """
    _check(module)
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


def net_rows(net: ReluNet, x: np.ndarray) -> np.ndarray:
    """(N, m) -> (n, N, m + 1): the same of a network as matrices, by its bit vectors, inputs as they are."""
    _, _, slope, offset = net.affine(net.bits(x))
    found: np.ndarray = np.concatenate([slope, offset[:, :, None]], axis=2).transpose(1, 0, 2)
    return found


def applied(rows: Tensor, z: Tensor) -> Tensor:
    """(o, N, d + 1) rows at their own points z (N, d): the (N, o) outputs [w; b] . [z; 1]."""
    return ((rows[:, :, :-1] * z).sum(2) + rows[:, :, -1]).T


def _check(module: nn.Module) -> None:
    for part in module.modules():
        if part.training:
            raise NotApplicable("local maps are those of a network in eval mode: dropout is random, batch norm mixes rows")
        if next(part.children(), None) is None and not isinstance(part, LINEAR):
            raise NotApplicable(f"{type(part).__name__} is not known to be piecewise affine, so the network has no local maps")
