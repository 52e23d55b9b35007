# SPDX-License-Identifier: Apache-2.0
"""Crops of the photographs that come with installed packages."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
from lipbench_basics.datasets.photographs import NaturalImages
from lipbench_basics.datasets.pictures import read_rgb

from lipbench.api import Context, InvalidInput

Image = pytest.importorskip("PIL.Image")
CTX = Context(scope="test")


def test_crops_are_colour_and_follow_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a dataset must not touch the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    data = NaturalImages(size=32, count=12)
    part = data.split("test", CTX)
    assert part.inputs.shape == (12, 3, 32, 32)
    assert part.inputs.dtype == np.float32
    assert np.array_equal(part.inputs, np.round(part.inputs))
    assert part.inputs.max() > 200
    assert np.abs(part.inputs[:, 0] - part.inputs[:, 2]).mean() > 10, "red and blue must differ in a colour photograph"
    assert np.array_equal(part.inputs, data.split("test", CTX).inputs)
    assert not np.array_equal(part.inputs, data.split("test", Context(scope="test", seed=1)).inputs)


def test_splits_share_no_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def recorder(path: Path) -> object:
        read.append(path)
        return read_rgb(path)

    monkeypatch.setattr("lipbench_basics.datasets.photographs.read_rgb", recorder)
    data, scenes = NaturalImages(size=8, count=1), {}
    for split in ("train", "test"):
        read.clear()
        data.split(split, CTX)
        scenes[split] = {path.stem.split("_")[0] for path in read}
    assert scenes["train"]
    assert scenes["test"]
    assert not scenes["train"] & scenes["test"]


def test_its_files_are_those_that_it_reads() -> None:
    files = NaturalImages().files()
    assert len(set(files)) == 8
    assert all(path.is_file() for path in files)


def test_the_largest_crop_of_a_square_photograph_is_all_of_it() -> None:
    data = NaturalImages(size=16, count=20, smallest=1.0)
    astronaut = next(path for path in data.files() if path.stem == "astronaut")
    whole = np.asarray(Image.open(astronaut).resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert any(np.array_equal(crop, whole) for crop in data.split("train", CTX).inputs)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install 'lipbench\[vision\]'"):
        NaturalImages().files()
