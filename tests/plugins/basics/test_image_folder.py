# SPDX-License-Identifier: Apache-2.0
"""Folders of images in their three layouts, and what is wrong with some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lipbench_basics.datasets.folder import ImageFolder

from lipbench.api import Context, InvalidInput

Image = pytest.importorskip("PIL.Image")
CTX = Context(scope="test")


def paint(path: Path, red: int, width: int = 20, height: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (red, 10, 200)).save(path)


def test_images_without_classes(tmp_path: Path) -> None:
    for i in range(10):
        paint(tmp_path / f"{i}.png", red=i)
    (tmp_path / "README.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    data = ImageFolder(path=str(tmp_path), size=8)
    train, test = data.split("train", CTX), data.split("test", CTX)
    assert data.spec().classes is None
    assert train.targets is None
    assert (len(train.inputs), len(test.inputs)) == (8, 2)
    assert train.inputs.shape[1:] == (3, 8, 8)
    reds = [*train.inputs[:, 0, 0, 0], *test.inputs[:, 0, 0, 0]]
    assert sorted(reds) == list(range(10)), "every image is in one split"
    assert set(np.unique(train.inputs[:, 2])) == {200}
    assert len(data.files()) == 10


def test_class_subfolders_give_labels(tmp_path: Path) -> None:
    for name, red in (("cat", 0), ("dog", 100)):
        for i in range(5):
            paint(tmp_path / name / f"{i}.jpg", red=red)
    data = ImageFolder(path=str(tmp_path), size=4, test_fraction=0.4)
    part = data.split("train", CTX)
    assert data.spec().classes == 2
    assert part.targets is not None
    assert np.array_equal(part.targets == 1, part.inputs[:, 0, 0, 0] > 50)


def test_train_and_test_subfolders_are_kept_apart(tmp_path: Path) -> None:
    for split, red in (("train", 10), ("test", 20)):
        for name in ("a", "b", "c"):
            paint(tmp_path / split / name / "x.PNG", red=red)
    data = ImageFolder(path=tmp_path.name, size=4, root=str(tmp_path.parent))
    test = data.split("test", CTX)
    assert data.spec().classes == 3
    assert test.targets is not None
    assert test.targets.tolist() == [0, 1, 2]
    assert set(np.unique(test.inputs[:, 0])) == {20}


def test_count_bounds_the_rows_and_does_not_move_with_the_seed(tmp_path: Path) -> None:
    for i in range(12):
        paint(tmp_path / f"{i}.png", red=i)
    data = ImageFolder(path=str(tmp_path), size=2, count=3)
    part = data.split("train", CTX)
    assert len(part.inputs) == 3
    assert np.array_equal(part.inputs, data.split("train", Context(scope="other", seed=5)).inputs)


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (5, 5), 77).save(tmp_path / "a.png")
    Image.new("RGBA", (5, 5), (77, 77, 77, 128)).save(tmp_path / "b.png")
    data = ImageFolder(path=str(tmp_path), size=5)
    for split in ("train", "test"):
        assert set(np.unique(data.split(split, CTX).inputs)) == {77}


def test_a_missing_folder_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"image folder not found at .*nowhere and .*nowhere; .*LIPBENCH_DATA or root:"):
        ImageFolder(path="nowhere", root=str(tmp_path)).spec()


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no image in"):
        ImageFolder(path=str(tmp_path)).spec()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", red=0)
    with pytest.raises(InvalidInput, match="is a file"):
        ImageFolder(path=str(tmp_path / "a.png")).spec()


def test_a_mixed_layout_is_refused(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", red=0)
    paint(tmp_path / "cat" / "b.png", red=0)
    with pytest.raises(InvalidInput, match="some images lie in class subfolders and some do not"):
        ImageFolder(path=str(tmp_path)).spec()


@pytest.mark.parametrize(("content", "message"), [(b"no picture", "is not an image"), (b"", "is not an image")])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"a\.png {message}|b\.png {message}"):
        ImageFolder(path=str(tmp_path)).split("train", CTX)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(64, 64, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(noise).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match=r"\.png cannot be read as an image: .*truncated"):
        ImageFolder(path=str(tmp_path)).split("train", CTX)


def test_rows_are_called_by_their_files(tmp_path: Path) -> None:
    for i in range(6):
        paint(tmp_path / f"val_{i:04}.JPEG", red=i)
    data = ImageFolder(path=str(tmp_path), size=2)
    train, test = data.split("train", CTX), data.split("test", CTX)
    assert train.ids is not None
    assert test.ids is not None
    assert sorted([*train.ids, *test.ids]) == [f"val_{i:04}" for i in range(6)]
    few = ImageFolder(path=str(tmp_path), size=2, count=2).split("train", CTX)
    assert few.ids is not None
    assert len(few.ids) == len(few.inputs) == 2
    for row, name in zip(few.inputs, few.ids, strict=True):
        assert np.array_equal(row, train.inputs[train.ids.tolist().index(name)])


@pytest.mark.parametrize("divided", [True, False])
def test_rows_of_one_name_in_two_classes_are_told_apart(tmp_path: Path, divided: bool) -> None:
    for top in ("train", "test") if divided else (".",):
        for name in ("cat", "dog"):
            for i in range(3):
                paint(tmp_path / top / name / f"{i}.png", red=i)
    data = ImageFolder(path=str(tmp_path), size=2)
    parts = [data.split(split, CTX).ids for split in ("train", "test")]
    expected = [f"{name}/{i}" for name in ("cat", "dog") for i in range(3)]
    if divided:
        assert [ids.tolist() for ids in parts if ids is not None] == [expected, expected]
    else:
        assert sorted(name for ids in parts if ids is not None for name in ids) == expected


def test_names_that_differ_leave_the_class_folders_out(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for i, name in enumerate(("cat", "dog")):
            paint(tmp_path / split / name / f"image_{i}.png", red=i)
    ids = ImageFolder(path=str(tmp_path), size=2).split("test", CTX).ids
    assert ids is not None
    assert ids.tolist() == ["image_0", "image_1"]


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (256, 256), (100, 301)])
def test_the_shorter_side_is_resized_and_the_centre_cut_out(tmp_path: Path, width: int, height: int) -> None:
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    picture = np.stack([across / width * 200, down / height * 200, 0 * down], axis=2).astype(np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(picture).save(tmp_path / name)
    data = ImageFolder(path=str(tmp_path), size=56, resize=64)
    found = data.split("train", CTX).inputs[0]
    short = min(width, height)
    large = Image.fromarray(picture).resize((64 * width // short, 64 * height // short), Image.Resampling.BILINEAR)
    left, top = (large.width - 56) / 2, (large.height - 56) / 2
    whole = np.asarray(large).transpose(2, 0, 1)
    assert found.shape == data.spec().shape == (3, 56, 56)
    assert np.array_equal(found, whole[:, round(top) : round(top) + 56, round(left) : round(left) + 56])
    middle = found[:2].mean((1, 2))
    assert np.allclose(middle, 100, atol=2), "the cut is centred"


def test_a_cut_larger_than_the_resized_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="resize: 100 is less than size: 224; write at least 224, or null"):
        ImageFolder(path=str(tmp_path), resize=100)
