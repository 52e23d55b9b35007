# SPDX-License-Identifier: Apache-2.0
"""The formats of a comparison, what GitHub is told, and what is said of folders that cannot be compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from compare_cases import both, record, records, write
from conftest import Cli

SEEDS = range(5)
LOW = {s: 0.5 + (0.03, -0.02, 0.01, 0.0, -0.04)[s] for s in SEEDS}
HIGH = {s: 0.9 + (-0.04, 0.03, -0.02, 0.01, 0.0)[s] for s in SEEDS}
NASTY = "::error::a|b\n##[add-path]<script>&\"'%,\x1b[31m\u202e`*_]]>\ufffe\ud800 =1+1"
"""What a name may hold, for each of the formats."""


@pytest.fixture
def nasty(tmp_path: Path) -> tuple[Path, Path]:
    """A regression whose names and messages are hostile."""
    roles = {"network": NASTY, "data": "digits"}
    base = [record(NASTY, s, HIGH[s], "a", roles=roles, unit=NASTY, cell=f"a{s}") for s in SEEDS]
    new = [record(NASTY, s, LOW[s], "b", roles=roles, unit=NASTY, cell=f"b{s}") for s in SEEDS]
    base.append(record("falls", 0, 1.0, "a", roles=roles, cell="c"))
    fallen = record("falls", 0, None, "b", roles=roles, cell="d")
    fallen["error"]["message"] = NASTY
    return write(tmp_path / "base", base), write(tmp_path / "new", [*new, fallen])


def test_text_is_one_line_a_difference(nasty: Any, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done = cli("compare", *nasty)
    assert done.code == 1
    first, worse, failed, last = done.out.splitlines()
    assert (first, last) == ("s: 1 worse, 1 failed", "2 regressions: 1 worse, 1 failed")
    assert worse.startswith("    worse      ::error::a|b ## [add-path]<script>")
    assert "  0.8960 → 0.4960 (-44.64%) ::error::a|b" in worse
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    assert "0 of 1 seeds: crash: ::error::a|b" in failed


def test_annotations_go_to_stderr_and_are_escaped(nasty: Any, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done = cli("compare", *nasty, "--format", "json")
    json.loads(done.out)
    commands = done.err.splitlines()
    assert len(commands) == 2
    assert all(re.match(r"^::error title=(worse|failed)%3A s::[^\r\n]+$", line) for line in commands)
    assert "##[" not in done.err
    assert "%25%2C" not in commands[0]  # a comma of the message is no separator
    assert "%25," in commands[0]


def test_many_annotations_end_in_a_count(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    base, new = both(tmp_path, {f"m{i}": HIGH for i in range(30)}, {f"m{i}": LOW for i in range(30)})
    commands = cli("compare", base, new).err.splitlines()
    assert len(commands) == 10
    assert commands[-1] == "::error title=lipbench compare::21 more regressions; the log has them"


def test_markdown_folds_what_is_no_regression(tmp_path: Path, cli: Cli) -> None:
    done = cli(
        "compare", *both(tmp_path, {"a": HIGH, "b": LOW, "c": LOW}, {"a": LOW, "b": HIGH, "c": LOW}), "--format", "markdown"
    )
    visible, _, folded = done.out.partition("<details><summary>1 other differences</summary>")
    assert visible.startswith("### lipbench: 1 regression: 1 worse, 1 better, 1 same\n\n**s**: 1 worse, 1 better, 1 same\n")
    assert "| worse | mlp · digits · a | 0.8960 → 0.4960 (-44.64%) | paired t over 5 seeds" in visible
    assert "| better | mlp · digits · b |" in folded.partition("</details>")[0]
    assert "· c |" not in done.out


def test_markdown_is_harmless(nasty: Any, cli: Cli) -> None:
    text = cli("compare", *nasty, "--format", "markdown").out
    rows = [line for line in text.splitlines() if line.startswith("| worse")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 5
    assert "<script" not in text
    assert "\u202e" not in text
    assert re.search(r"(?<!\\)[`*]", rows[0]) is None


def test_a_comment_is_never_too_long(tmp_path: Path, cli: Cli) -> None:
    names = [f"m{i} " + "ä<" * 900 for i in range(300)]
    done = cli("compare", *both(tmp_path, dict.fromkeys(names, HIGH), dict.fromkeys(names, LOW)), "--format", "markdown")
    assert len(done.out.encode()) < 65_536
    assert "300 worse" in done.out
    assert "json" in done.out


def test_junit_has_a_case_for_each_value(nasty: Any, cli: Cli) -> None:
    done = cli("compare", *nasty, "--format", "junit")
    (suite,) = ElementTree.fromstring(done.out)  # noqa: S314  (it is ours)
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("s", "2", "2", "0")
    failures = [case.find("failure") for case in suite]
    assert [f is not None and f.get("type") for f in failures] == ["worse", "failed"]


def test_junit_skips_what_nothing_can_be_said_of(tmp_path: Path, cli: Cli) -> None:
    done = cli(
        "compare", *both(tmp_path, {"m": {0: 1.0}, "gone": LOW, "same": LOW}, {"m": {0: 2.0}, "same": LOW}), "--format", "junit"
    )
    (suite,) = ElementTree.fromstring(done.out)  # noqa: S314
    assert {case.get("name"): [part.tag for part in case] for case in suite} == {
        "m": ["skipped"],
        "gone": ["skipped"],
        "same": [],
    }
    assert (suite.get("skipped"), suite.get("failures")) == ("2", "0")


def test_the_step_summary_is_appended(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    base, new = both(tmp_path, {"m": LOW}, {"m": HIGH})
    done = cli("compare", base, new, "--format", "markdown", "--output", tmp_path / "out.md")
    assert done.out == ""
    assert summary.read_text() == "before\n" + (tmp_path / "out.md").read_text()


def test_an_empty_base_makes_all_new(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "base").mkdir()
    new = write(tmp_path / "new", records("b", {"m": LOW}))
    done = cli("compare", tmp_path / "base", new)
    assert (done.code, done.out) == (0, "s: only in NEW, 1 values\n0 regressions: 1 new\n")
    assert cli("compare", tmp_path / "base", new, "--fail-on", "any").code == 1


def test_suites_on_one_side_are_said(tmp_path: Path, cli: Cli) -> None:
    base = write(tmp_path / "base", records("a", {"m": LOW}), suite="old")
    write(base, records("a", {"m": LOW}))
    new = write(tmp_path / "new", records("a", {"m": LOW}))
    done = cli("compare", base, new)
    assert (done.code, done.out) == (0, "old: only in BASE, 1 values\ns: 1 same\n0 regressions: 1 gone, 1 same\n")
    assert cli("compare", base, new, "--suite", "s").out == "s: 1 same\n0 regressions: 1 same\n"


def test_wrong_folders_are_one_line(tmp_path: Path, cli: Cli) -> None:
    good = write(tmp_path / "good", records("a", {"m": LOW}))
    bad = write(tmp_path / "bad", records("a", {"m": LOW}))
    (tmp_path / "empty").mkdir()
    file = bad / "s/records.jsonl"
    file.write_text(file.read_text().replace("0.46", "NaN"))
    broken = write(tmp_path / "broken", records("a", {"m": LOW}))
    (broken / "s/plan.json").write_text('{"jobs": 3}')
    for words, base, new, code in (
        ("there is no such folder", tmp_path / "nowhere", good, 2),
        ("has no records", good, tmp_path / "empty", 2),
        ("name the one above", good, good / "s", 2),
        ("this line is no record", good, bad, 1),
        ("this is no plan", broken, good, 1),
    ):
        done = cli("compare", base, new)
        assert done.code == code
        assert words in done.err
        assert len(done.err.splitlines()) == 1
    done = cli("compare", good, good, "--suite", "z")
    assert (done.code, "has no suite 'z'; " in done.err) == (2, True)


def test_thresholds_of_a_suite_are_checked(cli: Cli, suite: Any, toy: Path) -> None:
    for text, words in {
        "{metrics: {men: {relative: 0.1}}}": "compare: no block measures 'men'; did you mean 'mean'?",
        "{metrics: {mean: {relativ: 0.1}}}": "unknown key 'relativ'; did you mean 'relative'?",
        "{metrics: {mean: {relative: -1}}}": "leaderboard.compare.metrics.mean.relative: ",
        "{costs: {second: {relative: 1}}}": "second",
        "{metric: {}}": "unknown key 'metric'; did you mean 'metrics'?",
    }.items():
        done = cli("validate", suite(leaderboard=f"{{compare: {text}}}"), "--plugin", toy, "--no-plugins")
        assert done.code == 2, text
        assert words in done.err, done.err
        assert "suite.yaml:6" in done.err
    good = suite(leaderboard="{compare: {metrics: {mean: {relative: 0.1}}, costs: {seconds: {absolute: 3}}}}")
    assert cli("validate", good, "--plugin", toy, "--no-plugins").code == 0
