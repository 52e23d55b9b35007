# SPDX-License-Identifier: Apache-2.0
"""The leaderboards in `results/` are of the right form and say what their records say; no suite is run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
SUITES = sorted(path.parent.name for path in RESULTS.glob("*/records.jsonl"))
MACHINE = re.compile(rb"""(?<![\w.:/])/(?:home|root|Users|tmp|mnt|work|workspace|var|opt|data)/[\w.-]+""")


@pytest.mark.parametrize("suite", SUITES)
def test_a_published_leaderboard_is_current(suite: str, cli: Cli) -> None:
    done = cli("leaderboard", RESULTS, "--check", "--suite", suite)
    assert done.code == 0, done.err


def test_the_page_builds(cli: Cli, tmp_path: Path) -> None:
    done = cli("leaderboard", RESULTS, "--format", "html", "--output", tmp_path / "index.html")
    assert done.code == 0, done.err
    assert 100_000 < (tmp_path / "index.html").stat().st_size < 3_000_000


def test_every_suite_is_published() -> None:
    assert {path.stem for path in (ROOT / "suites").glob("*.yaml")} <= set(SUITES)


def test_no_published_file_names_a_place_on_a_machine() -> None:
    words = ["git", "ls-files", "-z", "results"]
    names = subprocess.run(words, cwd=ROOT, capture_output=True, check=False).stdout.decode().split("\0")
    files = [ROOT / name for name in names if name] or [p for p in RESULTS.rglob("*") if p.is_file()]
    texts = [path for path in files if path.suffix in (".json", ".jsonl", ".md", ".svg") and path.is_file()]
    assert len(texts) >= 4 * len(SUITES)
    found = {str(path.relative_to(ROOT)): sorted(set(MACHINE.findall(path.read_bytes())))[:3] for path in texts}
    assert {name: places for name, places in found.items() if places} == {}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A copy of a published suite that may be spoilt."""
    shutil.copytree(RESULTS / "lipschitz", tmp_path / "lipschitz", ignore=shutil.ignore_patterns("plots"))
    return tmp_path


def _edit(path: Path, change: Any) -> None:
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def _first_line(folder: Path, **fields: Any) -> None:
    path = folder / "records.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps(json.loads(first) | fields) + "\n" + "".join(rest))


SPOILT = {
    "table": (lambda f: (f / "leaderboard.md").write_text("# old\n"), "leaderboard.md: it does not say what the records say"),
    "no table": (lambda f: (f / "leaderboard.md").unlink(), "leaderboard.md: it does not say what the records say"),
    "no plan": (lambda f: (f / "plan.json").unlink(), "plan.json: there is no such file"),
    "plan": (lambda f: _edit(f / "plan.json", lambda p: p["jobs"][0].pop("seed")), "plan.json: jobs.0.seed: Field required"),
    "id": (lambda f: _edit(f / "plan.json", lambda p: p["jobs"][0]["cells"].update(X="m")), "jobs.0.cells.X.[key]: String should"),
    "run": (lambda f: next((f / "runs").iterdir()).write_text("{"), "Invalid JSON"),
    "no run": (lambda f: shutil.rmtree(f / "runs"), "records.jsonl:1: of the run"),
    "record": (lambda f: _first_line(f, direction="up"), "records.jsonl:1: direction: Input should be 'higher', 'lower' or 'none'"),
    "suite": (lambda f: _first_line(f, suite="other"), "records.jsonl:1: the record is of suite 'other'"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_wrong_is_named(name: str, results: Path, cli: Cli) -> None:
    spoil, words = SPOILT[name]
    spoil(results / "lipschitz")
    done = cli("leaderboard", results, "--check")
    assert done.code == 1
    assert words in done.err
    assert "Traceback" not in done.err
