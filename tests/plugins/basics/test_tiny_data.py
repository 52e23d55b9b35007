# SPDX-License-Identifier: Apache-2.0
"""Tiny images and their near copies: fixed, disjoint, and changed exactly as said."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lipbench_basics.datasets.tiny import Kind, OodTiny
from lipbench_basics.datasets.transforms import Transform, transformed
from sklearn.datasets import load_digits

from lipbench.api import Context, InvalidInput

pytest.importorskip("matplotlib")
CTX, OTHER = Context(scope="test", seed=0), Context(scope="test", seed=1)
KINDS: tuple[Kind, ...] = get_args(Kind)
PERMUTING: tuple[Transform, ...] = ("mirror", "rot180", "transpose", "shuffle")


def rows(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_splits_keep_to_the_spec_and_are_disjoint(kind: Kind, size: int) -> None:
    data = OodTiny(of=kind, size=size)
    spec, train, test = data.spec(), data.split("train", CTX), data.split("test", CTX)
    assert train.inputs.shape == (1400, 1, size, size)
    assert test.inputs.shape == (300, 1, size, size)
    both, labels = np.concatenate([train.inputs, test.inputs]), np.concatenate([train.targets, test.targets])
    assert both.dtype == np.float32
    assert (both.min(), both.max()) == (spec.low, spec.high)
    assert np.array_equal(both * 16, np.round(both * 16)), "17 grey levels, as scikit-learn's digits have"
    assert labels.dtype == np.int64
    assert set(labels) == set(range(spec.classes))
    assert len(rows(both)) == 1700, "no image is there twice, in one split or in both"
    with pytest.raises(InvalidInput, match="no split 'validation'"):
        data.split("validation", CTX)


@pytest.mark.parametrize("kind", KINDS)
def test_the_dataset_is_the_same_for_every_seed(kind: Kind) -> None:
    data = OodTiny(of=kind, transform="shuffle", train=40, test=20)
    for split in ("train", "test"):
        assert np.array_equal(data.split(split, CTX).inputs, data.split(split, OTHER).inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_training_split_begins_with_the_smaller_one(kind: Kind) -> None:
    small, large = (OodTiny(of=kind, train=n, test=10).split("train", CTX) for n in (33, 70))
    assert np.array_equal(large.inputs[:33], small.inputs)
    assert np.array_equal(large.targets[:33], small.targets)


@pytest.mark.parametrize("kind", ["geo", "latin", "shapes"])
def test_drawn_classes_are_balanced_in_any_order(kind: Kind) -> None:
    targets = OodTiny(of=kind).split("test", CTX).targets
    classes = targets.max() + 1
    assert set(np.bincount(targets)) == {300 // classes}
    assert (np.diff(targets.reshape(-1, classes), axis=1) < 0).any(), "not sorted within a run"


@pytest.mark.parametrize("kind", ["geo", "latin", "shapes"])
def test_images_of_a_class_are_alike(kind: Kind) -> None:
    data = OodTiny(of=kind, size=16, train=600, test=200)
    train, test = data.split("train", CTX), data.split("test", CTX)
    means = np.stack([train.inputs[train.targets == c].mean(axis=0) for c in range(data.spec().classes)])
    guess = ((test.inputs[:, None] - means) ** 2).sum(axis=(2, 3, 4)).argmin(axis=1)
    assert (guess == test.targets).mean() > 0.8


def test_digits_are_those_of_scikit_learn() -> None:
    x, y = load_digits(return_X_y=True)
    known = {row.tobytes(): label for row, label in zip((x / 16).astype(np.float32), y, strict=True)}
    part = OodTiny(test=300).split("test", CTX)
    assert [known[image.tobytes()] for image in part.inputs] == part.targets.tolist()


def test_doubled_digits_keep_the_mean_of_each_image() -> None:
    small, large = (OodTiny(size=size).split("test", CTX).inputs for size in (8, 16))
    quads = large.reshape(300, 8, 2, 8, 2).mean(axis=(2, 4))
    assert np.corrcoef(quads.ravel(), small.ravel())[0, 1] > 0.97
    # The rounding to 17 levels is the only thing that may move the mean, where the border is black.
    black = (small[:, 0, [0, -1]].max(axis=(1, 2)) == 0) & (small[:, 0, :, [0, -1]].max(axis=(0, 2)) == 0)
    drift = np.abs(small.mean(axis=(1, 2, 3)) - large.mean(axis=(1, 2, 3)))
    assert drift[black].max(initial=0) < 1 / 32
    assert drift.max() < 0.05


def test_there_are_not_more_digits_than_there_are() -> None:
    assert len(OodTiny(train=1497, test=300).split("train", CTX).inputs) == 1497
    with pytest.raises(InvalidInput, match=r"1,797 digits, but train: 1700 and test: 300 ask for 2,000"):
        OodTiny(train=1700)
    assert len(OodTiny(of="shapes", train=1700).split("train", CTX).inputs) == 1700


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("transform", PERMUTING)
def test_permuting_transforms_keep_each_histogram_to_the_bit(kind: Kind, transform: Transform, size: int) -> None:
    plain = OodTiny(of=kind, size=size, test=120).split("test", CTX)
    moved = OodTiny(of=kind, size=size, test=120, transform=transform).split("test", CTX)
    assert np.array_equal(np.sort(plain.inputs.reshape(120, -1)), np.sort(moved.inputs.reshape(120, -1)))
    assert np.array_equal(plain.targets, moved.targets)
    assert (plain.inputs != moved.inputs).any(axis=(1, 2, 3)).mean() > 0.97


def test_contrast_scales_the_very_images() -> None:
    plain = OodTiny(of="geo").split("test", CTX).inputs
    faint = OodTiny(of="geo", transform="contrast").split("test", CTX).inputs
    assert np.array_equal(faint, plain * np.float32(0.3))
    assert faint.dtype == np.float32


def test_its_files_are_those_that_a_kind_reads() -> None:
    assert [path.name for path in OodTiny().files()] == ["digits.csv.gz"]
    assert [path.name for path in OodTiny(of="shapes").files()] == []
    for kind in ("geo", "latin"):
        files = OodTiny(of=kind).files()
        assert len(files) == 6
        assert all(path.is_file() for path in files)


def test_a_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"needs the package matplotlib: pip install 'lipbench\[plots\]'"):
        OodTiny(of="geo").files()


IMAGES = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 3), st.sampled_from([2, 4, 8])).map(lambda s: (*s, s[2]))
)


@given(images=IMAGES, transform=st.sampled_from(["none", "mirror", "rot180", "transpose"]))
def test_flips_undo_themselves(images: np.ndarray, transform: Transform) -> None:
    before = images.copy()
    once = transformed(images, transform)
    assert not np.shares_memory(once, images)
    np.testing.assert_array_equal(transformed(once, transform), before)
    np.testing.assert_array_equal(images, before)


def test_each_flip_moves_a_corner_where_it_should() -> None:
    image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    assert transformed(image, "mirror")[0, 0, 0].tolist() == [3, 2, 1, 0]
    assert transformed(image, "rot180")[0, 0, 0].tolist() == [15, 14, 13, 12]
    assert transformed(image, "transpose")[0, 0, 0].tolist() == [0, 4, 8, 12]


def test_shuffle_moves_whole_blocks_of_all_channels_by_the_keys() -> None:
    image = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    same = transformed(image, "shuffle", np.array([[0.1, 0.2, 0.3, 0.4]]))
    assert np.array_equal(same, image)
    turned = transformed(image, "shuffle", np.array([[0.4, 0.3, 0.2, 0.1]]))
    assert np.array_equal(turned[:, :, :2, :2], image[:, :, 2:, 2:])
    assert np.array_equal(turned[:, :, :2, 2:], image[:, :, 2:, :2])


def test_each_image_is_shuffled_by_its_own_permutation() -> None:
    same = np.repeat(np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8), 50, axis=0)
    keys = np.random.default_rng(0).random((50, 16))
    assert len(rows(transformed(same, "shuffle", keys))) == 50


def test_transforms_refuse_what_they_cannot_do() -> None:
    square = np.zeros((2, 1, 4, 4), dtype=np.float32)
    with pytest.raises(InvalidInput, match="need square images"):
        transformed(square[:, :, :3], "mirror")
    with pytest.raises(InvalidInput, match=r"keys of shape \(2, 4\), found none"):
        transformed(square, "shuffle")
    with pytest.raises(InvalidInput, match="even side"):
        transformed(np.zeros((1, 1, 3, 3), dtype=np.float32), "shuffle", np.zeros((1, 1)))
    with pytest.raises(InvalidInput, match="no transform 'flip'; write one of none, mirror"):
        transformed(square, "flip")  # type: ignore[arg-type]
