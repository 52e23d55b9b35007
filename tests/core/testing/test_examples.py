# SPDX-License-Identifier: Apache-2.0
"""The plugins in `examples/`: they use the public surface alone, install, are discovered, and pass their own tests."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
from test_new_plugin import call, python  # noqa: F401  (a fixture)

ROOT = Path(__file__).parents[3] / "examples"
EXAMPLES = sorted(p.parent.name for p in ROOT.glob("*/pyproject.toml"))
PUBLIC = {"lipbench.api", "lipbench.testing"}


def test_there_are_three() -> None:
    assert EXAMPLES == ["auto-lirpa", "hf-datasets", "pytorch-ood"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_only_the_public_surface(name: str) -> None:
    own = f"lipbench_{name.replace('-', '_')}"
    seen = set()
    for file in (ROOT / name).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            seen |= {n for n in names if n.startswith("lipbench") and n.partition(".")[0] != own}
    assert "lipbench.api" in seen
    assert seen <= PUBLIC


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_installs_and_passes(
    name: str,
    python: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / name
    shutil.copytree(ROOT / name, folder)
    call(python, folder, "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", ".")
    plugin = name.replace("-", "_")
    assert f"lipbench-{name}" in call(python, tmp_path, "lipbench", "list", "plugins")
    said = call(python, folder, "pytest", "-q", "-rs", "-p", "no:cacheprovider")
    if "passed" not in said:
        reasons = [line for line in said.splitlines() if line.startswith("SKIPPED")]
        assert reasons
        assert all("datasets is not installed" in reason for reason in reasons)
        pytest.skip(reasons[0])
    if (folder / "tests" / "stub").is_dir():
        monkeypatch.setenv("PYTHONPATH", str(folder / "tests" / "stub"))
        run = call(python, folder, "lipbench", "run", f"suites/{plugin}.yaml", "--results", "out", "--no-plots")
        assert "0 failed" in run
