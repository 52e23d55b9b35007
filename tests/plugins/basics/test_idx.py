# SPDX-License-Identifier: Apache-2.0
"""MNIST-like files: read right, and refused with a reason."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from lipbench_basics.datasets.idx import FashionMnist, Kmnist, Mnist

from lipbench.api import Context, InvalidInput

CTX = Context(scope="test")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, size=(7, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9, 2], dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    head = (2048 + array.ndim).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.tobytes()


def write(root: Path, folder: str = "MNIST", packed: bool = False, changes: dict[str, bytes] | None = None) -> Path:
    """The four files; `changes` replaces contents by `train_images`, `train_labels`, `test_images`, `test_labels`."""
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for split, stem in (("train", "train"), ("test", "t10k")):
        for kind, suffix, array in (("images", "images-idx3-ubyte", IMAGES), ("labels", "labels-idx1-ubyte", LABELS)):
            content = (changes or {}).get(f"{split}_{kind}", idx_bytes(array))
            if packed:
                (raw / f"{stem}-{suffix}.gz").write_bytes(gzip.compress(content))
            else:
                (raw / f"{stem}-{suffix}").write_bytes(content)
    return root


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("cls", "folder"), [(Mnist, "MNIST"), (FashionMnist, "FashionMNIST"), (Kmnist, "KMNIST")])
def test_images_and_labels_are_read(tmp_path: Path, cls: type[Mnist], folder: str, packed: bool) -> None:
    data = cls(root=str(write(tmp_path, folder, packed)))
    part = data.split("test", CTX)
    assert np.array_equal(part.inputs[:, 0], IMAGES)
    assert part.targets is not None
    assert part.targets.tolist() == LABELS.tolist()
    assert data.spec().unit == 255
    assert len(data.files()) == 4
    assert len(cls(root=str(tmp_path), count=3).split("train", CTX).inputs) == 3


def test_the_data_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPBENCH_DATA", str(write(tmp_path)))
    assert len(Mnist().split("train", CTX).inputs) == 7


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"train-images-idx3-ubyte\[.gz\] in .*MNIST.raw.*LIPBENCH_DATA or root:"):
        Mnist(root=str(tmp_path)).files()


WRONG = {
    "truncated": ({"test_images": idx_bytes(IMAGES)[:-5]}, r"truncated: 5,483 of 5,488 bytes"),
    "empty": ({"test_images": b""}, r"truncated: its header has 0 of 16 bytes"),
    "half a header": ({"test_images": idx_bytes(IMAGES)[:9]}, r"truncated: its header has 9 of 16 bytes"),
    "bytes left over": ({"test_labels": idx_bytes(LABELS) + b"x"}, r"longer than the 7 bytes"),
    "not idx": ({"test_images": b"\x89PNG" + bytes(40)}, r"no IDX file of images: magic number 2303741511 where 2051"),
    "images for labels": ({"test_labels": idx_bytes(IMAGES)}, r"mislabelled: it holds images, but its name says labels"),
    "labels for images": ({"test_images": idx_bytes(LABELS)}, r"mislabelled: it holds labels, but its name says images"),
    "counts differ": ({"test_labels": idx_bytes(LABELS[:5])}, r"has 7 images, but .* has 5 labels"),
    "label 10": ({"test_labels": idx_bytes(np.where(LABELS == 4, 10, LABELS).astype(np.uint8))}, r"row 2 has label 10"),
    "other size": ({"test_images": idx_bytes(IMAGES[:, :14, :14].copy())}, r"14x14 pixels, 28x28 belong here"),
    "absurd header": ({"test_labels": b"\0\0\x08\x01\xff\xff\xff\xff"}, r"claims 4,294,967,295 rows"),
    "no rows": ({"test_images": idx_bytes(IMAGES[:0]), "test_labels": idx_bytes(LABELS[:0])}, r"there are no rows"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_refused_in_one_line(tmp_path: Path, case: str, packed: bool) -> None:
    changes, message = WRONG[case]
    data = Mnist(root=str(write(tmp_path, packed=packed, changes=changes)))
    with pytest.raises(InvalidInput, match=message) as caught:
        data.split("test", CTX)
    assert "\n" not in str(caught.value)
    assert len(data.split("train", CTX).inputs) == 7


@pytest.mark.parametrize("cut", [1, 12, -1])
def test_damaged_gzip_is_refused(tmp_path: Path, cut: int) -> None:
    file = write(tmp_path, packed=True) / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(InvalidInput, match=r"truncated|not a gzip file"):
        Mnist(root=str(tmp_path)).split("test", CTX)


def test_plain_bytes_under_a_gz_name_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, packed=True) / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    file.write_bytes(idx_bytes(LABELS))
    with pytest.raises(InvalidInput, match="not a gzip file"):
        Mnist(root=str(tmp_path)).split("test", CTX)


def test_images_are_resized_as_image_libraries_do(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for size in (32, 14):
        data = Mnist(root=str(write(tmp_path / str(size))), size=size)
        found = data.split("test", CTX).inputs
        assert data.spec().shape == found.shape[1:] == (1, size, size)
        for row in range(len(found)):
            expected = image.fromarray(IMAGES[row]).resize((size, size), image.Resampling.BILINEAR)
            assert np.abs(found[row, 0] - np.asarray(expected, dtype=np.float32)).max() <= 1
