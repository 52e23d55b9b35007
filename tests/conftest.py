# SPDX-License-Identifier: Apache-2.0
"""What all tests share: a cache of their own, so that no test sees what another run has learned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("LIPBENCH_DATA", raising=False)


@pytest.fixture(scope="session")
def toy() -> Path:
    """A plugin in one file."""
    return Path(__file__).parent / "toys" / "toy.py"
