# SPDX-License-Identifier: Apache-2.0
"""The documentation does what it says: examples run, outputs are as printed, names and links exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from conftest import Cli

from lipbench import hookspecs
from lipbench.cli import COMMANDS
from lipbench.cli import cli as program
from lipbench.contract.components import KINDS
from lipbench.registry import Registry, load_registry
from lipbench.suite.uses import check
from lipbench.suite.yamltree import parse_yaml

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md", "docs/architecture.md", "docs/ci.md", "docs/leaderboards.md", "docs/plugins.md", "docs/scaling.md", "docs/shared.md",
    "docs/testing.md", "docs/trust.md", "docs/watching.md",
    "docs/suites/lipschitz.md", "docs/suites/linear_map.md", "docs/suites/diffusion_ood.md",
    "docs/suites/distribution_distances.md", "docs/suites/lipschitz_networks.md",
    "docs/suites/relu_geometry.md", "docs/suites/locally_linear.md",
]  # fmt: skip
COMING = {"docs/images/leaderboard.svg"}
"""Files that pages may link to before they are there."""
FENCE = re.compile(r"^```(.*)$")
DECIMAL = re.compile(r"(\d+\.\d+(?:e[-+]?\d+)?)")
TOLERANCE = 0.03
"""Relative; searches may end elsewhere on another processor."""
CELL = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Block:
    """A fenced block: ```LANGUAGE WORDS."""

    page: str
    line: int
    language: str
    words: tuple[str, ...]
    text: str


def blocks(page: str) -> list[Block]:
    found: list[Block] = []
    start, info, body = 0, "", []
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence and not start:
            start, info, body = number, fence[1], []
        elif fence:
            language, *words = info.split() or [""]
            found.append(Block(page, start, language, tuple(words), "\n".join(body)))
            start = 0
        elif start:
            body.append(line)
    assert not start, f"{page}:{start}: this block is not closed"
    return found


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    text = (ROOT / page).read_text()
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.mark.parametrize("page", PAGES)
def test_examples_do_what_the_page_says(page: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # the pages show runs on a CPU
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray would write a token into the home of who runs this
    (tmp_path / "suites").symlink_to(ROOT / "suites")
    parts: dict[str, list[str]] = {}
    for block in blocks(page):
        if block.language in ("python", "yaml") and block.words:
            parts.setdefault(block.words[0], []).append(block.text)
    for name, texts in parts.items():
        Path(name).write_text("\n\n\n".join(texts) + "\n")
    names: dict[str, str] = {}
    try:
        for block in blocks(page):
            for command, expected in _commands(block):
                _try(block, command, expected, cli, names)
    finally:
        for name in parts:  # plugins are imported under the names of their files
            sys.modules.pop(Path(name).stem, None)


def _commands(block: Block) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^\$ ", block.text, flags=re.M)[1:] if block.language == "console" else ():
        command, _, expected = part.partition("\n")
        yield command, expected


def _try(block: Block, command: str, expected: str, cli: Cli, names: dict[str, str]) -> None:
    where = f"{block.page}:{block.line}: $ {command}"
    first, *words = shlex.split(command)
    if first == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.M)
        assert set(words) <= set(targets), where
        return
    if first == "python":
        subprocess.run([sys.executable, *words], check=True, timeout=120)
        return
    assert first == "lipbench", f"{where}: no test knows how to run this"
    done = cli(*(names.get(word, word) for word in words))
    wanted = next((int(w.removeprefix("exit=")) for w in block.words if w.startswith("exit=")), 0)
    assert done.code == wanted, f"{where}: exit code {done.code}, {done.err}"
    _compare(expected.split(), (done.out + done.err).split(), where, names)


def _compare(expected: Sequence[str], actual: Sequence[str], where: str, names: dict[str, str]) -> None:
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
            names.update(zip(CELL.findall(word), CELL.findall(found), strict=False))
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


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_known_kind(page: str) -> None:
    for block in blocks(page):
        where = f"{block.page}:{block.line}"
        assert block.language in {"python", "yaml", "console", "text", "toml", "bash"}, where
        if block.language == "bash":  # for other machines than this one
            done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{where}: {done.stderr}"
        if block.language == "python":
            compile(block.text, where, "exec")
            assert block.words, f"{where}: python that no example runs; name its file after ```python"
        if block.language == "yaml":
            parse_yaml(block.text, where)


@pytest.mark.parametrize("page", PAGES)
def test_every_named_use_is_valid(page: str, registry: Registry) -> None:
    """`{use: NAME, ...}` anywhere on a page, and in fragments of YAML."""
    text = (ROOT / page).read_text()
    mine = "\n".join(b.text for b in blocks(page) if b.language == "python")
    for found in re.finditer(r"\{use: [^{}]*\}", text):
        where = f"{page}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]}"
        tree = parse_yaml(found[0], where)
        given: dict[str, Any] = tree.plain()
        name = given.pop("use")
        given.pop("as", None)
        if f'name="{name}"' in mine or name.isupper():
            continue
        kind = next((k for k in KINDS if name in registry.names(k)), None)
        assert kind is not None, f"{where}: there is no component {name!r}"
        check(registry.describe(registry.get(kind, name))["schema"], given, f"{where}, {name}", tree, ())


def _first_columns(page: str, head: str) -> set[str]:
    """Names in backticks in the first column of the tables whose first column is called so."""
    names: set[str] = set()
    inside = False
    for line in (ROOT / page).read_text().splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")] if line.startswith("|") else []
        inside = bool(cells) and (inside or cells[0] == head)
        if inside:
            names |= set(re.findall(r"`(\w+)`", cells[0]))
    return names


@pytest.mark.parametrize(
    ("page", "plugin", "head", "kind"),
    [
        ("docs/shared.md", "basics", "network", "model"),
        ("docs/shared.md", "basics", "dataset", "dataset"),
        ("docs/shared.md", "basics", "attack", "method"),
        ("docs/suites/lipschitz.md", "lipschitz", "estimator", "metric"),
        ("docs/suites/lipschitz.md", "lipschitz", "network", "model"),
        ("docs/suites/distribution_distances.md", "distances", "metric", "metric"),
        ("docs/suites/lipschitz_networks.md", "lipschitz_networks", "metric", "metric"),
        ("docs/suites/lipschitz_networks.md", "lipschitz_networks", "network", "model"),
        ("docs/suites/lipschitz_networks.md", "lipschitz_networks", "dataset", "dataset"),
    ],
)
def test_component_lists_are_complete(page: str, plugin: str, head: str, kind: Any, registry: Registry) -> None:
    listed, known = _first_columns(page, head), {r.component.name for r in registry.all(kind)}
    assert {r.component.name for r in registry.all(kind) if r.plugin.name == plugin} <= listed <= known


def test_the_page_of_distances_names_every_pair_and_distance(registry: Registry) -> None:
    listed = {name for head in ("pair", "distance") for name in _first_columns("docs/suites/distribution_distances.md", head)}
    assert {r.component.name for r in registry.all("method") if r.plugin.name == "distances"} == listed


def test_the_linear_map_page_names_all_of_its_metrics(registry: Registry) -> None:
    text = (ROOT / "docs/suites/linear_map.md").read_text()
    mine = {r.component.name for kind in ("metric", "method") for r in registry.all(kind) if r.plugin.name == "linear_map"}
    assert {name for name in mine if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page: str) -> None:
    code = "\n".join(re.findall(r"`([^`\n]+)`", prose(page)) + [b.text for b in blocks(page) if b.language == "console"])
    assert set(re.findall(r"^(?:\$ )?lipbench ([a-z][a-z-]*)", code, flags=re.M)) <= {*COMMANDS}
    known = {o for name in COMMANDS for o in _options(name)} | {"--help", "--version"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)) <= known


def _options(name: str) -> list[str]:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    return [o for p in command.params for o in p.opts]


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / file).resolve() if file else ROOT / page
        there = path.exists() or str(path.relative_to(ROOT)) in COMING
        if not there or (anchor and anchor not in _anchors(path)):
            broken.append(target)
    assert broken == []


def _anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


def test_the_readme_opens_as_agreed() -> None:
    lines = (ROOT / "README.md").read_text().split("\n## ")[0].splitlines()
    assert lines[0] == "# lipbench"
    assert all(lines[i] for i in range(2, 7))
    assert lines[7] == ""
    assert blocks("README.md")[0].text.splitlines() == ["$ make leaderboard", "$ make test"]


def test_the_plugin_of_the_readme_is_short() -> None:
    (plugin,) = [b for b in blocks("README.md") if b.language == "python"]
    assert len(plugin.text.splitlines()) <= 25


def test_the_architecture_names_every_hook_and_only_paths_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    hooks = {name for name in vars(hookspecs) if name.startswith("lipbench_")}
    assert hooks
    assert all(f"`{hook}`" in text for hook in hooks)
    paths = re.findall(r"`((?:lipbench|plugins|suites|tests|docs|benchmarks)/[\w./-]*)`", text)
    assert len(paths) > 10
    assert [p for p in paths if not (ROOT / p).exists()] == []


def test_a_wrong_example_is_found() -> None:
    """The comparison itself can fail."""
    names: dict[str, str] = {}
    good = ["value", "1.000", "of", "0123456789abcdef"]
    _compare(["value", "1.01", "of", "fedcba9876543210"], good, "here", names)
    assert names == {"fedcba9876543210": "0123456789abcdef"}
    _compare(["value", "..."], good, "here", names)
    for wrong in ("value 1.2 of 0123456789abcdef", "value 1.0 from ...", "value 1.0", "... of"):
        with pytest.raises(AssertionError, match="here"):
            _compare(wrong.split(), good, "here", names)
