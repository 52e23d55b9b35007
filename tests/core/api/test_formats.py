# SPDX-License-Identifier: Apache-2.0
"""Formats of leaderboards by plugins, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from lipbench.own_plugin import lipbench_formats

SOURCE = """
from lipbench.api import Format, hookimpl

def good(boards):
    return "".join(f"{board.suite} has {len(board.tables)} tables\\n" for board in boards)

def raises(boards):
    raise KeyError("inside")

def number(boards):
    return 3

@hookimpl
def lipbench_formats():
    for name in ("good", "raises", "number", "lost"):
        yield Format(name=name, factory=f"{__name__}:{name}", summary=f"a {name} one")
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / f"formats_of_{tmp_path.name.replace('-', '_')}.py"
    file.write_text(SOURCE)
    return file


@pytest.fixture
def results(cli: Cli, suite: Any, toy: Path, tmp_path: Path) -> Path:
    assert cli("run", suite(), "--plugin", toy, "--results", tmp_path / "out", "--no-plots").code == 0
    return tmp_path / "out"


def test_a_format_of_a_plugin(plugin: Path, results: Path, cli: Cli, toy: Path) -> None:
    listed = cli("list", "formats", "--plugin", plugin)
    assert f"good    {plugin.stem}  a good one" in listed.out
    done = cli("leaderboard", results, "--format", "good", "--plugin", plugin, "--plugin", toy)
    assert (done.code, done.out) == (0, "toys has 2 tables\n")
    file = results / "board.txt"
    assert cli("leaderboard", results, "--format", "good", "--plugin", plugin, "--plugin", toy, "--output", file).code == 0
    assert file.read_text() == done.out


@pytest.mark.parametrize("form", [form.name for form in lipbench_formats()])
def test_a_damaged_record_is_one_line_in_every_format(form: str, results: Path, cli: Cli, toy: Path) -> None:
    file = results / "toys" / "records.jsonl"
    first, *rest = file.read_text().splitlines()
    file.write_text("".join(f"{line}\n" for line in [json.dumps({**json.loads(first), "params": {"model": [1]}}), *rest]))
    done = cli("leaderboard", results, "--format", form, "--plugin", toy)
    assert (done.code, done.err) == (1, f"error: {file}:1: this line is no record; delete it and its cell runs again\n")


@pytest.mark.parametrize(
    ("form", "code", "words"),
    [
        ("raises", 1, "format 'raises' of plugin 'formats_of_"),
        ("raises", 1, "failed: KeyError: 'inside'"),
        ("number", 1, ":number must return a str"),
        ("lost", 1, "cannot be loaded: AttributeError"),
        ("godo", 2, "there is no format 'godo'; did you mean 'good'?"),
    ],
)
def test_a_format_that_fails_is_one_line(form: str, code: int, words: str, plugin: Path, results: Path, cli: Cli) -> None:
    done = cli("leaderboard", results, "--format", form, "--plugin", plugin)
    assert done.code == code
    assert words in done.err
    assert done.err.count("\n") == 1


def test_a_format_claimed_twice(plugin: Path, results: Path, cli: Cli) -> None:
    other = plugin.with_name("csv_again.py")
    other.write_text(SOURCE.replace('"good"', '"csv"').replace("def good", "def csv"))
    assert cli("list", "formats", "--plugin", other).code == 0
    done = cli("leaderboard", results, "--format", "csv", "--plugin", other)
    assert done.code == 1
    assert "format 'csv' is claimed by plugins core (lipbench) and csv_again" in done.err
