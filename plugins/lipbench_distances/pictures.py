# SPDX-License-Identifier: Apache-2.0
"""Pictures inside records."""

from __future__ import annotations

import base64
import io

from torch import Tensor


def png(picture: Tensor, quality: int | None = None) -> str:
    """A picture (h, w, 3) in [0, 1] as base64; empty where no library can write one.

    Args:
        picture: Any float dtype, on the CPU.
        quality: null for PNG; for a photograph a JPEG of this quality, an eighth of the size.
    """
    try:
        from PIL import Image
    except ImportError:
        return ""
    image = Image.fromarray((picture.clamp(0, 1) * 255).round().byte().numpy())
    out = io.BytesIO()
    if quality is None:
        image.save(out, format="PNG", optimize=True)
    else:
        image.save(out, format="JPEG", quality=quality, optimize=True)
    return base64.b64encode(out.getvalue()).decode()
