# SPDX-License-Identifier: Apache-2.0
"""What all tests share: a cache of their own, so that no test sees what another run has learned; and what keeps them quick."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lipbench.cli import main

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Of the millions of objects that are made while tests are found, all stay: looking for garbage among them finds none.
gc.disable()


def pytest_collection_finish() -> None:
    """What there is now need not be looked through in each test."""
    gc.freeze()
    gc.enable()


TOGETHER = ("tests/plugins/", "tests/e2e/", "tests/core/page/test_page_in_browser.py", "tests/core/docs/test_site.py")
"""Files whose tests share what is slow to make: trained networks, runs of suites, a browser."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: many tests wait, for a process to die or a cluster to notice."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each of these files runs in one process, or every process would make that; other tests go wherever there is room.

    Marks for `--dist loadgroup` would say the same, but pytest-xdist 3.8 writes them where pytest 9 does not read them.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.partition("::")[0] if nodeid.startswith(TOGETHER) else nodeid

    return ByFile(config, log)


_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("LIPBENCH_DATA", raising=False)


@pytest.fixture(scope="session")
def toy() -> Path:
    """A plugin in one file."""
    return Path(__file__).parent / "toys" / "toy.py"


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a `lipbench` command in this process."""

    def call(*words: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["lipbench", *map(str, words)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return call


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless, of the system; its tests belong to an xdist group."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"there is no browser: none of {', '.join(_NAMES)} is installed")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def new_environment(folder: Path) -> Path:
    """Python of a fresh environment that sees what is installed here."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    inside = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (inside / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder / "bin" / "python"


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., Path]:
    """Write a suite of the toy task; keyword arguments replace its lines, None removes one."""

    def write(name: str = "suite.yaml", extra: str = "", **lines: str | None) -> Path:
        words: dict[str, str | None] = {
            "lipbench": "1",
            "suite": "toys",
            "task": "multiply",
            "matrix": "{model: [fixed, {use: fixed, factor: 2.0}], data: numbers}",
            "metrics": "[mean, {use: mean, noise: 0.5, as: noisy}]",
        } | lines
        path = tmp_path / name
        path.write_text("".join(f"{k}: {v}\n" for k, v in words.items() if v is not None) + extra)
        return path

    return write
