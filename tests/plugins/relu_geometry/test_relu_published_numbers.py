# SPDX-License-Identifier: Apache-2.0
"""The published numbers: complete, and marked where arithmetic says that they cannot be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FILE = Path(__file__).parents[3] / "suites" / "references" / "relu_geometry.yaml"
ENTRIES: list[dict[str, Any]] = YAML(typ="safe").load(FILE.read_text())["entries"]


def _of(words: str) -> list[dict[str, Any]]:
    return [e for e in ENTRIES if e["note"].startswith(words)]


def _marked(entry: dict[str, Any]) -> bool:
    return str(entry.get("verdict", "")).startswith("†")


def test_averages_that_no_fifty_whole_numbers_have_are_marked() -> None:
    found = [e for e in _of("Table 1") if e["unit"] == "cells"]
    assert len(found) == 10
    for e in found:
        possible = abs(e["value"] * 50 - round(e["value"] * 50)) <= 0.005 * 50 + 1e-9
        assert _marked(e) != possible
        assert abs(e["value"] * 30 - round(e["value"] * 30)) <= 0.005 * 30 + 1e-9


def test_counts_on_segments_of_either_parity_are_marked() -> None:
    found = _of("Table 5")
    parities = {int(e["value"] - int(e["note"].split()[-1])) % 2 for e in found}
    assert (len(found), parities) == (6, {0, 1})
    assert all(map(_marked, found))


def test_every_table_is_there() -> None:
    counts = {name: len(_of(f"Table {name}")) for name in "1234567"}
    assert counts == {"1": 20, "2": 5, "3": 12, "4": 27, "5": 6, "6": 3, "7": 3}
    assert [e["where"]["attack"] for e in _of("Table 6") if _marked(e)] == ["fgsm"]
    assert [e["where"].get("split") for e in _of("Table 7") if _marked(e)] == ["test"]
