# SPDX-License-Identifier: Apache-2.0
"""Printed letters: true outlines, no empty boxes, fixed and disjoint."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from lipbench_basics.datasets.drawing import FIELD, INK, Style, drawn, signed_distance
from lipbench_basics.datasets.glyphs import LETTERS, Alphabet, Glyphs
from lipbench_basics.datasets.letterforms import FONTS, font_files, fonts_with, letter_fields
from lipbench_basics.datasets.shapes import SHAPES, shape_fields

from lipbench.api import Context, InvalidInput

matplotlib = pytest.importorskip("matplotlib")
CTX, OTHER = Context(scope="test", seed=0), Context(scope="test", seed=1)
ALPHABETS: tuple[Alphabet, ...] = get_args(Alphabet)
ASSIGNED_TO_NOTHING = 0xFFFF
SANS = ("DejaVuSans", "DejaVuSans-Bold")
FONTS_OF = {
    **dict.fromkeys(("digits", "latin", "greek", "cyrillic", "armenian", "georgian"), FONTS),
    **dict.fromkeys(("hebrew", "tifinagh", "nko", "lisu"), SANS),
    "arabic": (*SANS, "DejaVuSansMono", "DejaVuSansMono-Bold"),
}
COUNTS = {
    "digits": 10, "latin": 26, "greek": 24, "cyrillic": 32, "armenian": 38, "georgian": 33, "hebrew": 22, "arabic": 28,
    "tifinagh": 54, "nko": 30, "lisu": 40,
}  # fmt: skip


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_every_letter_is_in_every_font_that_is_used(alphabet: Alphabet) -> None:
    from matplotlib.ft2font import FT2Font

    letters = LETTERS[alphabet]
    assert len(set(letters)) == len(letters) == COUNTS[alphabet]
    fonts = fonts_with(letters)
    assert tuple(file.stem for file in fonts) == FONTS_OF[alphabet]
    for file in fonts:
        font = FT2Font(str(file))
        assert font.get_char_index(ASSIGNED_TO_NOTHING) == 0, "index 0 is the box for a missing letter"
        assert all(font.get_char_index(ord(letter)) > 0 for letter in letters)
        assert not any(font.get_glyph_name(font.get_char_index(ord(letter))) == ".notdef" for letter in letters)


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_the_letters_of_a_font_differ(alphabet: Alphabet) -> None:
    fields, variants = letter_fields(LETTERS[alphabet])
    assert len(variants) == len(LETTERS[alphabet])
    assert sorted(row for rows in variants for row in rows) == list(range(len(fields)))
    by_font = (fields < 0).reshape(len(variants[0]), len(variants), -1)
    for masks in by_font:
        assert len({mask.tobytes() for mask in masks}) == len(masks)
        assert masks.any(axis=1).all()


def test_letters_fill_their_field() -> None:
    fields, _ = letter_fields("HI")
    for mask in fields < 0:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert abs(max(np.ptp(rows), np.ptp(columns)) + 1 - INK) <= 1
        assert abs(rows[0] + rows[-1] + 1 - FIELD) <= 1
        assert abs(columns[0] + columns[-1] + 1 - FIELD) <= 1


def test_outlines_agree_with_the_renderer_of_matplotlib() -> None:
    from matplotlib.ft2font import FT2Font

    fields, variants = letter_fields("A8g")
    for number, file in enumerate(font_files()):
        font = FT2Font(str(file))
        for letter, rows in zip("A8g", variants, strict=True):
            mask = fields[rows[number]] < 0
            font.set_size(400, 72)
            font.set_text(letter)
            font.draw_glyphs_to_bitmap()
            picture = np.array(font.get_image()) > 127
            inked = picture[picture.any(axis=1)][:, picture.any(axis=0)]
            drawing = mask[mask.any(axis=1)][:, mask.any(axis=0)]
            # The same share of the letter's box is ink, and the same side is up.
            assert inked.mean() == pytest.approx(drawing.mean(), abs=0.03)
            ends = [part[: len(part) // 4].mean() - part[-len(part) // 4 :].mean() for part in (inked, drawing)]
            assert ends[0] == pytest.approx(ends[1], abs=0.08)


@pytest.mark.parametrize("alphabet", ["digits", "hebrew"])
def test_splits_keep_to_the_spec_and_are_disjoint(alphabet: Alphabet) -> None:
    data = Glyphs(alphabet=alphabet, train=500, test=200)
    spec, train, test = data.spec(), data.split("train", CTX), data.split("test", CTX)
    assert train.inputs.shape == (500, 1, 28, 28)
    assert train.inputs.dtype == np.float32
    assert (train.inputs.min(), train.inputs.max()) == (spec.low, spec.high) == (0, 1)
    assert np.abs(train.inputs * 255 - np.round(train.inputs * 255)).max() < 1e-4
    assert set(train.targets) == set(range(spec.classes))
    assert np.ptp(np.bincount(train.targets)) <= 1
    images = {image.tobytes() for image in np.concatenate([train.inputs, test.inputs])}
    assert len(images) == 700
    with pytest.raises(InvalidInput, match="no split 'validation'"):
        data.split("validation", CTX)


def test_the_dataset_is_the_same_for_every_seed_and_grows_at_its_end() -> None:
    small, again, large = (
        Glyphs(alphabet="greek", train=n).split("train", ctx) for n, ctx in ((300, CTX), (300, OTHER), (400, CTX))
    )
    assert np.array_equal(small.inputs, again.inputs)
    assert np.array_equal(small.inputs, large.inputs[:300])
    assert np.array_equal(small.targets, large.targets[:300])


def test_letters_lie_inside_the_image_and_vary() -> None:
    part = Glyphs(alphabet="latin", train=1040).split("train", CTX)
    border = np.concatenate(
        [part.inputs[:, 0, [0, -1]].reshape(1040, -1), part.inputs[:, 0, :, [0, -1]].swapaxes(0, 1).reshape(1040, -1)], axis=1
    )
    assert (border.max(axis=1) > 0.5).mean() < 0.03
    ink = part.inputs.mean(axis=(1, 2, 3))
    assert ink.min() > 0.02
    for letter in range(26):
        assert ink[part.targets == letter].std() > 0.015, "thin and bold, small and large"


def test_letters_can_be_told_apart() -> None:
    data = Glyphs(alphabet="armenian", train=1500, test=300)
    train, test = data.split("train", CTX), data.split("test", CTX)
    a, b = train.inputs.reshape(1500, -1), test.inputs.reshape(300, -1)
    nearest = ((b**2).sum(1)[:, None] - 2 * b @ a.T + (a**2).sum(1)).argmin(axis=1)
    assert (train.targets[nearest] == test.targets).mean() > 0.65


def test_sizes_scale() -> None:
    small, large = (Glyphs(size=size, train=50).split("train", CTX).inputs for size in (14, 28))
    shrunk = large.reshape(50, 14, 2, 14, 2).mean(axis=(2, 4))
    assert np.abs(shrunk - small[:, 0]).mean() < 0.02


def test_its_files_are_the_fonts() -> None:
    assert [path.stem for path in Glyphs().files()] == list(FONTS)
    assert all(path.is_file() for path in Glyphs().files())


def test_letters_without_a_font_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"none of the fonts .* has all of the letters"):
        letter_fields("a\u1681\u16a0")


def test_a_missing_font_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("lipbench_basics.datasets.letterforms.package_folder", lambda package, extra: tmp_path)
    with pytest.raises(InvalidInput, match=r"no font DejaVuSans.ttf in .*; install matplotlib again"):
        Glyphs().files()


def test_signed_distances_of_a_half_plane() -> None:
    mask = np.zeros((1, 4, 6), dtype=bool)
    mask[:, :, 3:] = True
    assert signed_distance(mask)[0].tolist() == [[2.5, 1.5, 0.5, -0.5, -1.5, -2.5]] * 4


def still(size: int, ink: float, **changes: Any) -> Style:
    return Style(size=size, ink=ink, **{"rotation": 0, "shear": 0, "scale": 0, "shift": 0, **changes})


def test_a_square_at_rest_is_a_square() -> None:
    square = SHAPES.index("square")
    image = drawn(shape_fields(), [[square]], np.zeros(1, dtype=np.int64), still(40, 32), "test")[0]
    side = 0.9 * 32
    assert image.sum() == pytest.approx(side**2, rel=0.05)
    assert np.abs(image - image[::-1]).max() < 1e-3
    assert np.abs(image - image.T).max() < 1e-3
    wider = drawn(shape_fields(), [[square]], np.zeros(1, dtype=np.int64), still(40, 32, weight=(1, 1)), "test")[0]
    assert wider.sum() == pytest.approx((side + 2) ** 2, rel=0.05), "each edge moves out by one pixel"


def test_turning_and_stretching_keep_what_they_should() -> None:
    disc, classes = [[SHAPES.index("disc")]], np.zeros(400, dtype=np.int64)
    turned = drawn(shape_fields(), disc, classes, still(24, 16, rotation=30), "test")
    assert np.ptp(turned.sum(axis=(1, 2))) < 1, "a disc does not show that it was turned"
    stretched = drawn(shape_fields(), disc, classes, still(24, 16, scale=0.1), "test").sum(axis=(1, 2))
    assert np.log(stretched).std() == pytest.approx(0.1 * 2**0.5, rel=0.15), "height and width are independent"
    moved = drawn(shape_fields(), disc, classes, still(24, 12, shift=2), "test")
    centres = np.einsum("nij,i->n", moved, np.arange(24) - 11.5) / moved.sum(axis=(1, 2))
    across = np.einsum("nij,j->n", moved, np.arange(24) - 11.5) / moved.sum(axis=(1, 2))
    for along in (centres, across):
        assert 1.9 < np.abs(along).max() < 2.05
        assert along.std() == pytest.approx(2 / 3**0.5, rel=0.1)
    assert abs(np.corrcoef(centres, across)[0, 1]) < 0.15
