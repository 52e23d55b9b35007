# SPDX-License-Identifier: Apache-2.0
"""The workflows and the action: checked by their schemas and for security, and their shell steps run in a repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "examples/leaderboard-repository"
WORKFLOWS = [ROOT / ".github/workflows/ci.yml", TEMPLATE / ".github/workflows/leaderboard.yml"]
ACTION = ROOT / "action.yml"
BIN = Path(sys.executable).parent


def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def tool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / words[0], *words[1:]], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda p: p.name)
def test_files_follow_the_schema_of_github(path: Path) -> None:
    schema = "vendor.github-actions" if path == ACTION else "vendor.github-workflows"
    done = tool("check-jsonschema", "--builtin-schema", schema, path)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_no_way_in() -> None:
    done = tool("zizmor", "--offline", "--no-progress", "--quiet", *WORKFLOWS, ACTION)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda p: p.name)
def test_actions_are_pinned_and_no_expression_stands_in_a_script(path: Path) -> None:
    text, document = path.read_text(), yaml(path)
    assert "pull_request_target" not in text
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert [u for u in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", u) and u != "OWNER/lipbench@REF"] == []
    jobs = document.get("jobs", {}).values() or [document["runs"]]
    scripts = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert scripts
    assert [s for s in scripts if "${{" in s] == []


def test_no_job_may_more_than_it_needs() -> None:
    document = yaml(WORKFLOWS[1])
    assert document["permissions"] == {}
    assert {name: dict(job["permissions"]) for name, job in document["jobs"].items()} == {
        "compare": {"contents": "read"},
        "comment": {"pull-requests": "write"},
        "run": {"contents": "read"},
        "record": {"contents": "write"},
        "page": {"id-token": "write", "pages": "write"},
    }


class Runner:
    """Does what GitHub does with jobs: steps in order, expressions filled in, artifacts carried from job to job.

    Of the actions only those of artifacts and our own do anything; the repository is checked out by the tests.
    """

    def __init__(self, place: Path) -> None:
        self.temp, self.kept, self.bin = place / "temp", place / "artifacts", place / "bin"
        self.said: list[str] = []
        self.bin.mkdir()
        self.calls = place / "calls"
        # Installing needs a network, and gh a repository on GitHub: both only say how they were called.
        self._shim(
            "python",
            f'if [ "$1 $2" = "-m pip" ]; then printf "pip: %s\\n" "$*" >> "{self.calls}"; else exec "{sys.executable}" "$@"; fi',
        )
        self._shim("gh", f'printf "gh: %s\\n" "$*" >> "{self.calls}"; cat comparison.md >> "{self.calls}"')

    def _shim(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def job(self, name: str, at: Path) -> int:
        """The exit status of a job of the template; like a fresh machine, it has an empty temporary folder."""
        shutil.rmtree(self.temp, ignore_errors=True)
        self.temp.mkdir()
        return self.steps(yaml(at / ".github/workflows/leaderboard.yml")["jobs"][name]["steps"], at, {})

    def steps(self, steps: Sequence[Mapping[str, Any]], at: Path, inputs: Mapping[str, str]) -> int:
        status = 0
        for step in steps:
            if not self._wanted(str(step.get("if", "success()")), inputs, status):
                continue
            given = {name: self._filled(str(value), inputs) for name, value in step.get("with", {}).items()}
            if "run" in step:
                env = {name: self._filled(str(value), inputs) for name, value in step.get("env", {}).items()}
                status = self._script(step["run"], at, env) or status
            elif step["uses"] == "OWNER/lipbench@REF":
                action = yaml(ACTION)
                defaults = {name: facts.get("default", "") for name, facts in action["inputs"].items()}
                status = self.steps(action["runs"]["steps"], at, defaults | given) or status
            else:
                self._artifact(step["uses"].partition("@")[0], given, at)
        return status

    def _wanted(self, condition: str, inputs: Mapping[str, str], status: int) -> bool:
        known: dict[str, bool] = {
            "success()": status == 0,
            "always()": True,
            "inputs.base != ''": status == 0 and bool(inputs.get("base")),
            "steps.download.outcome == 'success'": status == 0,
        }
        return known[condition]

    def _filled(self, text: str, inputs: Mapping[str, str]) -> str:
        known = {
            "runner.temp": str(self.temp), "github.action_path": str(ROOT), "github.token": "token", "github.repository": "o/r",
            "github.event.pull_request.number": "7", **{f"inputs.{name}": value for name, value in inputs.items()},
        }  # fmt: skip
        return re.sub(r"\$\{\{ *(.*?) *\}\}", lambda found: known[found[1]], text)

    def _script(self, script: str, at: Path, env: Mapping[str, str]) -> int:
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        summary = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary.md"),
            "RUNNER_TEMP": str(self.temp),
        }
        path = {"PATH": f"{self.bin}:{BIN}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            words, cwd=at, env={**os.environ, **GIT, **path, **summary, **env}, capture_output=True, text=True, check=False
        )
        self.said.append(done.stdout + done.stderr)
        return done.returncode

    def _artifact(self, action: str, given: Mapping[str, str], at: Path) -> None:
        if action == "actions/upload-artifact":
            source = Path(given["path"])
            assert source.exists() or given.get("if-no-files-found") == "ignore"
            if source.exists():
                (self.kept / given["name"]).mkdir(parents=True, exist_ok=True)
                shutil.copy(source, self.kept / given["name"])
        elif action == "actions/download-artifact":
            shutil.copytree(self.kept / given["name"], Path(given.get("path", at)), dirs_exist_ok=True)
        else:
            assert action in ("actions/checkout", "actions/setup-python", "actions/upload-pages-artifact")


GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
}  # fmt: skip
Git = Callable[..., str]


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, Git]:
    """A clone of a bare repository that holds the template, as a checkout is; and git in it."""
    work = tmp_path / "work"

    def git(*words: str, at: Path = work) -> str:
        done = subprocess.run(["git", *words], cwd=at, env={**os.environ, **GIT}, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    (tmp_path / "bare").mkdir()
    git("init", "--quiet", "--bare", "--initial-branch=main", at=tmp_path / "bare")
    git("clone", "--quiet", str(tmp_path / "bare"), str(work), at=tmp_path)
    git("checkout", "--quiet", "-B", "main")
    shutil.copytree(TEMPLATE, work, dirs_exist_ok=True)
    suite = work / "suites/first.yaml"  # one seed and no exact count are enough here
    suite.write_text(suite.read_text().replace("seeds: 3", "seeds: 1").replace("regions, ", ""))
    git("add", "-A")
    git("commit", "--quiet", "-m", "The template")
    git("push", "--quiet", "origin", "main")
    return work, git


def _merged(git: Git, suite: Path, change: Callable[[str], str]) -> None:
    """A pull request that changes a suite, merged into main as GitHub checks it out."""
    git("checkout", "--quiet", "-B", "change", "main")
    suite.write_text(change(suite.read_text()))
    git("commit", "--quiet", "-am", "Change the suite")
    git("checkout", "--quiet", "-B", "merge", "main")
    git("merge", "--quiet", "--no-ff", "-m", "Merge", "change")


def test_the_steps_of_the_template_do_what_they_say_and_nothing_twice(repository: tuple[Path, Git], tmp_path: Path) -> None:
    work, git = repository
    runner = Runner(tmp_path)
    # On main: results, tables and their commit; the second time nothing.
    for first in (True, False):
        assert runner.job("run", work) == 0, runner.said
        git("stash", "--quiet", "--include-untracked") if first else None  # the next job begins with a checkout of its own
        assert runner.job("record", work) == 0, runner.said
        assert ("nothing has changed" in runner.said[-1]) is not first
        assert git("status", "--porcelain") == ""
        assert git("log", "--format=%s", "origin/main").splitlines() == ["Update the leaderboard", "The template"]
    assert f"pip: -m pip install --quiet -c {ROOT}/constraints.txt {ROOT}[suites]" in runner.calls.read_text().splitlines()
    published = git("ls-tree", "-r", "--name-only", "origin/main").splitlines()
    assert {"results/first/records.jsonl", "results/first/plan.json", "results/first/leaderboard.md"} <= set(published)
    assert not any("artifacts" in name or ".lock" in name for name in published)
    assert "| narrow | square |" in (work / "README.md").read_text()
    # A pull request that adds a network: main's cells are not run again, and the comment says what is new.
    _merged(
        git,
        work / "suites/first.yaml",
        lambda text: text.replace("as: narrow}", "as: narrow}\n    - {use: random_relu, sizes: [2, 4, 2], as: tiny}"),
    )
    comments = []
    for computed, reused in ((3, 6), (0, 9)):
        runner.calls.write_text("")
        assert runner.job("compare", work) == 0, runner.said
        assert any(f"{computed} cells computed, {reused} reused, 0 failed" in said for said in runner.said[-4:])
        assert runner.job("comment", tmp_path / "work") == 0, runner.said
        call, _, comment = runner.calls.read_text().partition("gh: ")[2].partition("\n")
        assert call == "pr comment 7 --edit-last --create-if-none --body-file comparison.md"
        comments.append(comment)
        (work / "comparison.md").unlink()
    assert comments[0] == comments[1]
    assert comments[0].startswith("### lipbench: 0 regressions: 3 new, 6 same\n")


def test_a_pull_request_may_not_write_results(repository: tuple[Path, Git], tmp_path: Path) -> None:
    work, git = repository
    git("checkout", "--quiet", "-B", "change", "main")
    (work / "results").mkdir()
    (work / "results/made_up.jsonl").write_text("{}\n")
    git("add", "-A")
    git("commit", "--quiet", "-m", "Make up a result")
    git("checkout", "--quiet", "-B", "merge", "main")
    git("merge", "--quiet", "--no-ff", "-m", "Merge", "change")
    runner = Runner(tmp_path)
    assert runner.job("compare", work) == 1
    assert "::error::results/ is written by this workflow alone" in runner.said[-1]
    assert len(runner.said) == 1


def test_inputs_are_never_code(repository: tuple[Path, Git], tmp_path: Path) -> None:
    work, _ = repository
    runner = Runner(tmp_path)
    runner.temp.mkdir()
    hostile = f"$(touch {tmp_path}/owned) `touch {tmp_path}/owned` ; touch {tmp_path}/owned"
    names = dict.fromkeys(yaml(ACTION)["inputs"], hostile)
    assert runner.steps(yaml(ACTION)["runs"]["steps"], work, names) != 0
    assert not (tmp_path / "owned").exists()
    assert runner.steps(yaml(ACTION)["runs"]["steps"], work, {**names, "suites": "nothing/*.yaml", "extras": ""}) == 2
    assert "::error::no file fits the patterns" in runner.said[-1]
