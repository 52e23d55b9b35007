# SPDX-License-Identifier: Apache-2.0
"""Reference files are checked with the line of every fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lipbench.contract.errors import SuiteError
from lipbench.suite.references import load_references

GOOD = """\
citation: Somebody, How steep (2020), doi:10.1/x
entries:
  - quantity: steepest pair
    value: 0.123
    unit: m
    where: {network: "mlp*", count: 32, radius: null, fast: true}
    extra: k_raw
    note: table 1
    verdict: rounding noise
  - {quantity: mean, value: 2, where: {metric: line_search}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "references.yaml"
    path.write_text(text)
    return path


def test_a_good_file_becomes_json(tmp_path: Path) -> None:
    loaded = load_references(write(tmp_path, GOOD))
    assert json.loads(json.dumps(loaded, allow_nan=False)) == loaded
    first, second = loaded["entries"]
    assert loaded["citation"] == "Somebody, How steep (2020), doi:10.1/x"
    assert first["where"] == {"network": "mlp*", "count": "32", "radius": "null", "fast": "true"}
    assert (first["value"], first["unit"], first["extra"], first["note"], first["verdict"]) == (
        0.123,
        "m",
        "k_raw",
        "table 1",
        "rounding noise",
    )
    assert second == {
        "quantity": "mean", "value": 2, "unit": "", "where": {"metric": "line_search"}, "extra": None, "note": "",
        "verdict": "",
    }  # fmt: skip


ENTRY = "citation: c\nentries:\n  - quantity: q\n    value: 1\n    where: {metric: m}\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "the file is empty"),
        ("- 1\n", 1, "is a mapping with"),
        ("citation: c\n", 1, "`entries:` is missing"),
        ("citation: c\nentries: []\n", 2, "entries: "),
        ("citation: 7\nentries: [{quantity: q, value: 1, where: {metric: m}}]\n", 1, "citation: "),
        (ENTRY + "    valu: 3\n", 6, "unknown key 'valu'; did you mean 'value'?"),
        (ENTRY + "source: x\n", 6, "unknown key 'source'"),
        (ENTRY.replace("value: 1", "value: big"), 4, "must be a finite number, found 'big'"),
        (ENTRY.replace("value: 1", "value: .nan"), 4, "must be a finite number, found nan"),
        (ENTRY.replace("value: 1", "value: -.inf"), 4, "must be a finite number, found -inf"),
        (ENTRY.replace("value: 1", "value: true"), 4, "must be a finite number, found True"),
        (ENTRY.replace("    value: 1\n", ""), 3, "`entries.0.value:` is missing"),
        (ENTRY.replace("{metric: m}", "{}"), 5, "entries.0.where: "),
        (ENTRY.replace("{metric: m}", "{metric: [a]}"), 5, "entries.0.where.metric: "),
        (ENTRY.replace("{metric: m}", "line_search"), 5, "entries.0.where: "),
        (ENTRY + "    note: 2020-01-01\n", 6, "a date has no place in a suite"),
        (ENTRY + "    value: 2\n", 6, "appears twice"),
        ("citation: [\n", 2, ""),
    ],
)
def test_a_fault_has_its_line(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SuiteError) as caught:
        load_references(path)
    place = f"{path}:{line}: " if line is not None else f"{path}: "
    assert str(caught.value).startswith(place)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"nowhere\.yaml: there is no such file"):
        load_references(tmp_path / "nowhere.yaml")
