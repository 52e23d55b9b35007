# SPDX-License-Identifier: Apache-2.0
"""Files of MNIST as its loader expects them, of any images."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def write_mnist(root: Path, splits: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Path:
    """Write splits, `train` and `t10k`, of images (N, 28, 28) and labels (N,), both uint8; returns `root`."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for stem, (images, labels) in splits.items():
        (raw / f"{stem}-images-idx3-ubyte.gz").write_bytes(_idx(images))
        (raw / f"{stem}-labels-idx1-ubyte.gz").write_bytes(_idx(labels))
    return root


def _idx(array: np.ndarray) -> bytes:
    head = (2048 + array.ndim).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(head + array.tobytes())
