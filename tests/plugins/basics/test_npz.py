# SPDX-License-Identifier: Apache-2.0
"""Numpy archives: which arrays are taken, and which are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lipbench_basics.datasets.npz import Npz

from lipbench.api import Context, InvalidInput

CTX = Context(scope="test")
X = np.random.default_rng(0).normal(size=(10, 3))
Y = np.arange(10) % 4


def save(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "a.npz", **arrays)
    return str(folder / "a.npz")


def test_one_array_is_divided_with_its_labels(tmp_path: Path) -> None:
    data = Npz(path=save(tmp_path, x=X, y=Y))
    train, test = data.split("train", CTX), data.split("test", CTX)
    assert (len(train.inputs), len(test.inputs)) == (8, 2)
    labels = {row.tobytes(): label for row, label in zip(X.astype(np.float32), Y, strict=True)}
    for part in (train, test):
        assert part.targets is not None
        assert [labels[row.tobytes()] for row in part.inputs] == part.targets.tolist()
    spec = data.spec()
    assert (spec.shape, spec.classes, spec.unit) == ((3,), 4, 1.0)
    assert spec.low == X.astype(np.float32).min()
    assert spec.high == X.astype(np.float32).max()


def test_train_and_test_arrays_are_found(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 200, size=(6, 2, 2), dtype=np.uint8)
    data = Npz(path=save(tmp_path, x_train=images[:4], x_test=images[4:], y_train=Y[:4], y_test=Y[4:6]))
    assert np.array_equal(data.split("test", CTX).inputs, images[4:])
    spec = data.spec()
    assert (spec.low, spec.high, spec.unit, spec.classes) == (0.0, 255.0, 255.0, 4)


def test_named_arrays_and_a_stated_range(tmp_path: Path) -> None:
    data = Npz(path=save(tmp_path, features=X, other=X), inputs="features", low=-10, high=10, unit=2)
    spec = data.spec()
    assert (spec.low, spec.high, spec.unit, spec.classes) == (-10, 10, 2, None)
    assert data.split("train", CTX).targets is None


def test_split_in_a_name_is_replaced(tmp_path: Path) -> None:
    data = Npz(path=save(tmp_path, a_train_z=X, a_test_z=X[:4]), inputs="a_{split}_z")
    assert len(data.split("test", CTX).inputs) == 4


def test_one_number_a_row_gets_an_axis(tmp_path: Path) -> None:
    assert Npz(path=save(tmp_path, x=X[:, 0])).spec().shape == (1,)


def with_value(value: float) -> np.ndarray:
    x = X.copy()
    x[6, 1] = value
    return x


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "objects": ({"x": np.array([{}, []], dtype=object)}, {}, "'x' cannot be read: Object arrays cannot be loaded"),
    "nan": ({"x": with_value(np.nan)}, {}, "row 6 of 'x' holds NaN"),
    "too large for float32": ({"x": with_value(1e300)}, {}, "row 6 of 'x' holds NaN or an infinite value"),
    "words": ({"x": np.array(["a", "b"])}, {}, "real numbers, found <U1"),
    "complex": ({"x": X + 1j}, {}, "real numbers, found complex128"),
    "no rows": ({"x": X[:0]}, {}, r"real numbers, found float64 \(0, 3\)"),
    "no such array": ({"a": X}, {}, "has no array x_train or x; write inputs: with one of a"),
    "no such name": ({"x": X}, {"inputs": "y"}, "has no array 'y' for train and test; it has x"),
    "only train": ({"x_train": X}, {"inputs": "x_{split}"}, "has no array 'x_{split}'"),
    "counts differ": ({"x": X, "y": Y[:7]}, {}, "10 inputs, but 7 labels"),
    "negative label": ({"x": X, "y": Y - 1}, {}, "row 0 has -1"),
    "real labels": ({"x": X, "y": Y / 2}, {}, r"must be \(N,\) integers, found float64"),
    "labels of two axes": ({"x": X, "y": np.eye(10, dtype=int)}, {}, r"must be \(N,\) integers, found int64 \(10, 10\)"),
    "outside the range": ({"x": X}, {"low": 0}, r"leave the stated range \[0,"),
    "constant": ({"x": np.ones((4, 2))}, {}, r"the range \[1, 1\] is empty"),
    "shapes differ": ({"x_train": X, "x_test": X[:, :2]}, {}, r"train have shape \(3,\), rows of test \(2,\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    arrays, parameters, message = WRONG[case]
    data = Npz(path=save(tmp_path, **arrays), **parameters)
    with pytest.raises(InvalidInput, match=message) as caught:
        data.spec()
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"\.npz file not found at .* and .*LIPBENCH_DATA or root:"):
        Npz(path="no.npz", root=str(tmp_path)).files()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    whole = Path(save(tmp_path, x=X)).read_bytes()
    for name, content in {"text.npz": b"hello", "cut.npz": whole[: len(whole) // 2], "empty.npz": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidInput, match=r"no \.npz archive, or it is truncated"):
            Npz(path=str(tmp_path / name)).spec()


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    content = bytearray(Path(save(tmp_path, x=X)).read_bytes())
    content[250] ^= 1
    (tmp_path / "a.npz").write_bytes(bytes(content))
    with pytest.raises(InvalidInput, match=r"'x' cannot be read: .*CRC"):
        Npz(path=str(tmp_path / "a.npz")).spec()
