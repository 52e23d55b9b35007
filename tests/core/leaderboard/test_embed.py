# SPDX-License-Identifier: Apache-2.0
"""Tables between the markers of a file: what is rewritten, what is left alone, and what is wrong with markers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from board_cases import job, plan, record
from conftest import Cli

BEGIN, END = "<!-- lipbench:begin suite=hills -->", "<!-- lipbench:end -->"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two suites with a value each."""
    folder = tmp_path / "results"
    write(folder / "hills", plan(job({"c0": "steepness"})), value=1.25)
    write(folder / "lakes", plan(job({"c0": "depth"})) | {"suite": "lakes", "title": "How deep?"}, metric="depth", value=7.5)
    return folder


def write(folder: Path, planned: Mapping[str, Any], **fields: Any) -> None:
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(planned))
    (folder / "records.jsonl").write_text(json.dumps(record("c0", suite=folder.name, **fields).to_json()) + "\n")


def update(cli: Cli, results: Path, text: str | bytes, *more: str) -> bytes:
    file = results.parent / "README.md"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = cli("leaderboard", results, "--update", file, *more)
    assert done.code == 0, done.err
    return file.read_bytes()


def test_only_what_stands_between_the_markers_changes(cli: Cli, results: Path) -> None:
    made = update(cli, results, f"# Mine\n\nWords | of *mine*\n{BEGIN}\nold\n{END}\nand more\f\x0b  \n\n").decode()
    head, _, rest = made.partition(f"{BEGIN}\n")
    inside, _, tail = rest.partition(f"\n{END}\n")
    assert (head, tail) == ("# Mine\n\nWords | of *mine*\n", "and more\f\x0b  \n\n")
    assert inside.startswith("\n## How steep?\n\n### Results\n")
    assert "| mlp | digits | 1.250 |" in inside
    assert update(cli, results, made) == made.encode()


def test_markers_choose_suite_and_table(cli: Cli, results: Path) -> None:
    table = update(cli, results, f'<!-- lipbench:begin suite=lakes table="Results" -->\n{END}').decode().splitlines()
    assert [line for line in table if line.startswith("#")] == []
    assert "| mlp | digits | 7.500 |" in table
    everything = update(cli, results, f"<!--lipbench:begin-->\n{END}\n").decode()
    assert everything.index("# How steep?") < everything.index("# How deep?")
    two = update(cli, results, f"{BEGIN}\n{END}\n## x\n#### y\n<!-- lipbench:begin suite=lakes -->\n{END}\n").decode()
    assert "\n# How steep?\n" in two
    assert "\n##### How deep?\n" in two


def test_ends_of_lines_mode_link_and_byte_order_mark_stay(cli: Cli, results: Path, tmp_path: Path) -> None:
    made = update(cli, results, b"\xef\xbb\xbf" + f"{BEGIN}\r\n{END}\r\nlast".encode())
    assert made.startswith(b"\xef\xbb\xbf<!-- lipbench:begin")
    assert made.endswith(b"\r\nlast")
    assert made.count(b"\n") == made.count(b"\r\n") > 5
    file = tmp_path / "README.md"
    file.write_text(f"{BEGIN}\n{END}\n")
    file.chmod(0o600)
    (tmp_path / "link.md").symlink_to(file)
    assert cli("leaderboard", results, "--update", tmp_path / "link.md").code == 0
    assert (tmp_path / "link.md").is_symlink()
    assert "1.250" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert {p.name for p in tmp_path.iterdir()} == {"results", "README.md", "link.md"}


def test_check_says_which_is_stale_and_writes_nothing(cli: Cli, results: Path, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    made = update(cli, results, f"{BEGIN}\n{END}\n")
    assert cli("leaderboard", results, "--update", file, "--check").code == 0
    stale = made + f'<!-- lipbench:begin suite=lakes table="Results" -->\n{END}\n'.encode()
    file.write_bytes(stale)
    os.utime(file, ns=(0, 0))
    done = cli("leaderboard", results, "--update", file, "--check")
    assert done.code == 1
    line = made.count(b"\n") + 1
    assert done.err.splitlines()[0] == f'stale: {file}:{line}: suite=lakes table="Results"'
    assert (file.read_bytes(), file.stat().st_mtime_ns) == (stale, 0)


def test_what_is_current_is_not_written(cli: Cli, results: Path, tmp_path: Path) -> None:
    update(cli, results, f"{BEGIN}\n{END}\n")
    os.utime(tmp_path / "README.md", ns=(0, 0))
    assert "nothing to change" in cli("leaderboard", results, "--update", tmp_path / "README.md").out
    assert (tmp_path / "README.md").stat().st_mtime_ns == 0


def test_backticks_on_a_line_of_their_own_are_no_fence(cli: Cli, results: Path) -> None:
    assert b"steepness" in update(cli, results, f"```run it```\n\n{BEGIN}\n{END}\n")


def test_code_and_words_are_no_markers(cli: Cli, results: Path) -> None:
    shown = f"````text\n```\n{BEGIN}\n````\n~~~\n{END}\n~~~\nWrite `{BEGIN}` for it.\n    {BEGIN}\n"
    made = update(cli, results, f"{shown}{BEGIN}\n{END}\n").decode()
    assert made.startswith(f"{shown}{BEGIN}\n\n# How steep?")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing", "has no markers; write <!-- lipbench:begin suite=NAME -->"),
        (f"\n{BEGIN}\n", ":2: what begins here has no end"),
        (f"{END}\n", ":1: nothing begins above"),
        (f"{BEGIN}\n{BEGIN}\n{END}\n", ":2: the markers that begin in line 1 have no end yet"),
        (f"{BEGIN}\n{END}\n{END}\n", ":3: nothing begins above"),
        (f"<!-- lipbench:start -->\n{END}\n", ":1: there is no marker lipbench:start; known: begin, end"),
        (f"<!-- lipbench:begin suit=hills -->\n{END}\n", ":1: markers know no 'suit'; did you mean 'suite'?"),
        (f"<!-- lipbench:begin suite -->\n{END}\n", ":1: suite of what? Write suite=NAME"),
        (f"<!-- lipbench:begin table=Results -->\n{END}\n", ":1: table of which suite?"),
        (f"<!-- lipbench:begin suite='hills -->\n{END}\n", ":1: No closing quotation"),
        (f"<!-- lipbench:begin suite=hils -->\n{END}\n", ":1: there is no suite 'hils'; did you mean 'hills'?"),
        (f"<!-- lipbench:begin suite=hills table=Result -->\n{END}\n", ":1: suite 'hills' has no table 'Result'; did you mean"),
        (b"\xff\n", "is no UTF-8 (byte 0)"),
    ],
)
def test_wrong_markers_are_one_line_and_nothing_is_written(
    text: Any, words: str, cli: Cli, results: Path, tmp_path: Path
) -> None:
    file = tmp_path / "README.md"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = file.read_bytes()
    done = cli("leaderboard", results, "--update", file)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert words in done.err
    assert file.read_bytes() == before


@pytest.mark.parametrize("more", [["--format", "csv"], ["--suite", "hills"]], ids=" ".join)
def test_other_formats_and_suites_are_refused(more: list[str], cli: Cli, results: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"{BEGIN}\n{END}\n")
    assert cli("leaderboard", results, "--update", tmp_path / "README.md", *more).code == 2


def test_the_order_of_records_changes_no_byte(cli: Cli, results: Path) -> None:
    several = plan(*(job({f"c{s}": "steepness"}, s) for s in range(4)))
    lines = [json.dumps(record(f"c{s}", value=s / 3, seed=s).to_json()) + "\n" for s in range(4)]
    (results / "hills/plan.json").write_text(json.dumps(several))
    made = []
    for order in (lines, lines[::-1]):
        (results / "hills/records.jsonl").write_text("".join(order))
        made.append(update(cli, results, f"{BEGIN}\n{END}\n"))
    assert made[0] == made[1]
