# SPDX-License-Identifier: Apache-2.0
"""CIFAR files in both layouts: read right, never run, and refused with a reason."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lipbench_basics.datasets.cifar import Cifar10, Cifar100
from lipbench_basics.datasets.pickled import read_table

from lipbench.api import Context, InvalidInput

CTX = Context(scope="test")
TRAIN = [f"data_batch_{i}" for i in range(1, 6)]
LABELS = [3, 1, 4]


def pixels(salt: int = 0) -> np.ndarray:
    """(3, 3072) uint8, as many rows as there are labels."""
    return np.random.default_rng(salt).integers(0, 256, size=(len(LABELS), 3072), dtype=np.uint8)


def table(salt: int = 0, **labels: list[int]) -> bytes:
    """A pickled file as Python 3 writes it."""
    words = {key.encode(): value for key, value in labels.items()}
    return pickle.dumps({b"batch_label": b"batch", b"data": pixels(salt), **words}, protocol=3)


def old_table(salt: int = 0) -> bytes:
    """A pickled file of CIFAR-10 as Python 2 wrote it, one instruction a line."""
    rows = pixels(salt)
    short = {word: b"U" + bytes([len(word)]) + word for word in (b"data", b"labels", b"u1", b"b", b"|")}
    return b"".join([
        b"\x80\x02}(", short[b"data"],
        b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n", b"K\x00\x85", short[b"b"], b"\x87R",
        b"(K\x01", b"K", bytes([len(rows)]), b"M\x00\x0c\x86",
        b"cnumpy\ndtype\n", short[b"u1"], b"K\x00K\x01\x87R",
        b"(K\x03", short[b"|"], b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
        b"\x89T", rows.size.to_bytes(4, "little"), rows.tobytes(), b"tb",
        short[b"labels"], b"](", b"".join(b"K" + bytes([label]) for label in LABELS), b"eu.",
    ])  # fmt: skip


def binary(salt: int = 0, coarse: bool = False) -> bytes:
    labels = np.array(LABELS, dtype=np.uint8)[:, None]
    return np.hstack([labels + 10, labels, pixels(salt)] if coarse else [labels, pixels(salt)]).astype(np.uint8).tobytes()


def write(root: Path, folder: str, files: dict[str, bytes]) -> Path:
    (root / folder).mkdir(parents=True)
    for name, content in files.items():
        (root / folder / name).write_bytes(content)
    return root


def ten_binary(root: Path, **changes: bytes) -> Path:
    files = {f"{name}.bin": binary(i) for i, name in enumerate([*TRAIN, "test_batch"])}
    return write(root, "cifar-10-batches-bin", files | {f"{name}.bin": content for name, content in changes.items()})


def ten_python(root: Path, **changes: bytes) -> Path:
    files = {name: table(i, labels=LABELS) for i, name in enumerate([*TRAIN, "test_batch"])}
    return write(root, "cifar-10-batches-py", files | changes)


@pytest.mark.parametrize("layout", [ten_binary, ten_python])
def test_cifar10_is_read(tmp_path: Path, layout: Any) -> None:
    data = Cifar10(root=str(layout(tmp_path)))
    train, test = data.split("train", CTX), data.split("test", CTX)
    assert data.spec().shape == (3, 32, 32)
    assert (data.spec().low, data.spec().high, data.spec().unit, data.spec().classes) == (0, 255, 255, 10)
    assert train.inputs.dtype == np.float32
    assert np.array_equal(train.inputs, np.concatenate([pixels(i) for i in range(5)]).reshape(-1, 3, 32, 32))
    assert np.array_equal(test.inputs.reshape(-1, 3072), pixels(5))
    assert train.targets is not None
    assert train.targets.dtype == np.int64
    assert train.targets.tolist() == LABELS * 5
    assert train.ids is None
    assert [file.stem for file in data.files()] == [*TRAIN, "test_batch"]


@pytest.mark.parametrize("kind", ["binary", "python"])
def test_cifar100_has_the_fine_labels(tmp_path: Path, kind: str) -> None:
    if kind == "binary":
        write(tmp_path, "cifar-100-binary", {f"{name}.bin": binary(i, coarse=True) for i, name in enumerate(["train", "test"])})
    else:
        both = {"fine_labels": LABELS, "coarse_labels": [13, 11, 14]}
        write(tmp_path, "cifar-100-python", {name: table(i, **both) for i, name in enumerate(["train", "test"])})
    data = Cifar100(root=str(tmp_path))
    part = data.split("test", CTX)
    assert np.array_equal(part.inputs.reshape(-1, 3072), pixels(1))
    assert part.targets is not None
    assert part.targets.tolist() == LABELS
    assert data.spec().classes == 100
    assert len(data.files()) == 2


def test_files_of_python_2_are_read(tmp_path: Path) -> None:
    part = Cifar10(root=str(ten_python(tmp_path, test_batch=old_table(9)))).split("test", CTX)
    assert np.array_equal(part.inputs.reshape(-1, 3072), pixels(9))
    assert part.targets is not None
    assert part.targets.tolist() == LABELS


def test_red_comes_first_and_rows_run_from_the_top(tmp_path: Path) -> None:
    row = np.zeros(3072, dtype=np.uint8)
    row[0], row[31], row[1024 + 32] = 10, 20, 30
    content = b"\x07" + row.tobytes()
    image = Cifar10(root=str(ten_binary(tmp_path, test_batch=content))).split("test", CTX).inputs[0]
    assert (image[0, 0, 0], image[0, 0, 31], image[1, 1, 0]) == (10, 20, 30)
    assert image.sum() == 60


@pytest.mark.parametrize("layout", [ten_binary, ten_python])
@pytest.mark.parametrize("count", [1, 3, 4, 15, 99])
def test_count_takes_the_first_rows(tmp_path: Path, layout: Any, count: int) -> None:
    part = Cifar10(root=str(layout(tmp_path)), count=count).split("train", CTX)
    whole = np.concatenate([pixels(i) for i in range(5)])[:count]
    assert np.array_equal(part.inputs.reshape(-1, 3072), whole)
    assert part.targets is not None
    assert part.targets.tolist() == (LABELS * 5)[:count]


def test_the_data_folder_comes_from_the_environment_and_binary_files_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIPBENCH_DATA", str(ten_python(tmp_path)))
    assert len(Cifar10().split("train", CTX).inputs) == 15
    ten_binary(tmp_path, test_batch=binary(77))
    assert np.array_equal(Cifar10().split("test", CTX).inputs.reshape(-1, 3072), pixels(77))


def test_missing_folders_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"neither folder cifar-10-batches-bin nor cifar-10-batches-py is in .*LIPBENCH_DATA"
    ):
        Cifar10(root=str(tmp_path)).files()
    (ten_binary(tmp_path) / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(InvalidInput, match=r"no file data_batch_3\.bin in .*cifar-10-batches-bin"):
        Cifar10(root=str(tmp_path)).files()
    with pytest.raises(InvalidInput, match="there is no split 'validation'"):
        Cifar10(root=str(tmp_path)).split("validation", CTX)


WRONG_BINARY = {
    "truncated": (binary()[:-1], "truncated or of another kind: 9,218 bytes are no whole number of rows of 3,073"),
    "empty": (b"", "truncated or of another kind: 0 bytes"),
    "cifar100": (binary(coarse=True), "truncated or of another kind: 9,222 bytes"),
    "label 10": (bytes([10]) + binary()[1:], r"mislabelled: row 0 has label 10, 0\.\.9 are possible in cifar-10-batches-bin"),
}


@pytest.mark.parametrize("case", WRONG_BINARY)
def test_wrong_binary_files_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, message = WRONG_BINARY[case]
    data = Cifar10(root=str(ten_binary(tmp_path, test_batch=content)))
    with pytest.raises(InvalidInput, match=message) as caught:
        data.split("test", CTX)
    assert "\n" not in str(caught.value)
    assert len(data.split("train", CTX).inputs) == 15


def pickled(**parts: object) -> bytes:
    return pickle.dumps({key.encode(): value for key, value in parts.items()}, protocol=3)


WRONG_PYTHON = {
    "empty": (b"", "truncated: the pickled data ends too early"),
    "words": (b"hello", "no pickled table of CIFAR, or it is damaged"),
    "list": (pickle.dumps([1, 2]), "it holds a list where a dictionary belongs"),
    "no data": (pickled(labels=LABELS), "mislabelled: it has no 'data', only labels"),
    "cifar100": (table(fine_labels=LABELS), "mislabelled: it has no 'labels', only batch_label, data, fine_labels"),
    "counts differ": (table(labels=[1, 2]), "has 3 images, but 2 labels"),
    "label 10": (table(labels=[1, 10, 2]), r"mislabelled: row 1 has label 10, 0\.\.9 are possible"),
    "label -1": (table(labels=[1, 2, -1]), r"mislabelled: row 2 has label -1"),
    "label of 100 bits": (table(labels=[1, 2, 2**100]), r"mislabelled: row 2 has label 1267650600228229401496703205376"),
    "labels in words": (pickled(data=pixels(), labels=["cat"] * 3), "'labels' is no list of whole numbers"),
    "labels in an array": (pickled(data=pixels(), labels=np.zeros(3, np.uint8)), "'labels' is no list of whole numbers"),
    "other size": (pickled(data=pixels()[:, :5].copy(), labels=LABELS), r"data must be an array \(N, 3,072\) of bytes"),
    "no array": (pickled(data=[1, 2, 3], labels=LABELS), r"data must be an array \(N, 3,072\) of bytes, it is list"),
    "floats": (pickled(data=pixels().astype(np.float32), labels=LABELS), "an array is not one of 8-bit numbers"),
    "objects": (pickled(data=pixels().astype(object), labels=LABELS), "an array is not one of 8-bit numbers"),
    "columns": (pickled(data=np.asfortranarray(pixels()), labels=LABELS), "an array is not one of 8-bit numbers in row order"),
    "array without content": (
        b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\n)Rs.",
        "an array has no content",
    ),
    "array of another shape": (table(labels=LABELS).replace(b"M\x00\x0c", b"M\x00\x0b"), r"an array of shape \(3, 2816\) has"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_PYTHON)
def test_wrong_pickled_files_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, message = WRONG_PYTHON[case]
    data = Cifar10(root=str(ten_python(tmp_path, test_batch=content)))
    with pytest.raises(InvalidInput, match=message) as caught:
        data.split("test", CTX)
    assert "\n" not in str(caught.value)
    assert "test_batch" in str(caught.value)


@pytest.mark.parametrize("content", [table(labels=LABELS), old_table()], ids=["python3", "python2"])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, content: bytes) -> None:
    for length in [*range(200), *range(200, len(content), 997), *range(len(content) - 30, len(content))]:
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(InvalidInput, match=r"cut is (truncated|no pickled table)"):
            read_table(tmp_path / "cut")


def test_foreign_bytes_never_escape_as_another_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole, refused = np.frombuffer(table(labels=LABELS), dtype=np.uint8), 0
    head = np.r_[0:160, len(whole) - 60 : len(whole)]
    for _ in range(300):
        broken = whole.copy()
        places = rng.choice(head, size=2)
        broken[places] = rng.integers(0, 128, size=2)
        (tmp_path / "broken").write_bytes(broken.tobytes())
        try:
            read_table(tmp_path / "broken")
        except InvalidInput:
            refused += 1
    assert refused > 100


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_pickled_file_is_not_run(tmp_path: Path, protocol: int) -> None:
    sprung = tmp_path / "sprung"
    trap = pickle.dumps({b"data": Trap(sprung), b"labels": LABELS}, protocol=protocol)
    with pytest.raises(InvalidInput, match=r"it names .*, which could run code"):
        Cifar10(root=str(ten_python(tmp_path, test_batch=trap))).split("test", CTX)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins\neval",
        "os\nsystem",
        "posix\nsystem",
        "numpy\nload",
        "numpy\nfromfile",
        "copyreg\n_reconstructor",
        "numpy\ndtype.x",
    ],
)
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(b"\x80\x02c" + name.encode() + b"\n.")
    with pytest.raises(InvalidInput, match=f"it names {name.replace(chr(10), '.')}, which could run code"):
        read_table(tmp_path / "a")
