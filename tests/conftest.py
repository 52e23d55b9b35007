# SPDX-License-Identifier: Apache-2.0
"""What all tests share: a cache of their own, so that no test sees what another run has learned."""

from __future__ import annotations

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
