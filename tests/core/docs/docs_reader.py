# SPDX-License-Identifier: Apache-2.0
"""A reader who does what a page says: saves its files, types its commands, and compares what comes out with what is printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from conftest import Cli, new_environment
from docs_blocks import ROOT, Block, blocks
from packaging.requirements import Requirement

DECIMAL = re.compile(r"(\d+\.\d+(?:e[-+]?\d+)?)")
TOLERANCE = 0.03
"""Relative; searches may end elsewhere on another processor."""
CELL = re.compile(r"[0-9a-f]{16}")
FILES = {"python", "yaml", "markdown"}
"""Languages of files that a page asks to save, under the name behind the language."""
SKIPPED = {
    "python3 -m venv .venv": "the environment of the tests is there",
    "source .venv/bin/activate": "the environment of the tests is there",
    "pip install -c constraints.txt '.[plots]'": "fetches packages; CI installs the same by `make test`",
}
"""Commands that a test cannot run, with the reason."""


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Each command of a console block, and what the page prints under it."""
    for part in re.split(r"^\$ ", block.text, flags=re.M)[1:] if block.language == "console" else ():
        command, _, expected = part.partition("\n")
        yield command, expected


class Reader:
    """Works in the current folder.

    Args:
        cli: Runs lipbench in this process.
        place: For an environment, where a page installs a package.
    """

    def __init__(self, cli: Cli, place: Path) -> None:
        self.cli, self.place = cli, place
        self.written: set[str] = set()
        self.ids: dict[str, str] = {}
        self.python = ""
        """Of the environment in which a page has installed something; empty for that of the tests."""

    def read(self, page: str) -> None:
        for block in blocks(page):
            if block.language in FILES and block.words:
                self._save(block)
            for command, expected in commands(block):
                self._forget()
                self._try(block, command, expected)

    def close(self) -> None:
        self._forget()

    def _forget(self) -> None:
        for name in self.written:  # plugins are imported under the names of their files
            sys.modules.pop(Path(name).stem, None)

    def _save(self, block: Block) -> None:
        """The first block of a name begins the file, the others go on with it."""
        name = block.words[0]
        path = Path(name)
        before = f"{path.read_text()}\n\n" if name in self.written else ""
        path.write_text(f"{before}{block.text}\n")
        self.written.add(name)

    def _try(self, block: Block, command: str, expected: str) -> None:
        where = f"{block.where}: $ {command}"
        if command in SKIPPED:
            return
        code, said = self._run(shlex.split(command, comments=True), where)
        wanted = next((int(w.removeprefix("exit=")) for w in block.words if w.startswith("exit=")), 0)
        assert code == wanted, f"{where}: exit code {code}, {said}"
        compare(expected.split(), said.split(), where, self.ids)

    def _run(self, words: list[str], where: str) -> tuple[int, str]:
        match words:
            case ["lipbench", *rest] if not self.python:
                done = self.cli(*(self.ids.get(word, word) for word in rest))
                return done.code, done.out + done.err
            case ["lipbench" | "pytest" as module, *rest]:
                return self._process(self.python or sys.executable, "-m", module, *rest)
            case ["python", *rest]:
                return self._process(sys.executable, *rest)
            case ["mkdir" | "cp" | "rm", *names]:
                assert not any(Path(name).is_absolute() or ".." in Path(name).parts for name in names), where
                return self._process(*words)
            case ["cd", folder]:
                os.chdir(folder)  # the test puts the folder back
                return 0, ""
            case ["make", *targets]:
                assert set(targets) <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.M)), where
                return 0, ""
            case ["pip", "install", "-e", ".[dev]"]:
                self.python = self.python or str(new_environment(self.place))
                words = ["install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-e", "."]
                return self._process(self.python, "-m", "pip", *words)
            case ["pip", "install", asked]:
                known_extras(asked, where)
                return 0, ""
        raise AssertionError(f"{where}: no test knows how to run this")

    def _process(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
        return done.returncode, done.stdout + done.stderr


def known_extras(asked: str, where: str) -> None:
    """What a reader installs from PyPI is lipbench, with extras that there are."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirement = Requirement(asked)
    assert requirement.name == project["name"], where
    assert requirement.extras <= set(project["optional-dependencies"]), where


def compare(expected: Sequence[str], actual: Sequence[str], where: str, ids: dict[str, str]) -> None:
    """Words in order, `...` for any words between; decimal numbers may differ a little, ids of cells altogether."""
    at, free = 0, False
    for run in _runs(expected):
        if not run:
            free = True
            continue
        starts = range(at, len(actual) - len(run) + 1) if free else range(at, at + 1)
        place = next((i for i in starts if _same_words(run, actual[i : i + len(run)])), None)
        shown = f"{' '.join(run)}\n--- but the output goes on\n{' '.join(actual[at : at + 150])}"
        assert place is not None, f"{where}\n--- the page says\n{shown}"
        for word, found in zip(run, actual[place:], strict=False):
            ids.update(zip(CELL.findall(word), CELL.findall(found), strict=False))
        at, free = place + len(run), False
    assert not expected or free or at == len(actual), f"{where}: the page leaves out {' '.join(actual[at:])}; write ..."


def _runs(words: Sequence[str]) -> Iterator[list[str]]:
    """Words between the dots; an empty list for the dots."""
    run: list[str] = []
    for word in words:
        if word == "...":
            yield from ([run, []] if run else [[]])
            run = []
        else:
            run.append(word)
    if run:
        yield run


def _same_words(expected: Sequence[str], actual: Sequence[str]) -> bool:
    return len(expected) == len(actual) and all(map(_same, expected, actual))


def _same(expected: str, actual: str) -> bool:
    a, b = (DECIMAL.split(CELL.sub("ID", word)) for word in (expected, actual))
    if len(a) != len(b) or a[::2] != b[::2]:
        return False
    return all(abs(float(x) - float(y)) <= TOLERANCE * abs(float(x)) for x, y in zip(a[1::2], b[1::2], strict=True))
