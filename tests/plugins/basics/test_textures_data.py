# SPDX-License-Identifier: Apache-2.0
"""Patches of textures and photographs: from disjoint parts of the pictures that are installed."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
from lipbench_basics.datasets.textures import TexturePatches

from lipbench.api import Context, InvalidInput

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("skimage")
CTX, OTHER = Context(scope="test", seed=0), Context(scope="test", seed=1)
CASES = [("textures", "grey", 3), ("textures", "rgb", 3), ("photographs", "grey", 7), ("photographs", "rgb", 5)]


@pytest.mark.parametrize(("kind", "channels", "pictures"), CASES)
def test_splits_keep_to_the_spec_without_a_network(
    kind: str, channels: str, pictures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a dataset must not touch the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    data = TexturePatches(kind=kind, channels=channels, train=140, test=70)
    spec, train, test = data.spec(), data.split("train", CTX), data.split("test", CTX)
    assert spec.unit == spec.high == 255
    assert spec.classes == pictures == len(data.files())
    assert all(path.is_file() for path in data.files())
    assert train.inputs.shape == (140, 3 if channels == "rgb" else 1, 32, 32)
    assert train.inputs.dtype == np.float32
    assert np.array_equal(train.inputs, np.round(train.inputs))
    assert 0 <= train.inputs.min() < 100 < train.inputs.max() <= 255
    assert set(train.targets) == set(test.targets) == set(range(pictures))
    assert np.array_equal(train.inputs, data.split("train", OTHER).inputs)
    assert np.array_equal(train.inputs[:50], TexturePatches(kind=kind, channels=channels, train=50).split("train", CTX).inputs)
    assert not {row.tobytes() for row in train.inputs} & {row.tobytes() for row in test.inputs}
    with pytest.raises(InvalidInput, match="no split 'validation'"):
        data.split("validation", CTX)


def test_textures_have_three_equal_channels_and_photographs_have_colour() -> None:
    texture = TexturePatches(channels="rgb", train=30).split("train", CTX).inputs
    assert np.array_equal(texture[:, 0], texture[:, 2])
    photograph = TexturePatches(kind="photographs", channels="rgb", train=100).split("train", CTX).inputs
    assert np.abs(photograph[:, 0] - photograph[:, 2]).mean() > 10


@pytest.mark.parametrize(("split", "left"), [("train", True), ("test", False)])
def test_patches_come_from_their_side_of_the_picture(split: str, left: bool) -> None:
    data = TexturePatches(shrink=1, size=16, train=60, test=60)
    part = data.split(split, CTX)
    for label, file in enumerate(data.files()):
        picture = np.asarray(Image.open(file))
        windows = np.lib.stride_tricks.sliding_window_view(picture, (16, 16))
        for patch in part.inputs[part.targets == label][:5, 0]:
            corners = np.argwhere(windows[:, :, 0, 0] == patch[0, 0])
            places = [corner for corner in corners if np.array_equal(windows[tuple(corner)], patch)]
            assert len(places) == 1
            column = places[0][1]
            assert column + 16 <= 358 if left else column >= 358


def test_shrinking_takes_means() -> None:
    whole = TexturePatches(shrink=1, size=2, train=3)
    halved = TexturePatches(shrink=2, size=2, train=3)
    picture = np.asarray(Image.open(whole.files()[1])).astype(np.float64)
    means = np.rint(picture.reshape(256, 2, 256, 2).mean(axis=(1, 3)))
    patch = halved.split("train", CTX)
    windows = np.lib.stride_tricks.sliding_window_view(means[:, :179], (2, 2)).reshape(-1, 4)
    grass = patch.inputs[patch.targets == 1].reshape(1, 4)
    assert (windows == grass).all(axis=1).any()


def test_no_patch_is_empty() -> None:
    for channels in ("grey", "rgb"):
        patches = TexturePatches(kind="photographs", channels=channels, train=700).split("train", CTX).inputs
        assert patches.mean(axis=1).std(axis=(1, 2)).min() >= 4 - 1e-3


def test_the_largest_patch_fits_into_every_picture() -> None:
    for kind, channels, pictures in CASES:
        part = TexturePatches(kind=kind, channels=channels, size=112, shrink=1, train=1, test=pictures).split("test", CTX)
        assert len(part.inputs) == pictures
    with pytest.raises(InvalidInput, match="size: 64 times shrink: 2 is 128; at most 112"):
        TexturePatches(size=64)


def test_a_missing_package_or_picture_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lipbench_basics.datasets.textures.package_folder", lambda package, extra: tmp_path)
    with pytest.raises(InvalidInput, match=r"no picture brick.png in .*; install scikit-image again"):
        TexturePatches().files()
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"needs the package skimage: pip install 'lipbench\[vision\]'"):
        TexturePatches().files()
