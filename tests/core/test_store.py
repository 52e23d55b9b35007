# SPDX-License-Identifier: Apache-2.0
"""The file of records: what is read back, and which lines are refused."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from lipbench.api import LipbenchError, Record
from lipbench.results.cells import read_cells
from lipbench.results.store import RECORDS, Store, read_history, read_records


def make(cell: str = "c0", **fields: Any) -> Record:
    given = {
        "cell": cell, "suite": "s", "task": "t", "roles": {"data": "numbers"}, "params": {"task": {}}, "seed": 0, "metric": "mean",
        "uses": {"task": "t"}, "code": {"task": "0"}, "data": {}, "status": "ok", "value": 1.5, "cost": {"seconds": 2.0},
    }  # fmt: skip
    return Record(**{**given, **fields})


def write(folder: Path, *records: Record) -> Path:
    with Store(folder) as store:
        store.append(records)
    return folder / RECORDS


def test_what_is_written_is_read(tmp_path: Path) -> None:
    extras = {"a": [1, 2.5, None, True, "é\n", "\udce9"], "big": 2**70, "tiny": 5e-324, "deep": {"x": {"y": {}}}}
    error = {"class": "crash", "message": "a name such as \udce9"}
    sent = [make("c1", extras=extras), make("c2", status="failed", value=None, error=error), make("c3", value=-3, cost={})]
    write(tmp_path, *sent)
    assert list(read_records(tmp_path)) == sent


def test_the_last_line_of_a_cell_counts_in_the_place_of_the_first(tmp_path: Path) -> None:
    write(tmp_path, make("a", status="failed", value=None), make("b"), make("a", value=7.0))
    assert [(r.cell, r.value) for r in read_records(tmp_path)] == [("a", 7.0), ("b", 1.5)]
    assert read_history(tmp_path).statuses == {"a": "ok", "b": "ok"}
    assert [r.cell for r in read_records(tmp_path, {"b", "c"})] == ["b"]


def test_no_order_of_lines_changes_which_record_counts(tmp_path: Path) -> None:
    lines = [
        make("a", status="failed", value=None, run="20260101-000000-aaaaaa"),
        make("a", value=7.0, run="20260102-000000-bbbbbb"),
        make("a", status="failed", value=None, run="20260102-000000-bbbbbb"),
    ]
    for number, order in enumerate(permutations(lines)):
        folder = tmp_path / str(number)
        write(folder, *order)
        assert [r.value for r in read_records(folder)] == [7.0]
        assert read_cells(folder, {"a"})["a"].value == 7.0
        assert read_history(folder).statuses == {"a": "ok"}


def test_a_history_has_mean_costs_of_good_cells(tmp_path: Path) -> None:
    write(
        tmp_path,
        make("a", cost={"seconds": 1.0}),
        make("b", cost={"seconds": 4.0}),
        make("c", metric="other", cost={}),
        make("d", status="timeout", value=None, cost={"seconds": 900.0}),
    )
    assert read_history(tmp_path).seconds == {"mean": 2.5}


def test_an_empty_folder_has_no_history(tmp_path: Path) -> None:
    assert read_history(tmp_path / "nothing").statuses == {}
    assert list(read_records(tmp_path)) == []


WRONG = {
    "cell": 3,
    "status": "good",
    "value": None,
    "seed": "0",
    "roles": ["data"],
    "params": None,
    "code": "0",
    "extras": [],
    "cost": {"seconds": "long"},
    "error": "words",
    "interval": {"low": 1.0},
}


@pytest.mark.parametrize(
    "name", [*WRONG, "parameters", "label", "missing", "infinite", "huge", "list", "half", "garbage", "bytes", "deep"]
)
def test_a_damaged_line_is_named(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, make("a"), make("b"))
    good = path.read_bytes().splitlines(keepends=True)
    fields = json.loads(good[1])
    line: bytes = {
        "parameters": json.dumps({**fields, "params": {"model": 5}}).encode(),
        "label": json.dumps({**fields, "uses": {"model": 5}}).encode(),
        "missing": json.dumps({k: v for k, v in fields.items() if k != "uses"}).encode(),
        "infinite": json.dumps({**fields, "value": float("inf")}).encode(),
        "huge": good[1].replace(b"1.5", b"1e999").strip(),
        "list": b"[1, 2]",
        "half": good[1][:40],
        "garbage": b"garbage",
        "bytes": b"\xff\xfe",
        "deep": b"[" * 100_000,
    }.get(name, json.dumps({**fields, name: WRONG.get(name)}).encode())
    path.write_bytes(good[0] + b"\n" + line + b"\n" + good[1])
    for read in (read_history, lambda folder: list(read_records(folder))):
        with pytest.raises(LipbenchError) as caught:
            read(tmp_path)
        assert str(caught.value) == f"{path}:3: this line is no record; delete it and its cell runs again"


@pytest.mark.parametrize("size", [0, 1, 50, 65_535, 65_536, 65_537, 200_000])
def test_a_torn_tail_of_any_length_is_dropped(size: int, tmp_path: Path) -> None:
    path = write(tmp_path, make("a"), make("b"))
    whole = path.read_bytes()
    path.write_bytes(whole + b"x" * size)
    assert set(read_history(tmp_path).statuses) == {"a", "b"}
    with Store(tmp_path) as store:
        assert path.read_bytes() == whole
        store.append([make("c")])
    assert set(read_history(tmp_path).statuses) == {"a", "b", "c"}


def test_a_file_that_is_one_torn_line_is_emptied(tmp_path: Path) -> None:
    (tmp_path / RECORDS).write_bytes(b"x" * 100_000)
    with Store(tmp_path):
        assert (tmp_path / RECORDS).read_bytes() == b""
