# SPDX-License-Identifier: Apache-2.0
"""The budget of an attack in the largest change of one input value."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import InvalidInput, NotApplicable

from .base import Victim

Eps = Annotated[float, Field(ge=0, allow_inf_nan=False)]
EpsSpace = Literal["pixel", "normalised"]


def raw_budget(eps: float, space: EpsSpace, victim: Victim, x: Tensor) -> Tensor:
    """The budget in the raw unit of the data, in the type and on the device of x.

    Args:
        eps: In [0,1] units (`pixel`), or in units of what the network sees after it has rescaled its input (`normalised`).
        space: Which of the two.
        victim: The network and the unit of its data.
        x: (B, *shape) inputs.

    Returns:
        One number, or, where the network rescales each channel by itself, (C, 1, 1) numbers.

    Raises:
        NotApplicable: `normalised`, and the network does not rescale its input.
        InvalidInput: `normalised`, and the network multiplies a channel by 0 or by what does not fit the input.
    """
    if space == "pixel":
        return torch.tensor(eps * victim.spec.unit, dtype=x.dtype, device=x.device)
    scale = _input_scale(victim.embed)
    if scale is None:
        raise NotApplicable("eps_space: normalised needs a network that rescales its input; write eps_space: pixel")
    fits = scale.ndim <= len(victim.spec.shape) and all(
        a in (1, b) for a, b in zip(reversed(scale.shape), reversed(victim.spec.shape), strict=False)
    )
    if not fits or bool((scale == 0).any()):
        raise InvalidInput(
            f"the network scales inputs {victim.spec.shape} by {tuple(scale.shape)} numbers, of which none may be 0 for "
            "eps_space: normalised; write eps_space: pixel"
        )
    return (eps / scale.detach().double().abs()).to(dtype=x.dtype, device=x.device)


def _input_scale(network: nn.Module) -> Tensor | None:
    """The factor of the first x -> scale * x + shift in a network, told by its two buffers; None where there is none."""
    for module in network.modules():
        buffers = dict(module.named_buffers(recurse=False))
        if {"scale", "shift"} <= buffers.keys():
            return buffers["scale"]
    return None
