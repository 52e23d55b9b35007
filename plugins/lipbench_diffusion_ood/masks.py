# SPDX-License-Identifier: Apache-2.0
"""Masks of square images, exact to the pixel: True where a pixel is known, False where it is to be filled in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from lipbench.api import InvalidInput

Mask = Literal["checkerboard", "fixed_checkerboard", "center", "random_patch"]


def checkerboard(side: int, cells: int, *, swapped: bool = False) -> Tensor:
    """A grid of cells x cells squares of which every other one is masked.

    Args:
        side: Side of the image in pixels, L.
        cells: Squares along one side, N; it must divide L.
        swapped: Exchange known and masked. Unswapped, the square at the upper left is known.

    Returns:
        (L, L) bool.

    Raises:
        InvalidInput: L is no multiple of N.

    Source: Z. Liu et al., Leveraging diffusion models for unsupervised out-of-distribution detection on image manifold,
    Frontiers in Artificial Intelligence 7, 2024, section 3.
    """
    if cells < 1 or side % cells:
        raise InvalidInput(
            f"a checkerboard of {cells}x{cells} cells does not fit {side}x{side} pixels; write cells: {_near(side, cells)}"
        )
    row = torch.arange(cells)
    known = (row[:, None] + row[None, :]) % 2 == int(swapped)
    return _enlarge(known, side // cells)


def center(side: int) -> Tensor:
    """A masked square of half the side in the middle of the image, a quarter of all pixels; (L, L) bool.

    Raises:
        InvalidInput: L is no multiple of 4, so that a quarter of the pixels cannot lie in the middle.
    """
    if side % 4:
        raise InvalidInput(
            f"the center mask needs a side that 4 divides, the images have {side} pixels; write mask: checkerboard"
        )
    known = torch.ones(side, side, dtype=torch.bool)
    known[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = False
    return known


def random_patches(side: int, patch: int, ratio: float, generators: Sequence[torch.Generator]) -> Tensor:
    """A random set of ceil(ratio * (L / patch)^2) masked patches for each generator.

    Args:
        side: Side of the image in pixels, L.
        patch: Side of a patch in pixels; it must divide L.
        ratio: Share of the patches that is masked, in (0, 1].
        generators: One for each row; each draws one permutation.

    Returns:
        (rows, L, L) bool.

    Raises:
        InvalidInput: L is no multiple of `patch`, or the ratio is out of range.

    Source: Z. Xie et al., SimMIM: a simple framework for masked image modeling, CVPR 2022 (there the ratio is that of the
    masked patches too, as here).
    """
    if patch < 1 or side % patch:
        raise InvalidInput(f"patches of {patch} pixels do not tile {side}x{side} pixels; write patch: {_near(side, patch)}")
    if not 0 < ratio <= 1:
        raise InvalidInput(f"the share of masked patches is {ratio}; write a ratio: in (0, 1]")
    across = side // patch
    # Rounded first: 0.07 * 100 is a little more than 7 in floating point, and its ceiling would be 8.
    count = math.ceil(round(ratio * across**2, 9))
    known = torch.ones(len(generators), across**2, dtype=torch.bool)
    if generators:
        masked = torch.stack([torch.randperm(across**2, generator=g)[:count] for g in generators])
        known.scatter_(1, masked, torch.zeros_like(masked, dtype=torch.bool))
    return _enlarge(known.view(-1, across, across), patch)


def everything(side: int) -> Tensor:
    """All pixels known: nothing is filled in; (L, L) bool."""
    return torch.ones(side, side, dtype=torch.bool)


def nothing(side: int) -> Tensor:
    """No pixel known: the image is drawn anew; (L, L) bool."""
    return torch.zeros(side, side, dtype=torch.bool)


def known_pixels(
    mask: Mask,
    side: int,
    attempts: Sequence[int],
    generators: Sequence[torch.Generator],
    *,
    cells: int = 8,
    patch: int = 4,
    ratio: float = 0.5,
) -> Tensor:
    """Masks for a batch of (image, attempt) rows.

    Args:
        mask: `checkerboard` swaps known and masked on every odd attempt, `fixed_checkerboard` never does; `center`; or
            `random_patch`, drawn anew for each row.
        side: Side of the images in pixels, L.
        attempts: Number of the attempt of each row, from 0.
        generators: The generator of each row; only `random_patch` draws from it.
        cells: Squares along one side of a checkerboard.
        patch: Side of a random patch in pixels.
        ratio: Share of the random patches that is masked.

    Returns:
        (rows, 1, L, L) bool, True for known pixels.

    Raises:
        InvalidInput: The mask does not fit the side.
    """
    if mask == "random_patch":
        return random_patches(side, patch, ratio, generators)[:, None]
    if mask == "center":
        return center(side).expand(len(attempts), 1, side, side)
    both = torch.stack([checkerboard(side, cells, swapped=swapped) for swapped in (False, True)])
    parity = (
        torch.tensor(attempts, dtype=torch.long) % 2 if mask == "checkerboard" else torch.zeros(len(attempts), dtype=torch.long)
    )
    return both[parity][:, None]


def _enlarge(known: Tensor, factor: int) -> Tensor:
    return known.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


def _near(side: int, wanted: int) -> int:
    """The divisor of the side that is nearest to what was asked for."""
    return min((d for d in range(1, side + 1) if side % d == 0), key=lambda d: abs(d - wanted))
