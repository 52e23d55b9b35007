# SPDX-License-Identifier: Apache-2.0
"""Drawing many small images of few outlines: each outline once as a signed distance, every image as a warp of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lipbench.api import stable_seed

FIELD = 96
"""Height and width of a distance field."""
INK = 64
"""Longer side of the outline inside its field."""
_CHUNK = 256  # images that are warped at a time; bounds the memory
_DRAWS = 8  # random numbers behind one image


@dataclass(frozen=True, kw_only=True)
class Style:
    """How much the images of one outline differ; sizes are in pixels of the finished image."""

    size: int
    """Height and width of an image."""
    ink: float
    """Longer side of an outline before the random scale."""
    rotation: float
    """Standard deviation of the angle, degrees."""
    shear: float
    """Standard deviation of the horizontal shear."""
    scale: float
    """Standard deviation of the logarithm of height and of width."""
    shift: float
    """Largest shift along each axis."""
    weight: tuple[float, float] = (0.0, 0.0)
    """Least and largest change of the outline: each edge moves out by this much."""
    supersampling: int = 4
    """Samples along each axis of a pixel; their mean is its value."""


def fixed_draws(count: int, width: int, *words: object) -> np.ndarray:
    """Uniform numbers in [0, 1) that hang on `words` alone, (count, width) float64.

    A dataset that is drawn from these is one fixed thing whatever the seed of the suite, and with a larger `count` the first
    rows stay what they were.
    """
    return np.random.default_rng(stable_seed(*words)).random((count, width))


def shuffled_classes(count: int, classes: int, *words: object) -> np.ndarray:
    """(count,) int64 labels: every run of `classes` rows has each class once, in an order that hangs on `words` alone."""
    keys = fixed_draws(-(-count // classes), classes, *words, "classes")
    return np.argsort(keys, axis=1).reshape(-1)[:count].astype(np.int64)


def signed_distance(masks: np.ndarray) -> np.ndarray:
    """Distance to the edge in pixels, negative inside: (k, h, w) bool -> (k, h, w) float32."""
    from scipy.ndimage import distance_transform_edt

    fields = np.empty(masks.shape, dtype=np.float32)
    for field, mask in zip(fields, masks, strict=True):
        # An edge runs half way between two pixel centres.
        field[:] = np.where(mask, 0.5 - distance_transform_edt(mask), distance_transform_edt(~mask) - 0.5)
    return fields


def drawn(
    fields: np.ndarray, variants: Sequence[Sequence[int]], classes: np.ndarray, style: Style, *words: object
) -> np.ndarray:
    """Images of outlines, white on black: (n, size, size) float32 in [0, 1].

    Args:
        fields: (k, FIELD, FIELD) signed distances, the longer side of each outline INK pixels.
        variants: For each class the rows of `fields` that may show it, one of which is drawn at random.
        classes: (n,) class of each image.
        style: Size and random changes.
        words: What the random numbers hang on; image i uses row i of `fixed_draws`.
    """
    uniform = fixed_draws(len(classes), _DRAWS, *words, "poses")
    rows = np.array(
        [variants[c][int(u * len(variants[c]))] for c, u in zip(classes, uniform[:, 0], strict=True)], dtype=np.int64
    )
    maps, zoom = _maps(uniform, style)
    low, high = style.weight
    weights = low + (high - low) * uniform[:, 7]
    images = np.empty((len(classes), style.size, style.size), dtype=np.float32)
    for start in range(0, len(classes), _CHUNK):
        part = slice(start, start + _CHUNK)
        images[part] = _warped(fields[rows[part]], maps[part], zoom[part], weights[part], style)
    return images


def _maps(uniform: np.ndarray, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """From the image to the field, both [-1, 1]^2: (n, 2, 3) affine maps; and (n,) field pixels in one image pixel."""
    from scipy.special import ndtri

    # A draw of exactly 0 would be an infinite normal number; a tail beyond 3 sd would push an outline off the image.
    normal = np.clip(ndtri(np.clip(uniform[:, 1:5], 1e-9, None)), -3, 3)
    angle = np.deg2rad(style.rotation) * normal[:, 0]
    shear, wide, tall = style.shear * normal[:, 1], np.exp(style.scale * normal[:, 2]), np.exp(style.scale * normal[:, 3])
    shift = style.shift * (2 * uniform[:, 5:7] - 1) * 2 / style.size
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(len(angle)), np.ones(len(angle))
    rotate = np.stack([np.stack([cos, sin], axis=1), np.stack([-sin, cos], axis=1)], axis=1)
    slant = np.stack([np.stack([one, shear], axis=1), np.stack([zero, one], axis=1)], axis=1)
    grow = np.stack([np.stack([wide, zero], axis=1), np.stack([zero, tall], axis=1)], axis=1)
    base = (INK / FIELD) * style.size / style.ink
    inverse = base * np.linalg.inv(rotate @ slant @ grow)
    zoom = np.sqrt(np.abs(np.linalg.det(inverse))) * FIELD / style.size
    return np.concatenate([inverse, -inverse @ shift[:, :, None]], axis=2), zoom


def _warped(fields: np.ndarray, maps: np.ndarray, zoom: np.ndarray, weights: np.ndarray, style: Style) -> np.ndarray:
    """One chunk of `drawn`: sample the distances, turn them into ink, average over each pixel."""
    import torch
    from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

    n, s = len(fields), style.supersampling
    with torch.inference_mode():
        theta = torch.from_numpy(maps.astype(np.float32))
        grid = affine_grid(theta, [n, 1, style.size * s, style.size * s], align_corners=False)
        source = torch.from_numpy(fields)[:, None]
        distance = grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=False)
        distance = distance / torch.from_numpy(zoom.astype(np.float32))[:, None, None, None]
        edge = torch.from_numpy(weights.astype(np.float32))[:, None, None, None]
        ink = ((edge - distance) * s + 0.5).clamp(0, 1)
        return avg_pool2d(ink, s)[:, 0].numpy()


def in_levels(images: np.ndarray, levels: int) -> np.ndarray:
    """Rounded to multiples of 1/levels: hides the last bits, in which machines may differ."""
    return (np.round(images * np.float32(levels)) / np.float32(levels)).astype(np.float32)
