# SPDX-License-Identifier: Apache-2.0
"""One headless Chromium for all tests of the page, and a folder of results to look at in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from page_cases import hills

from lipbench.cli import main

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"there is no browser: none of {', '.join(_NAMES)} is installed")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a suite with several seeds, failures, long tables, plots, logs, and names that are meant to do harm."""
    folder = tmp_path_factory.mktemp("page")
    hills(folder / "results" / "hills")
    with pytest.raises(SystemExit) as left, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["lipbench", "leaderboard", str(folder / "results"), "--format", "html", "--output", str(folder / "page.html")])
        main()
    assert left.value.code == 0
    return folder / "page.html"


Open = Callable[..., Any]


@pytest.fixture
def visit(browser: Any, built: Path) -> Iterator[Open]:
    """Open the page at a hash; whatever it complains of, or asks the network for, fails the test at its end."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def call(hash: str = "#/hills", *, strict: bool = True, **options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        context.set_default_timeout(8000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: strict and complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or complaints.append(asked.url))
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}") or dialog.dismiss())
        page.goto(f"{built.as_uri()}{hash}")
        if hash.startswith("#/h"):
            page.locator("html[data-ready=hills]").wait_for(state="attached")
        return page

    yield call
    for context in contexts:
        context.close()
    assert not complaints
