# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of code: the sources that a component's module reaches within its own package and other plugins."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.metadata import entry_points
from pathlib import Path

from lipbench.contract.errors import PluginError


def digest(*parts: bytes | str) -> str:
    """16 hexadecimal digits of a SHA-256 over the parts, each with its length so that borders count."""
    h = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        h.update(len(raw).to_bytes(8, "big") + raw)
    return h.hexdigest()[:16]


def module_file(module: str) -> Path | None:
    """Where a module's source is, without importing it; None where there is none (built in, a namespace, not found)."""
    exact = getattr(sys.modules.get(module), "__file__", None)
    if exact and exact.endswith(".py"):
        return Path(exact)
    top, *rest = module.split(".")
    loaded = sys.modules.get(top)
    if loaded is not None:
        places = [Path(p) for p in getattr(loaded, "__path__", [])]
        single = getattr(loaded, "__file__", None)
    else:
        spec = importlib.util.find_spec(top)
        if spec is None:
            return None
        places = [Path(p) for p in spec.submodule_search_locations or []]
        single = spec.origin
    if not places:
        return Path(single) if single and single.endswith(".py") and not rest else None
    for place in places:
        base = place.joinpath(*rest)
        for candidate in (base.with_suffix(".py") if rest else None, base / "__init__.py"):
            if candidate is not None and candidate.is_file():
                return candidate
    return None


@lru_cache(maxsize=4096)
def _imports(path: Path, _stamp: tuple[int, ...], module: str) -> tuple[str, ...]:
    """Modules that a source file imports; the stamp makes the cache see a change."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise PluginError(f"{path}:{error.lineno}: {error.msg}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")
                up = up[: len(up) - node.level + 1]
                base = ".".join([*up, base]) if base else ".".join(up)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return tuple(sorted(names))


@cache
def plugin_packages() -> frozenset[str]:
    """Top-level packages that declare a plugin, loaded or not."""
    return frozenset(point.value.partition(".")[0].partition(":")[0] for point in entry_points(group="lipbench"))


def closure(module: str) -> dict[str, Path]:
    """The module, its parent packages, and whatever they import of the same package or of plugins: name to source file."""
    found: dict[str, Path] = {}
    waiting = [module]
    top, root = module.partition(".")[0], module_file(module)
    # A plugin in one file may have helpers beside it; a package has all its modules inside.
    beside = root.parent if root is not None and module == top and root.name != "__init__.py" else None
    while waiting:
        name = waiting.pop()
        first = name.partition(".")[0]
        own = first == top or first in plugin_packages()
        if name in found or not (own or (beside is not None and (beside / f"{first}.py").is_file())):
            continue
        path = module_file(name) if own or beside is None else beside / f"{first}.py"
        if path is None:
            continue
        found[name] = path
        waiting.extend(_imports(path, stamp(path), name))
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return found


def stamp(path: Path) -> tuple[int, int, int, int]:
    """Times of modification and of change in nanoseconds, size and inode: enough to know that a file was not touched."""
    info = path.stat()
    return info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino


def code_fingerprint(files: dict[str, Path]) -> str:
    """Digest of the sources by module name, so that the place of an installation does not count."""
    return digest(*_named_sources(files))


def _named_sources(files: dict[str, Path]) -> Iterator[bytes | str]:
    for name in sorted(files):
        yield name
        yield files[name].read_bytes()
