# SPDX-License-Identifier: Apache-2.0
"""Names, options, links and lists in the documentation are those that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
from docs_blocks import CHAINS, PAGES, ROOT, blocks, prose

from lipbench import hookspecs
from lipbench.cli import COMMANDS
from lipbench.cli import cli as program
from lipbench.contract.components import KINDS
from lipbench.registry import Registry, load_registry
from lipbench.suite.uses import check
from lipbench.suite.yamltree import parse_yaml

COMING = {"docs/images/leaderboard.svg"}
"""Files that pages may link to before they are there."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.mark.parametrize("page", PAGES)
def test_every_named_use_is_valid(page: str, registry: Registry) -> None:
    """`{use: NAME, ...}` anywhere on a page, and in fragments of YAML."""
    text = (ROOT / page).read_text()
    pages = next((chain for chain in CHAINS if page in chain), [page])
    mine = "\n".join(b.text for page in pages for b in blocks(page) if b.language == "python")
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
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", code.replace("ruff check . --fix", ""))) <= known


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


def test_the_tree_of_the_readme_is_there() -> None:
    (tree,) = [b.text for b in blocks("README.md") if b.language == "text"]
    folders = re.findall(r"^(\w+)/", tree, flags=re.M)
    there = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
    assert set(folders) <= there
    assert len(folders) > 5
