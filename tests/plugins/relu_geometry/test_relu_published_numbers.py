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
    found = [e for e in _of("Table 1") if e["unit"] == "cells" and "extra" not in e]
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


def test_every_table_is_there_with_its_spreads() -> None:
    means = {name: sum("extra" not in e for e in _of(f"Table {name}")) for name in "1234567"}
    assert means == {"1": 20, "2": 5, "3": 12, "4": 27, "5": 6, "6": 3, "7": 3}
    spreads = {name: sum("extra" in e for e in _of(f"Table {name}")) for name in "1234567"}
    assert spreads == {"1": 50, "2": 15, "3": 0, "4": 27, "5": 0, "6": 9, "7": 9}
    assert {e["extra"] for e in ENTRIES if "extra" in e} == {"sd", "median", "min", "max"}
    assert [e["where"]["attack"] for e in _of("Table 6") if _marked(e)] == ["fgsm"] * 3
    assert [e["where"].get("split") for e in _of("Table 7") if _marked(e)] == ["test"] * 2
    assert sorted(e["value"] for e in _of("text of Figure 4")) == [21, 41, 49, 303]
    assert len([e for e in ENTRIES if e["quantity"] == "accuracy"]) == 8


def test_means_lie_between_their_ends_but_where_it_is_marked() -> None:
    by_place: dict[str, dict[str, dict[str, Any]]] = {}
    for e in ENTRIES:
        by_place.setdefault(str((e["note"], sorted(e["where"].items()))), {})[e.get("extra", "mean")] = e
    whole = [group for group in by_place.values() if {"mean", "min", "max"} <= set(group)]
    assert len(whole) == 10 + 5 + 3 + 3
    for group in whole:
        low, mean, high = (group[k]["value"] for k in ("min", "mean", "max"))
        assert low < mean < high or _marked(group["min"])


def test_cells_of_first_layers_that_are_narrower_than_the_input_are_said_to_be_unbounded() -> None:
    for e in (e for e in _of("Table 2") if "extra" not in e):
        width = int(e["note"].split()[-1])
        assert width < 784
        assert "all cells are unbounded" in e["verdict"]
