# SPDX-License-Identifier: Apache-2.0
"""Street View House Numbers: read right, and refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lipbench_basics.datasets.matlab import read_arrays
from lipbench_basics.datasets.svhn import Svhn
from scipy.io import loadmat, savemat

from lipbench.api import Context, InvalidInput

CTX = Context(scope="test")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, size=(32, 32, 3, 6), dtype=np.uint8)
LABELS = np.array([[3], [10], [4], [1], [9], [2]], dtype=np.uint8)


def write(root: Path, packed: bool = True, **changes: Any) -> Path:
    """Both files; `changes` replaces arrays of the test file, None leaves one out."""
    folder = root / "SVHN"
    folder.mkdir(parents=True)
    arrays = {"X": IMAGES, "y": LABELS}
    savemat(folder / "train_32x32.mat", arrays, do_compression=packed)
    test = {name: array for name, array in {**arrays, **changes}.items() if array is not None}
    savemat(folder / "test_32x32.mat", test, do_compression=packed)
    return root


@pytest.mark.parametrize("packed", [False, True])
def test_images_and_labels_are_read(tmp_path: Path, packed: bool) -> None:
    data = Svhn(root=str(write(tmp_path, packed)))
    part = data.split("train", CTX)
    assert part.inputs.shape == (6, 3, 32, 32)
    assert part.inputs.dtype == np.float32
    assert part.inputs.flags.c_contiguous
    for row in range(6):
        for channel in range(3):
            assert np.array_equal(part.inputs[row, channel], IMAGES[:, :, channel, row])
    assert part.targets.tolist() == [3, 0, 4, 1, 9, 2]
    assert part.targets.dtype == np.int64
    assert (data.spec().unit, data.spec().classes) == (255, 10)
    assert [path.name for path in data.files()] == ["train_32x32.mat", "test_32x32.mat"]
    first = Svhn(root=str(tmp_path), count=2).split("test", CTX)
    assert np.array_equal(first.inputs, part.inputs[:2])
    assert first.targets.tolist() == [3, 0]


def test_all_that_scipy_writes_is_read_back(tmp_path: Path) -> None:
    kinds = ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8"]
    arrays = {f"of_{kind}": np.array([[0, 3, 6], [9, 1, 100]]).astype(kind) * (-1 if kind[0] in "if" else 1) for kind in kinds}
    others = {"text": "words", "cell": np.array([1, "a"], dtype=object), "record": {"a": 1.0}}
    for packed in (False, True):
        file = tmp_path / "kinds.mat"
        savemat(file, {**arrays, **others}, do_compression=packed)
        found = read_arrays(file, list(arrays))
        assert sorted(found) == sorted(arrays)
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], loadmat(file)[name])


def test_files_of_the_other_byte_order_are_read(tmp_path: Path) -> None:
    def part(kind: int, content: bytes) -> bytes:
        return kind.to_bytes(4, "big") + len(content).to_bytes(4, "big") + content + bytes(-len(content) % 8)

    sizes = (2).to_bytes(4, "big") + (3).to_bytes(4, "big")
    numbers = np.arange(6, dtype=">i2").tobytes()
    array = part(6, bytes([0, 0, 0, 10]) + bytes(4)) + part(5, sizes) + part(1, b"y") + part(3, numbers)
    (tmp_path / "big.mat").write_bytes(bytes(124) + b"\x01\x00MI" + part(14, array))
    assert read_arrays(tmp_path / "big.mat", ["y"])["y"].tolist() == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize("kind", ["f8", "i4"])
def test_labels_may_be_stored_as_other_numbers(tmp_path: Path, kind: str) -> None:
    part = Svhn(root=str(write(tmp_path, y=LABELS.astype(kind)))).split("test", CTX)
    assert part.targets.tolist() == [3, 0, 4, 1, 9, 2]
    assert part.targets.dtype == np.int64


def test_labels_may_lie_in_a_row(tmp_path: Path) -> None:
    assert Svhn(root=str(write(tmp_path, y=LABELS.T))).split("test", CTX).targets.tolist() == [3, 0, 4, 1, 9, 2]


def test_the_data_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPBENCH_DATA", str(write(tmp_path)))
    assert len(Svhn().split("test", CTX).inputs) == 6


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no file train_32x32.mat in .*SVHN; put it there, or set LIPBENCH_DATA or root:"):
        Svhn(root=str(tmp_path)).files()


WRONG = {
    "no images": ({"X": None}, "mislabelled: it has no array 'X'"),
    "no labels": ({"y": None}, "mislabelled: it has no array 'y'"),
    "another layout": (
        {"X": IMAGES.transpose(3, 0, 1, 2)},
        r"X must be uint8 of shape \(32, 32, 3, N\), it is uint8 of shape \(6, 32, 32, 3\)",
    ),
    "one image": ({"X": IMAGES[..., 0]}, r"it is uint8 of shape \(32, 32, 3\)"),
    "real pixels": ({"X": IMAGES / 255}, r"it is float64 of shape \(32, 32, 3, 6\)"),
    "text for labels": ({"y": "3041"}, "mislabelled: y is no array of real numbers"),
    "complex labels": ({"y": LABELS * 1j}, "mislabelled: y is no array of real numbers"),
    "cells for labels": ({"y": np.array([1, "a"], dtype=object)}, "mislabelled: y is no array of real numbers"),
    "counts differ": ({"y": LABELS[:5]}, r"has 6 images, but labels y of shape \(5, 1\)"),
    "label 11": ({"y": np.where(LABELS == 4, 11, LABELS).astype(np.uint8)}, "mislabelled: row 2 has label 11, 1..10"),
    "label 0": ({"y": LABELS % 10}, "mislabelled: row 1 has label 0, 1..10"),
    "half a label": ({"y": LABELS / 2}, "mislabelled: row 0 has label 1.5, 1..10"),
    "no number": ({"y": LABELS * np.nan}, "mislabelled: row 0 has label nan, 1..10"),
    "no rows": ({"X": IMAGES[..., :0], "y": LABELS[:0]}, "there are no rows"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    changes, message = WRONG[case]
    data = Svhn(root=str(write(tmp_path, **changes)))
    with pytest.raises(InvalidInput, match=message) as caught:
        data.split("test", CTX)
    assert "\n" not in str(caught.value)
    assert len(data.split("train", CTX).inputs) == 6


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_cut_anywhere_is_refused_in_one_line(tmp_path: Path, packed: bool) -> None:
    file = write(tmp_path, packed) / "SVHN" / "test_32x32.mat"
    whole, data = file.read_bytes(), Svhn(root=str(tmp_path))
    for cut in (0, 1, 60, 127, 128, 131, 136, 150, 200, 1000, len(whole) // 2, len(whole) - 100, len(whole) - 20):
        file.write_bytes(whole[:cut])
        with pytest.raises(InvalidInput) as caught:
            data.split("test", CTX)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
def test_damaged_bytes_never_crash(tmp_path: Path, packed: bool) -> None:
    file = write(tmp_path, packed) / "SVHN" / "test_32x32.mat"
    whole, refused = file.read_bytes(), 0
    rng = np.random.default_rng(1)
    for place in [*range(124, 200), *rng.integers(200, len(whole), 40).tolist(), *range(len(whole) - 80, len(whole))]:
        broken = bytearray(whole)
        broken[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(broken)
        try:
            Svhn(root=str(tmp_path)).split("test", CTX)  # anew, as a dataset reads a file once
        except InvalidInput:
            refused += 1
    assert refused > 60


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG" + bytes(400), "no MATLAB file of version 5"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(300), "of version 7.3; save it again with -v7"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = write(tmp_path) / "SVHN" / "test_32x32.mat"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        Svhn(root=str(tmp_path)).split("test", CTX)
