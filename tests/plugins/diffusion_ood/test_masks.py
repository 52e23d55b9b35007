# SPDX-License-Identifier: Apache-2.0
"""Masks are right to the pixel, and refuse images that they do not fit."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lipbench_diffusion_ood.masks import center, checkerboard, everything, known_pixels, nothing, random_patches

from lipbench.api import InvalidInput


def generators(count: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + k) for k in range(count)]


@pytest.mark.parametrize("cells", [2, 4, 8, 16])
def test_an_even_checkerboard_masks_exactly_half(cells: int) -> None:
    assert int((~checkerboard(32, cells)).sum()) == 32 * 32 // 2


def test_an_odd_checkerboard_masks_four_and_five_ninths() -> None:
    assert int((~checkerboard(9, 3)).sum()) * 9 == 4 * 81
    assert int((~checkerboard(9, 3, swapped=True)).sum()) * 9 == 5 * 81


def test_the_two_checkerboards_share_no_pixel_and_the_first_knows_the_corner() -> None:
    one, two = checkerboard(12, 3), checkerboard(12, 3, swapped=True)
    assert torch.equal(one, ~two)
    assert bool(one[:4, :4].all())
    assert not bool(one[:4, 4:8].any())


@given(cells=st.integers(1, 8), width=st.integers(1, 5), swapped=st.booleans())
def test_each_pixel_of_a_checkerboard_follows_its_square(cells: int, width: int, swapped: bool) -> None:
    side = cells * width
    board = checkerboard(side, cells, swapped=swapped)
    expected = [[(i // width + j // width) % 2 == int(swapped) for j in range(side)] for i in range(side)]
    assert board.tolist() == expected


def test_center_masks_the_middle_quarter() -> None:
    mask = center(32)
    assert int((~mask).sum()) == 32 * 32 // 4
    assert not bool(mask[8:24, 8:24].any())


def test_everything_and_nothing() -> None:
    assert bool(everything(5).all())
    assert not bool(nothing(5).any())


def test_random_patches_of_the_release() -> None:
    masks = random_patches(32, 4, 0.5, generators(5))
    assert masks.shape == (5, 32, 32)
    patches = masks.view(5, 8, 4, 8, 4).transpose(2, 3).reshape(5, 64, 16)
    assert torch.equal(patches.all(-1), patches.any(-1))  # a patch is masked whole or not at all
    assert (~patches[..., 0]).sum(1).tolist() == [32] * 5
    assert len({mask.numpy().tobytes() for mask in masks}) == 5


@given(across=st.integers(1, 10), percent=st.integers(1, 100))
def test_the_ceiling_of_the_ratio_is_masked(across: int, percent: int) -> None:
    # With integers the ceiling is free of rounding: 7% of 100 patches are 7, though 0.07 * 100 > 7 in floating point.
    expected = -(-percent * across**2 // 100)
    mask = random_patches(across, 1, percent / 100, generators(1))
    assert int((~mask).sum()) == expected


def test_random_patches_hang_on_their_own_generator() -> None:
    assert torch.equal(random_patches(8, 2, 0.3, generators(3))[2:], random_patches(8, 2, 0.3, generators(1, first=2)))


def test_every_patch_is_masked_equally_often() -> None:
    share = (~random_patches(4, 1, 0.25, generators(4000))).double().mean(0)
    assert float((share - 0.25).abs().max()) < 4 * math.sqrt(0.25 * 0.75 / 4000)


def test_the_alternating_checkerboard_swaps_on_odd_attempts_and_the_fixed_one_does_not() -> None:
    attempts = [0, 1, 2, 3]
    alternating = known_pixels("checkerboard", 8, attempts, generators(4), cells=4)
    assert alternating.shape == (4, 1, 8, 8)
    assert torch.equal(alternating[0] ^ alternating[1], torch.ones(1, 8, 8, dtype=torch.bool))
    assert torch.equal(alternating[:2], alternating[2:])
    fixed = known_pixels("fixed_checkerboard", 8, attempts, generators(4), cells=4)
    assert torch.equal(fixed, alternating[:1].expand_as(fixed))


def test_masks_of_rows_are_those_of_the_functions() -> None:
    assert torch.equal(known_pixels("center", 8, [0, 5], generators(2)), center(8).expand(2, 1, 8, 8))
    drawn = known_pixels("random_patch", 8, [0, 1], generators(2), patch=2, ratio=0.75)
    assert torch.equal(drawn[:, 0], random_patches(8, 2, 0.75, generators(2)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: checkerboard(28, 8), r"8x8 cells does not fit 28x28 pixels; write cells: 7"),
        (lambda: center(30), "a side that 4 divides, the images have 30 pixels"),
        (lambda: random_patches(28, 5, 0.5, generators(1)), r"5 pixels do not tile 28x28 pixels; write patch: 4"),
        (lambda: random_patches(8, 2, 0.0, generators(1)), r"write a ratio: in \(0, 1\]"),
    ],
)
def test_masks_that_do_not_fit_are_refused(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInput, match=words):
        call()
