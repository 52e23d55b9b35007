# SPDX-License-Identifier: Apache-2.0
"""Six filled silhouettes as distance fields."""

from __future__ import annotations

from functools import cache

import numpy as np

from .drawing import FIELD, INK, signed_distance

SHAPES = ("disc", "square", "triangle", "cross", "ring", "star")
"""The silhouettes; the place of one is its label."""


@cache
def shape_fields() -> np.ndarray:
    """(6, FIELD, FIELD) float32 signed distances, the longer side of each silhouette about INK pixels."""
    axis = (np.arange(FIELD) + 0.5 - FIELD / 2) / (INK / 2)
    x, y = np.meshgrid(axis, -axis)  # y points up, the silhouette spans [-1, 1]
    radius, ax, ay = np.hypot(x, y), np.abs(x), np.abs(y)
    masks = {
        "disc": radius <= 1,
        "square": np.maximum(ax, ay) <= 0.9,
        "triangle": (y >= -1) & (2 * ax + y <= 1),
        "cross": (np.maximum(ax, ay) <= 1) & (np.minimum(ax, ay) <= 0.36),
        "ring": (radius <= 1) & (radius >= 0.5),
        "star": _star(x, y),
    }
    fields = signed_distance(np.stack([masks[name] for name in SHAPES]))
    fields.setflags(write=False)
    return fields


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Five points, one of them up; the inner corners are at half the radius."""
    # Folded ten times, the star is one triangle: centre, a tip on the u axis, an inner corner at 36 degrees.
    sector = np.deg2rad(72)
    angle = np.abs((np.arctan2(x, y) + sector / 2) % sector - sector / 2)
    u, v = np.hypot(x, y) * np.cos(angle), np.hypot(x, y) * np.sin(angle)
    inner_u, inner_v = 0.5 * np.cos(sector / 2), 0.5 * np.sin(sector / 2)
    return np.asarray((inner_u - 1) * v - inner_v * (u - 1) >= 0)
