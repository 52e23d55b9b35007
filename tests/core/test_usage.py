# SPDX-License-Identifier: Apache-2.0
"""Wrong usage: exit code 2 on every command, the last line says what is wrong and what to write, nothing is left behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli

Suite = Callable[..., Path]

WRONG = {
    "executor": ("run SUITE --executor locl", "there is no executor 'locl'; did you mean 'local'?"),
    "no gpu": ("run SUITE --device cuda", "--device cuda: no NVIDIA GPU is visible here; write --device cpu"),
    "no such device": ("run SUITE --device nonsense", "--device nonsense: write auto, cpu, cuda, cuda:0 or mps"),
    "address": ("run SUITE --address here:1", "--address here:1: executor 'local' runs on this machine alone; leave it out"),
    "artifacts url": ("run SUITE --artifacts nope://x", "--artifacts nope://x: Protocol not known: nope; write a folder"),
    "artifacts file": ("run SUITE --artifacts FILE", "--artifacts FILE: this is a file; name a folder"),
    "log of events": ("run SUITE --log-json DIR", "--log-json DIR: Is a directory; name a file that can be written"),
    "results": ("run SUITE --results FILE", "FILE/toys cannot be written: Not a directory; choose another folder by --results"),
    "workers": ("run SUITE --workers 0", "Invalid value for '--workers': 0 is not in the range 1<=x<=1024."),
    "retries": ("run SUITE --retries many", "Invalid value for '--retries': 'many' is not a valid integer range."),
    "timeout": ("run SUITE --timeout nan", "Invalid value for '--timeout': nan is no number of seconds"),
    "option": ("run SUITE --worker 2", "'--worker'"),
    "no suite": ("run", "Missing argument 'SUITES...'."),
    "suite file": ("run nowhere.yaml", "nowhere.yaml: there is no such file"),
    "setting": ("run SUITE --set seeds", "--set seeds: write it as KEY.PATH=VALUE"),
    "selection": ("run SUITE --select nowhere=1", "--select: there is no role 'nowhere'"),
    "profile": ("run SUITE --profile quik", "there is no profile 'quik'"),
    "plugin file": ("run SUITE --plugin nowhere.py", "nowhere.py: there is no such file"),
    "plugin name": ("run SUITE -p no:bassics", "-p no:bassics: there is no such plugin; did you mean 'basics'?"),
    "blocking": ("run SUITE -p basics", "-p basics: write -p no:NAME to block a plugin"),
    "plan": ("plan SUITE --device cuda:7", "--device cuda:7: no NVIDIA GPU is visible here"),
    "plan artifacts": ("plan SUITE --artifacts nope://x", "--artifacts nope://x: Protocol not known: nope"),
    "explain": ("explain zzz SUITE", "no cell ids in the plan or the records begin with 'zzz'"),
    "explain executor": ("explain zzz SUITE --executor locl", "there is no executor 'locl'"),
    "show": ("show maen", "there is no component 'maen'; did you mean 'mean'?"),
    "list": ("list metric", "'metric' is not one of"),
    "leaderboard": ("leaderboard nowhere", "nowhere: there is no such folder"),
    "leaderboard suite": ("leaderboard DIR --suite toy", "DIR has no suite 'toy'"),
    "leaderboard records": ("leaderboard DIR", "DIR has no records"),
    "leaderboard format": ("leaderboard DIR --format pdf", "there is no format 'pdf'"),
    "validate": ("validate SUITE --plugin nowhere.py", "nowhere.py: there is no such file"),
    "schema": ("schema --plugin nowhere.py", "nowhere.py: there is no such file"),
    "doctor": ("doctor -p no:bassics", "did you mean 'basics'?"),
    "command": ("rum SUITE", "there is no command 'rum'; did you mean 'run'?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_2(
    name: str, cli: Cli, suite: Suite, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIR").mkdir()
    (tmp_path / "FILE").write_text("kept")
    suite("SUITE")
    words, said = WRONG[name]
    done = cli(*words.split(), *([] if "--plugin" in words or name == "command" else ["--plugin", toy]))
    assert (done.code, done.out) == (2, "")
    *usage, last = done.err.strip().splitlines()
    assert said in last
    # Where a flag is misused, the usage comes before.
    assert usage == [] or usage[0].startswith("Usage: ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["DIR", "FILE", "SUITE"]


def test_exit_codes_are_in_the_help(cli: Cli) -> None:
    for words in ([], ["run"]):
        said = " ".join(cli(*words, "--help").out.split())
        assert re.search(r"Exit codes: 0 .*, 1 .*, 2 wrong usage.*, 130 interrupted", said)
