# SPDX-License-Identifier: Apache-2.0
"""Every block of code in the documentation is run, or checked by what can check it; a block of another kind is a fault."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from conftest import Cli
from docs_blocks import CHAINS, PAGES, ROOT, Block, blocks, parse
from docs_reader import FILES, SKIPPED, Reader, commands, compare, known_extras
from ruamel.yaml import YAML

from lipbench.cli import cli as program
from lipbench.suite.schema import SuiteFile

INSTALLED = [f"examples/{name}/README.md" for name in ("auto-lirpa", "hf-datasets", "pytorch-ood")]
"""Pages whose commands `tests/core/testing/test_examples.py` runs, in an environment with each example."""
READ = [[page] for page in PAGES if page not in {*INSTALLED, *(page for chain in CHAINS for page in chain)}]
TEXTS = {
    "README.md": ["lipbench/         the core"],
    "docs/leaderboards.md": ["| network | auc ↑"],
    "docs/suites/lipschitz.md": ["k(x, y) =", "| k_p(x, y)"],
    "docs/suites/lipschitz_networks.md": ["KR(f)  ="],
    "docs/watching.md": ["linear_map ━━━"],
}
"""Blocks that are no code, by how they begin: a tree of folders, formulas, a made-up table, a view of a run that lasts an hour."""
ELSEWHERE = {
    "kubectl": "needs Kubernetes",
    "sbatch": "needs Slurm; its script is run below with commands that only say how they were called",
    "export": "sets a variable for the commands below it",
    "ray": "would leave a cluster behind; `tests/plugins/ray` starts them, and options are compared with those of Ray",
    "lipbench": "needs machines or folders that are not there; options are compared with those of the command",
    "pip": "fetches packages; extras are compared with those of the project",
}
"""What may stand in blocks of bash, which are not run, with the reason."""


@pytest.mark.parametrize(
    "pages", CHAINS + [p for p in READ if any(b.language == "console" for b in blocks(p[0]))], ids=lambda p: p[0]
)
def test_examples_do_what_the_pages_say(pages: list[str], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # the pages show runs on a CPU
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray would write a token into the home of who runs this
    Path("suites").symlink_to(ROOT / "suites")
    reader = Reader(cli, tmp_path / "environment")
    try:
        for page in pages:
            reader.read(page)
    finally:
        reader.close()
    used = " ".join(command for page in pages for block in blocks(page) for command, _ in commands(block))
    unused = {name for name in reader.written if Path(name).name not in used and not _installed(name, used)}
    assert unused == set(), "files that no command of these pages uses"


def _installed(name: str, used: str) -> bool:
    """A file of a package that the page installs, and tests."""
    return "/" in name and "pip install -e" in used and "pytest" in used


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_known_kind(page: str) -> None:
    for block in blocks(page):
        check_kind(block)


def check_kind(block: Block) -> None:
    """Raise AssertionError where a block is neither run nor checked."""
    named = bool(block.words)
    match block.language:
        case "python":
            assert named, f"{block.where}: python that no example runs; name its file after ```python"
            compile(block.text, block.where, "exec")
        case "console":
            assert block.text.startswith("$ "), f"{block.where}: a console begins with a command"
        case "yaml":
            tree = YAML(typ="safe").load(block.text)
            assert named or _part_of_a_suite(tree) or _job_of_ray(tree), f"{block.where}: no suite, no part of one, no RayJob"
        case "toml":
            groups = tomllib.loads(block.text)["project"]["entry-points"]
            assert set(groups) == {"lipbench"}, block.where
        case "bash":
            _check_bash(block)
        case "text":
            assert any(block.text.startswith(start) for start in TEXTS.get(block.page, ())), (
                f"{block.where}: code that no test knows"
            )
        case language if re.fullmatch(r"\{(eval-rst|suite-keys)\}", language):
            assert block.page.startswith("docs/reference/"), block.where  # run by the build of the site
        case language:
            assert language in FILES, f"{block.where}: no test knows ```{language}"
            assert named, f"{block.where}: no test knows ```{' '.join([language, *block.words])}"


def _part_of_a_suite(tree: Any) -> bool:
    if not set(tree) <= set(SuiteFile.model_fields):
        return False
    SuiteFile.model_validate({"lipbench": 1, "suite": "part", "task": "lipschitz", **tree})
    return True


def _job_of_ray(tree: Any) -> bool:
    """A job of KubeRay, whose command has options that there are."""
    if (tree.get("apiVersion"), tree.get("kind")) != ("ray.io/v1", "RayJob"):
        return False
    check_options(program, shlex.split(tree["spec"]["entrypoint"])[1:])
    cluster = tree["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert all(group["template"]["spec"]["containers"][0]["image"] for group in groups)
    return True


def _check_bash(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.where}: {done.stderr}"
    if block.words:
        assert block.words == ("lipbench.sbatch",), f"{block.where}: no test runs this script"
        return
    for line in block.text.splitlines():
        first, *words = shlex.split(line, comments=True)
        assert first in ELSEWHERE, f"{block.where}: no test knows how to run {first}"
        if first == "lipbench":
            check_options(program, words)
        elif first == "pip":
            known_extras(words[-1], block.where)
        elif first == "ray":
            from ray.scripts.scripts import cli as ray

            check_options(ray, words)


def check_options(group: click.Command, words: list[str]) -> None:
    """The command and its options are there. Nothing is run, and arguments may name what is not."""
    assert isinstance(group, click.Group)
    command = group.get_command(click.Context(group), words[0])
    assert command is not None, words[0]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words[1:] if word.startswith("--")} <= known, words


def test_the_script_for_slurm_runs_what_it_says(tmp_path: Path) -> None:
    """With commands that only say how they were called, on two nodes."""
    (script,) = [b for b in blocks("docs/scaling.md") if b.words == ("lipbench.sbatch",)]
    said, tools = tmp_path / "said", tmp_path / "bin"
    tools.mkdir()
    for name in ("srun", "scontrol", "ray", "lipbench"):
        run = 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"' if name == "srun" else ""
        hosts = "printf 'node1\\nnode2\\n'" if name == "scontrol" else ""
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{said}"\n{hosts}{run}\n')
        (tools / name).chmod(0o755)
    (tmp_path / "lipbench/.venv/bin").mkdir(parents=True)
    (tmp_path / "lipbench/.venv/bin/activate").write_text("")
    slurm = {
        "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "4",
        "SLURM_CPUS_PER_TASK": "32", "SLURM_SUBMIT_DIR": "/home/me",
    }  # fmt: skip
    environment = {"HOME": str(tmp_path), "PATH": f"{tools}:{os.environ['PATH']}", **slurm}
    done = subprocess.run(["bash", "-c", script.text], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = said.read_text().splitlines()
    (run,) = [line for line in lines if line.startswith("lipbench ")]
    check_options(program, run.split()[1:])
    assert "--results /home/me/results --executor ray --address node1:20007" in run
    assert "ray health-check --address node1:20007" in lines
    starts = [line for line in lines if line.startswith("ray start ")]
    assert sorted("--head" in line for line in starts) == [False, True]
    assert all("--num-cpus=32 --num-gpus=4" in line for line in starts)


@pytest.mark.parametrize("page", INSTALLED)
def test_commands_of_examples_are_those_that_are_run(page: str) -> None:
    (console,) = blocks(page)
    folder = ROOT / Path(page).parent
    install, run, test = [re.sub(r"^LIPBENCH_DATA=\S+ ", "", command) for command, _ in commands(console)]
    (suite,) = folder.glob("suites/*.yaml")
    assert (install, test) == ("pip install -e '.[dev]'", "pytest")
    assert run == f"lipbench run suites/{suite.name} --results out"


def test_exemptions_are_needed() -> None:
    every = {command for page in PAGES for block in blocks(page) for command, _ in commands(block)}
    assert set(SKIPPED) <= every
    first = {
        line.split()[0]
        for page in PAGES
        for b in blocks(page)
        if b.language == "bash" and not b.words
        for line in b.text.splitlines()
    }
    assert set(ELSEWHERE) == first
    for page, starts in TEXTS.items():
        assert len(starts) == len([b for b in blocks(page) if b.language == "text"])


def test_the_smallest_metric_and_model_are_short() -> None:
    """Imports and empty lines included."""
    for page, most in (("first_metric", 15), ("first_model", 25)):
        (block,) = [b for b in blocks(f"docs/tutorial/{page}.md") if b.language == "python"]
        assert len(block.text.splitlines()) <= most


@pytest.mark.parametrize(
    "text",
    [
        "```perl\nprint 1\n```", "```\nls\n```", "```python\nprint(1)\n```", "```console\nls\n```", "```yaml\nkey: 1\n```",
        "```bash\nrm -r x\n```", "```bash\nlipbench run x.yaml --sete a=1\n```", "```text\nls\n```", "~~~\nls\n~~~", "  ```\n  ls\n  ```",
        "words\n\n    ls", "```python x.py\nprint(", "```bash mine.sh\nls\n```", "```toml\n[project.entry-points.other]\nx = 'y'\n```",
    ],
)  # fmt: skip
def test_a_block_of_another_kind_is_a_fault(text: str) -> None:
    with pytest.raises((AssertionError, SyntaxError)):
        [check_kind(block) for block in parse(text, "page.md")]


def test_a_wrong_example_is_found() -> None:
    """The comparison itself can fail."""
    ids: dict[str, str] = {}
    good = ["value", "1.000", "of", "0123456789abcdef"]
    compare(["value", "1.01", "of", "fedcba9876543210"], good, "here", ids)
    assert ids == {"fedcba9876543210": "0123456789abcdef"}
    compare(["value", "..."], good, "here", ids)
    for wrong in ("value 1.2 of 0123456789abcdef", "value 1.0 from ...", "value 1.0", "... of"):
        with pytest.raises(AssertionError, match="here"):
            compare(wrong.split(), good, "here", ids)
