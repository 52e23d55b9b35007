# SPDX-License-Identifier: Apache-2.0
"""The documentation as a site: built without a warning, complete, and asking the network for nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docs_blocks import PAGES, ROOT
from filelock import FileLock
from sphinx.util.inventory import InventoryFile

from lipbench import api, hookspecs, testing
from lipbench.cli import COMMANDS
from lipbench.suite.schema import SuiteFile

LOADS = re.compile(r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]+)"|<link[^>]*\srel="stylesheet"[^>]*\shref="([^"]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Built as `make docs` does, once for all processes that run these tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "site"
    words = ["--fail-on-warning", "--keep-going", "--quiet", "-b", "html", "-c", "docs", "."]
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            build = [sys.executable, "-m", "sphinx", *words, folder]
            done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
            (folder / "said").write_text(f"{done.returncode}\n{done.stderr}")
    assert (folder / "said").read_text() == "0\n"
    return folder


def test_make_does_the_same() -> None:
    (recipe,) = re.findall(r"^docs: .*\n\t\S+ (.*) site$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert recipe == "-m sphinx --fail-on-warning --keep-going --quiet -b html -c docs ."


def test_every_page_is_in_the_contents(site: Path) -> None:
    start = (site / "docs" / "index.html").read_text()
    (tree,) = re.findall(r'<div class="sidebar-tree">.*?</div>', start, flags=re.S)
    linked = {os.path.normpath(f"docs/{link}") for link in re.findall(r'href="([^"#]+)"', tree)}
    assert {page.replace(".md", ".html") for page in PAGES} - {"docs/index.html"} <= linked
    assert "docs/index.html" in (site / "index.html").read_text()


@pytest.fixture(scope="module")
def documented(site: Path) -> dict[str, Path]:
    """Names of Python objects to the pages that describe them."""
    kinds = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    names = (entry for kind, entries in kinds.items() if kind.startswith("py:") for entry in entries.items())
    return {name: site / item.uri.partition("#")[0] for name, item in names}


@pytest.mark.parametrize("module", [api, testing], ids=lambda module: module.__name__)
def test_the_reference_has_every_public_name_with_its_docstring(documented: dict[str, Path], module: ModuleType) -> None:
    for name in module.__all__:
        page = documented[f"{module.__name__}.{name}"].read_text()
        (entry,) = re.findall(rf'id="{re.escape(module.__name__)}\.{name}">.*?</dt>\n<dd>(.*?)<(?:dl|/dd)', page, flags=re.S)
        assert re.search(r"<p>\S", entry), f"{name} has no docstring"


def test_the_reference_has_hooks_commands_and_keys(site: Path, documented: dict[str, Path]) -> None:
    assert {f"lipbench.hookspecs.{name}" for name in vars(hookspecs) if name.startswith("lipbench_")} <= set(documented)
    commands = (site / "docs" / "reference" / "command_line.html").read_text()
    assert [name for name in COMMANDS if f'id="lipbench-{name}"' not in commands] == []
    keys = (site / "docs" / "reference" / "suite_files.html").read_text()
    assert [key for key in SuiteFile.model_fields if f'<span class="pre">{key}</span>' not in keys] == []


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    """In the text of every page; the next test asks a browser."""
    for page in site.rglob("*.html"):
        for loaded in ("".join(found) for found in LOADS.findall(page.read_text())):
            assert not re.match(r"(?:[a-z]+:)?//", loaded), f"{page.relative_to(site)} loads {loaded}"
            assert (page.parent / loaded.partition("?")[0]).exists(), f"{page.relative_to(site)}: {loaded} is not there"
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text()), style.name


def test_links_between_pages_lead_somewhere(site: Path) -> None:
    texts = {page: page.read_text() for page in site.rglob("*.html")}
    names = {page: set(re.findall(r'\sid="([^"]+)"', text)) for page, text in texts.items()}
    broken = []
    for page, text in texts.items():
        for link in re.findall(r'<a [^>]*href="([^"]+)"', text):
            path, _, place = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if re.match(r"[a-z]+:", link):
                continue
            if not target.exists() or (place and target in names and place not in names[target]):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
def test_a_browser_without_a_network_shows_the_pages(site: Path, browser: Any, scheme: str, width: int) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, offline=True)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else said.append(request.url))
    colours = []
    for name in (
        "docs/index",
        "docs/tutorial/first_run",
        "docs/plugins",
        "docs/reference/components",
        "docs/reference/suite_files",
    ):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(colours)) == 1
    assert (max(map(int, re.findall(r"\d+", colours[0])[:3])) < 60) is (scheme == "dark")
    page.goto((site / "search.html").as_uri() + "?q=checkpoint")
    page.wait_for_selector("#search-results li a")
    context.close()
    assert said == []
