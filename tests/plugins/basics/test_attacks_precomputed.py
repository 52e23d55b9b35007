# SPDX-License-Identifier: Apache-2.0
"""Attacked inputs from files: good ones, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lipbench_basics.attacks import Victim
from lipbench_basics.attacks.precomputed import Precomputed
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput

CTX = Context(scope="test", seed=0)
IDS = np.array(["a", "b", "c"])
RGB = DataSpec(shape=(3, 4, 5), low=0.0, high=255.0, unit=255.0, classes=2)


def craft(path: Path, spec: DataSpec = RGB, ids: np.ndarray | None = IDS) -> Tensor:
    """Three rows of zeros, attacked."""
    victim = Victim(embed=nn.Flatten(), head=nn.Identity(), spec=spec)
    return Precomputed(path=str(path)).craft(victim, torch.zeros(3, *spec.shape), torch.zeros(3, dtype=torch.int64), CTX, ids)


def save(path: Path, inputs: np.ndarray, ids: object) -> Path:
    np.savez(path, inputs=inputs, ids=np.asarray(ids))
    return path


def pixels(seed: int, shape: tuple[int, ...] = (4, 5, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_rows_of_an_archive_are_matched_by_their_ids(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).uniform(0, 255, (4, 3, 4, 5)).astype(np.float32)
    path = save(tmp_path / "x.npz", inputs, ["c", "unused", "a", "b"])
    assert np.array_equal(craft(path).numpy(), inputs[[2, 3, 0]])
    assert np.array_equal(
        craft(save(tmp_path / "s.npz", inputs, np.array([b"c", b"u", b"a", b"b"]))).numpy(), inputs[[2, 3, 0]]
    )
    numbered = save(tmp_path / "n.npz", inputs, [7, 5, 6, 4])
    assert np.array_equal(craft(numbered, ids=np.array([4, 5, 6])).numpy(), inputs[[3, 1, 2]])
    assert Precomputed(path=str(path)).files() == [path]
    assert Precomputed(path="x.npz", root=str(tmp_path)).files() == [path]
    assert Precomputed.own is False
    assert Precomputed(path="x").eps is None


def test_images_are_matched_by_the_stem_of_their_file(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "sub").mkdir()
    for seed, name in enumerate(["c.png", "a.png", "sub/b.png", "unused.png"]):
        image.fromarray(pixels(seed)).save(tmp_path / name)
    expected = np.stack([pixels(seed).transpose(2, 0, 1) for seed in (1, 2, 0)])
    assert np.array_equal(craft(tmp_path).numpy(), expected)
    assert len(Precomputed(path=str(tmp_path)).files()) == 4
    unit = DataSpec(shape=(3, 4, 5), low=0.0, high=1.0)
    assert np.allclose(craft(tmp_path, unit).numpy(), expected / 255, atol=1e-7)
    gray = DataSpec(shape=(1, 4, 5), low=0.0, high=255.0, unit=255.0)
    for name in "abc":
        image.fromarray(pixels(9, (4, 5))).save(tmp_path / f"{name}.bmp")
    with pytest.raises(InvalidInput, match=r"has the id '[abc]' 2 times"):
        craft(tmp_path, gray)
    only = tmp_path / "gray"
    only.mkdir()
    for name in "abc":
        (tmp_path / f"{name}.bmp").rename(only / f"{name}.bmp")
    assert np.array_equal(craft(only, gray)[1, 0].numpy(), pixels(9, (4, 5)))


def test_bad_images_are_told(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(InvalidInput, match="no image in"):
        craft(tmp_path)
    for name in "ab":
        image.fromarray(pixels(0)).save(tmp_path / f"{name}.png")
    with pytest.raises(InvalidInput, match="lacks 1 of 3 rows, such as 'c'"):
        craft(tmp_path)
    image.fromarray(pixels(0, (5, 4, 3))).save(tmp_path / "c.png")
    with pytest.raises(InvalidInput, match=r"c.png has shape \(3, 5, 4\), the inputs have \(3, 4, 5\); resize it"):
        craft(tmp_path)
    with pytest.raises(InvalidInput, match=r"write path: with an .npz file"):
        craft(tmp_path, DataSpec(shape=(60,), low=0.0, high=1.0))
    (tmp_path / "c.png").write_bytes(b"no image")
    with pytest.raises(InvalidInput, match=r"c.png is not an image"):
        craft(tmp_path)


GOOD = np.full((3, 3, 4, 5), 7.0, dtype=np.float32)


@pytest.mark.parametrize(
    ("inputs", "ids", "message"),
    [
        (GOOD, ["a", "b", "d"], "lacks 1 of 3 rows, such as 'c'"),
        (GOOD, ["a", "b", "b"], "has the id 'b' 2 times"),
        (GOOD, ["a", "b"], r"\(N, ...\) real numbers and ids \(N,\)"),
        (GOOD[:, :, :2], IDS, r"inputs have shape \(3, 2, 5\), those of the data have \(3, 4, 5\)"),
        (GOOD * 100, IDS, r"row 'a' leaves the data's range \[0, 255\]"),
        (GOOD * np.nan, IDS, "or holds NaN"),
        (GOOD / 255, IDS, "no value exceeds 1, but the data reach 255; multiply the inputs by 255"),
        (np.full((3, 3, 4, 5), "x"), IDS, "real numbers"),
    ],
)
def test_bad_archives_are_told(tmp_path: Path, inputs: np.ndarray, ids: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        craft(save(tmp_path / "x.npz", inputs, ids))


def test_bad_files_and_rows_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not found at"):
        craft(tmp_path / "missing.npz")
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(InvalidInput, match=r"no .npz archive"):
        craft(tmp_path / "x.npz")
    np.savez(tmp_path / "other.npz", x=GOOD)
    with pytest.raises(InvalidInput, match="needs the arrays inputs and ids; it has x"):
        craft(tmp_path / "other.npz")
    good = save(tmp_path / "good.npz", GOOD, IDS)
    with pytest.raises(InvalidInput, match="the dataset gives none"):
        craft(good, ids=None)
    with pytest.raises(InvalidInput, match="gives 2 for 3 rows"):
        craft(good, ids=IDS[:2])
    with pytest.raises(InvalidInput, match="the dataset has the id 'a' 2 times"):
        craft(good, ids=np.array(["a", "a", "b"]))
