# SPDX-License-Identifier: Apache-2.0
"""The U-Net that the models share which give an image for an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lipbench.api import InvalidInput


def unet(
    who: str,
    sides: Sequence[int],
    colours_in: int,
    colours_out: int,
    *,
    channels: Sequence[int],
    layers: int,
    attention: bool = False,
    dropout: float = 0.0,
) -> nn.Module:
    """`UNet2DModel` of diffusers with its own initial weights, from torch's global generator.

    Args:
        who: The component that asks.
        sides: Height and width of the images.
        colours_in: Channels of what goes in.
        colours_out: Channels of what comes out.
        channels: Channels of each level; each level after the first has half the height and width.
        layers: Residual blocks a level on the way down; one more on the way up.
        attention: Self-attention at the second level and in the middle.
        dropout: Share of activations dropped in training.

    Raises:
        InvalidInput: diffusers is not installed.
    """
    try:
        from diffusers import UNet2DModel
    except ImportError as error:
        raise InvalidInput(f"{who} needs the package diffusers: pip install 'lipbench[diffusion]'") from error
    attended = [attention and level == 1 for level in range(len(channels))]
    common = math.gcd(*channels)
    net: Any = UNet2DModel(
        sample_size=tuple(sides),
        in_channels=colours_in,
        out_channels=colours_out,
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        down_block_types=tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attended),
        up_block_types=tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attended)),
        add_attention=attention,
        attention_head_dim=common,
        norm_num_groups=_groups(common),
        dropout=dropout,
    )
    return net


def padded(x: Tensor, levels: int) -> Tensor:
    """Images (B, C, H, W) with zeros to the right and below, so that their sides can be halved levels - 1 times."""
    step = 2 ** (levels - 1)
    right, below = -x.shape[-1] % step, -x.shape[-2] % step
    return nn.functional.pad(x, (0, right, 0, below)) if right or below else x


def _groups(channels: int) -> int:
    """Groups of the normalisation: the largest divisor that leaves four channels a group, 32 at most."""
    most = max(1, min(32, channels // 4))
    return max(g for g in range(1, most + 1) if channels % g == 0)
