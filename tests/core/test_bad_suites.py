# SPDX-License-Identifier: Apache-2.0
"""Every fault in a suite is one line with file, line, what is wrong and what to write; exit code 2, no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli

WRONG = {
    "unknown component": ({"metrics": "[maen]"}, 5, "there is no metric 'maen'; did you mean 'mean'?"),
    "component of another kind": ({"metrics": "[numbers]"}, 5, "'numbers' is a dataset"),
    "unknown role": (
        {"matrix": "{modle: fixed, model: fixed, data: numbers}"},
        4,
        "no role or parameter 'modle'; did you mean 'model'?",
    ),
    "role missing": ({"matrix": "{model: fixed}"}, 4, "role 'data' of task 'multiply' is missing"),
    "unknown parameter": ({"metrics": "[{use: mean, nosie: 1.0}]"}, 5, "no parameter 'nosie'; did you mean 'noise'?"),
    "wrong type": ({"metrics": "[{use: mean, noise: loud}]"}, 5, "must be a number, found 'loud'"),
    "out of range": ({"matrix": "{model: fixed, data: {use: numbers, count: 0}}"}, 4, "must be at least 1, found 0"),
    "not a choice": ({"metrics": "[{use: wrong, how: rise}]"}, 5, "did you mean 'raise'?"),
    "required parameter": ({"metrics": "[wrong]"}, 5, "needs parameter 'how'"),
    "task parameter out of range": (
        {"matrix": "{model: fixed, data: numbers, power: [1, 99]}"},
        4,
        "must be at most 9, found 99",
    ),
    "metric of another evidence": ({"metrics": "[reads_other]"}, 5, "reads Other, but task 'multiply' gives Numbered"),
    "model where data belongs": ({"matrix": "{model: numbers, data: numbers}"}, 4, "'numbers' is a dataset"),
    "empty list": ({"matrix": "{model: [], data: numbers}"}, 4, "the list is empty"),
    "no metrics": ({"metrics": "[]"}, 5, "there is no metric"),
    "unknown key": ({"metircs": "[mean]"}, 6, "unknown key 'metircs'; did you mean 'metrics'?"),
    "wrong version": ({"lipbench": "2"}, 1, "write `lipbench: 1`"),
    "no version": ({"lipbench": None}, 1, "write `lipbench: 1`"),
    "no task": ({"task": None}, 1, "`task:` is missing"),
    "zero seeds": ({"seeds": "0"}, 6, "greater than or equal to 1"),
    "bad suite name": ({"suite": "../up"}, 2, "suite:"),
    "both matrix and blocks": ({"blocks": "{a: {matrix: {model: fixed, data: numbers}}}"}, 1, "this one has both"),
    "twin cells": ({"metrics": "[mean, mean]"}, 1, "appears twice"),
    "exclude of no role": ({"exclude": "[{modle: fixed}]"}, 6, "did you mean 'model'?"),
    "plugin required": ({"requires_plugins": "[nonesuch]"}, 6, "plugin 'nonesuch' is required"),
    "not finite": ({"metrics": "[{use: mean, noise: .inf}]"}, 5, "must be finite"),
    "a date": ({"title": "2024-01-01"}, 6, "write it in quotes"),
    "a count that is a boolean": ({"seeds": "true"}, 6, "seeds"),
    "a version that is a boolean": ({"lipbench": "true"}, 1, "write `lipbench: 1`"),
    "rows of no role": ({"leaderboard": "{rows: [modle]}"}, 6, "did you mean 'model'?"),
    "ranks of no role": ({"leaderboard": "{rank: [modle]}"}, 6, "did you mean 'model'?"),
    "ranks by no metric": ({"leaderboard": "{rank: column, rank_by: [maen]}"}, 6, "did you mean 'mean'?"),
    "ranks of rows by a metric": ({"leaderboard": "{rank_by: [mean]}"}, 6, "write `rank: column`, or the roles"),
    "shows what there is not": ({"leaderboard": "{show: [median]}"}, 6, "'mean', 'ci95' or 'rank'"),
    "no reference file": ({"reference": "none.yaml"}, 6, "there is no file"),
    "name of a folder of ours": ({"suite": "artifacts"}, 2, "choose another"),
    "label with control characters": ({"metrics": '[{use: mean, as: "a\\eb"}]'}, 5, "control characters"),
    **{
        f"resources {asked}": ({"resources": f"{{{asked}}}"}, 6, words)
        for asked, words in {
            "memory: 0 GiB": "resources.memory: an amount of memory must be from 1 MiB to 1048576 GiB, found '0 GiB'",
            "memory: 0.0000001 MiB": "must be from 1 MiB",
            "memory: 99999999999999 GiB": "must be from 1 MiB to 1048576 GiB",
            "memory: -1 GiB": "an amount of memory is written 512 MiB or 4 GiB, found '-1 GiB'",
            "memory: .nan": "resources.memory: ",
            "gpus: 0.0": "resources.gpus: input should be greater than or equal to 0.01, found 0.0",
            "gpus: 1.0e-300": "greater than or equal to 0.01",
            "gpus: -1": "greater than or equal to 0.01",
            "gpus: .nan": "resources.gpus: input should be a finite number, found nan",
            "gpus: true": "resources.gpus: input should be a valid number, found True",
            "cpus: 0": "resources.cpus: input should be greater than or equal to 1, found 0",
            "cpus: 1.5": "resources.cpus: input should be a valid integer, found 1.5",
            "cpus: 9999999": "less than or equal to 1024",
            "cpu: 2": "unknown key 'cpu'; did you mean 'cpus'?",
        }.items()
    },
    **{f"timeout {limit}": ({"timeout": limit}, 6, "timeout: ") for limit in ("0", "-1", ".nan", ".inf", "true", "1.0e+300")},
    "use without a name": ({"task": "{usee: multiply}"}, 3, "a task is written NAME or"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_line_with_its_place(name: str, cli: Cli, suite: Callable[..., Path], toy: Path) -> None:
    lines, line, words = WRONG[name]
    path = suite(**lines)
    done = cli("run", path, "--plugin", toy, "--results", path.parent / "out")
    assert done.code == 2
    assert words in done.err
    assert f"{path}:{line}: " in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (path.parent / "out").exists()


TEXTS = {
    "duplicate key": ("lipbench: 1\nsuite: a\nsuite: b\n", ":3: key 'suite' appears twice, first in line 2"),
    "not yaml": ("lipbench: 1\nmatrix: {a: [1\n", ":3: "),
    "not a mapping": ("- 1\n", ":1: a suite is a mapping"),
    "empty": ("", ": the file is empty"),
    "numeric key": ("lipbench: 1\n2: x\n", ":2: key 2 must be a string"),
    "python tag": ("lipbench: 1\nsuite: !!python/object/apply:os.system [ls]\n", ":2: "),
    "alias in itself": ("lipbench: 1\nmatrix: &a [*a]\n", "an alias contains itself"),
    "exploding aliases": (
        "lipbench: 1\na: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{n}: &{n} [{','.join([f'*{p}'] * 10)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)),
        "aliases expand to more than",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_wrong_yaml(name: str, cli: Cli, tmp_path: Path, toy: Path) -> None:
    text, words = TEXTS[name]
    path = tmp_path / "s.yaml"
    path.write_text(text)
    done = cli("validate", path, "--plugin", toy)
    assert done.code == 2
    assert words in done.err
    assert str(path) in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_not_utf8_and_missing_files(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in cli("validate", path).err
    assert "there is no such file" in cli("validate", tmp_path / "none.yaml").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profile", "quik"], "there is no profile 'quik'; did you mean 'quick'?"),
        (["--set", "matrix.model"], "write it as KEY.PATH=VALUE"),
        (["--set", "metrics.7=mean"], "'7' is no place in a list of 2"),
        (["--set", "seeds=many"], "--set seeds=many: seeds: "),
        (["--set", "metrics.0.use=men"], "there is no metric 'men'"),
        (["--select", "modell=fixed"], "there is no role 'modell'; did you mean 'model'?"),
        (["--select", "model=fixd"], "nothing matches; did you mean 'fixed'?"),
        (["--select", "model"], "write it as ROLE=NAME"),
        (["--plugin", "nowhere.py"], "there is no such file"),
        (["-p", "basics"], "write -p no:NAME"),
        (["-p", "no:bassics"], "did you mean 'basics'?"),
    ],
)
def test_wrong_options(words: list[str], message: str, cli: Cli, suite: Callable[..., Path], toy: Path) -> None:
    path = suite(profiles="{quick: {seeds: 1}}")
    done = cli("validate", path, "--plugin", toy, *words)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_positions_survive_a_profile(cli: Cli, suite: Callable[..., Path], toy: Path) -> None:
    path = suite(extra="profiles:\n  quick:\n    metrics:\n      - maen\n")
    done = cli("validate", path, "--plugin", toy, "--profile", "quick")
    assert f"{path}:9: there is no metric 'maen'" in done.err


def test_validate_finds_a_fault_in_any_profile(cli: Cli, suite: Callable[..., Path], toy: Path) -> None:
    path = suite(extra="profiles:\n  quick: {seeds: 1}\n  paper: {metrics: [maen]}\n")
    done = cli("validate", path, "--plugin", toy)
    assert done.code == 2
    assert "profile paper" in done.err
    assert "(profile quick): ok" in done.out
