# SPDX-License-Identifier: Apache-2.0
"""How long images are when they are compressed without loss."""

from __future__ import annotations

import io
import zlib
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lipbench.api import InvalidInput


def compressed_bits(x: Tensor, compressor: Literal["png", "zlib"]) -> Tensor:
    """(n,) float64 lengths in bits of images (n, C, L, L) in [0, 1], rounded to 8 bits a value and compressed without loss.

    Raises:
        InvalidInput: PNG of images that are neither grey nor RGB, or without pillow.
    """
    levels = (x.detach().cpu().double().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    encode = _png if compressor == "png" else _zlib
    return torch.tensor([8.0 * encode(image) for image in levels], dtype=torch.float64)


def _zlib(image: np.ndarray) -> int:
    return len(zlib.compress(image.tobytes(), 9))


def _png(image: np.ndarray) -> int:
    try:
        from PIL import Image
    except ImportError as error:
        raise InvalidInput("compressor: png needs the package pillow: pip install 'lipbench[vision]'; or write zlib") from error
    if image.shape[2] not in (1, 3):
        raise InvalidInput(f"compressor: png takes grey or RGB images, found {image.shape[2]} channels; write compressor: zlib")
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(file, "PNG", compress_level=9)
    return len(file.getvalue())
