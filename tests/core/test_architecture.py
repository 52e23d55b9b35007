# SPDX-License-Identifier: Apache-2.0
"""The rules of the house, read off the sources and off fresh processes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lipbench.contract.components import KINDS
from lipbench.registry import load_registry

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(p.name for p in (ROOT / "plugins").iterdir() if (p / "__init__.py").exists())


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def test_the_core_imports_no_plugin() -> None:
    found = [(p, m) for p in (ROOT / "lipbench").rglob("*.py") for m in _imports(p) if m.split(".")[0] in PLUGINS]
    assert found == []


def test_the_core_names_no_plugin_and_no_component_of_one() -> None:
    """In strings, comments and templates too. Names of one plain word, such as `cost`, are left out: the core has such words."""
    registry = load_registry()
    components = {r.component.name for kind in KINDS for r in registry.all(kind) if f"lipbench_{r.plugin.name}" in PLUGINS}
    names = {name for name in components if "_" in name} | set(PLUGINS) | {p.removeprefix("lipbench_") for p in PLUGINS}
    names -= {"basics", "distances"}  # words
    assert len(names) > 100
    pattern = re.compile(rf"\b(?:{'|'.join(sorted(names))})\b")
    files = [p for p in (ROOT / "lipbench").rglob("*") if p.suffix in (".py", ".in")]
    found = [(str(p.relative_to(ROOT)), m[0]) for p in files for m in pattern.finditer(p.read_text())]
    assert found == []


# The ground that method plugins share, and that a third party may import as well: protocols such as `Attack`, and the geometry
# of piecewise linear networks.
SHARED = ("lipbench_basics", "lipbench_relu_geometry.engine")
# What the second may import: it is a library, which knows no task, no suite and no other plugin.
LIBRARY = ("lipbench.api", "torch", "numpy", "scipy", "highspy")


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == p or module.startswith(f"{p}.") for p in packages)


def test_plugins_import_the_public_surface_and_no_other_method() -> None:
    wrong = []
    for name in PLUGINS:
        for path in (ROOT / "plugins" / name).rglob("*.py"):
            for module in _imports(path):
                top = module.split(".")[0]
                if (top == "lipbench" and module not in ("lipbench.api", "lipbench.testing")) or (
                    top in PLUGINS and top != name and not _within(module, SHARED)
                ):
                    wrong.append((path.name, module))
    assert wrong == []


def test_the_shared_geometry_engine_is_a_library() -> None:
    engine = ROOT / "plugins" / "lipbench_relu_geometry" / "engine"
    allowed = (*LIBRARY, *sys.stdlib_module_names)
    found = [(p.name, m) for p in engine.rglob("*.py") for m in _imports(p) if not _within(m, allowed)]
    assert found == []
    upwards = [
        (p.name, node.module)
        for p in engine.rglob("*.py")
        for node in ast.walk(ast.parse(p.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level > 1
    ]
    assert upwards == []


def test_files_stay_small() -> None:
    sources = [p for folder in ("lipbench", "plugins") for p in (ROOT / folder).rglob("*.py")]
    assert {p.name: n for p in sources if (n := len(p.read_text().splitlines())) > 400} == {}


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["list", "plugins"],
        ["run", "--help"],
        ["doctor", "--help"],
        ["compare", "--help"],
        ["merge", "--help"],
    ],
    ids=" ".join,
)
def test_light_commands_load_no_torch(words: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['lipbench', *sys.argv[1:]]\n"
        "import lipbench.cli\n"
        "try:\n    lipbench.cli.main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "assert 'numpy' not in sys.modules, 'numpy was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_planning_and_resuming_import_no_component(tmp_path: Path, toy: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "lipbench: 1\nsuite: s\ntask: multiply\nmatrix: {model: fixed, data: numbers}\nmetrics: [mean]\nseeds: 3\n"
    )
    (tmp_path / "heavy_net.py").write_text(
        toy.read_text().replace('factory=f"{__name__}:{cls}"', 'factory=f"heavy_parts.parts:{cls}"')
        .replace("import numpy as np\n", "np = __import__('types').SimpleNamespace(ndarray=object)\n")
    )  # fmt: skip
    (tmp_path / "heavy_parts").mkdir()
    (tmp_path / "heavy_parts" / "__init__.py").write_text("")
    (tmp_path / "heavy_parts" / "parts.py").write_text(toy.read_text() + "\nimport torch\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "watch = sys.argv.pop(1) == 'watch'\n"
        "import lipbench.cli\n"
        "try:\n    lipbench.cli.main()\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
        "assert not watch or not {'torch', 'heavy_parts.parts'} & set(sys.modules)\n"
    )
    tail = ["s.yaml", "--plugin", "heavy_net.py", "--no-plugins", "--results", "out"]
    for first, command in (("learn", "run"), ("watch", "plan"), ("watch", "run")):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), first, command, *tail],
            capture_output=True, text=True, check=False, cwd=tmp_path, env={"PATH": "", "LIPBENCH_CACHE": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
