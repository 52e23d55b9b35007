# SPDX-License-Identifier: Apache-2.0
"""Components by kind and name, with descriptions kept on disk so that planning imports none of them."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

from lipbench import __version__
from lipbench.contract.components import KINDS, Component, Format, Kind
from lipbench.contract.errors import PluginError, did_you_mean, in_words
from lipbench.contract.execution import Executor, ExecutorDeclaration
from lipbench.files import canonical, write_atomic
from lipbench.fingerprint import closure, code_fingerprint, digest, module_file, stamp
from lipbench.plugins import PluginInfo, PluginOptions, declared, load_plugins


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A component and the plugin that has it."""

    component: Component
    plugin: PluginInfo

    @property
    def qualified(self) -> str:
        """`distribution:name`, which chooses where two plugins claim a name."""
        return f"{self.plugin.distribution}:{self.component.name}"


def cache_folder() -> Path:
    """What can be deleted at any time is kept in `$LIPBENCH_CACHE`, else in the user's cache folder."""
    folder = os.environ.get("LIPBENCH_CACHE")
    if folder is None:
        from platformdirs import user_cache_dir

        folder = user_cache_dir("lipbench")
    return Path(folder)


def cache_file() -> Path:
    """Where descriptions are kept."""
    return cache_folder() / "components.json"


_MADE_BY = f"{__version__}, descriptions 5"
"""What wrote a description; another number where their fields have changed."""


class Registry:
    """All components of the loaded plugins."""

    def __init__(self, plugins: Iterable[PluginInfo]) -> None:
        self.plugins = list(plugins)
        self._by_kind: dict[Kind, dict[str, list[Registered]]] = {kind: {} for kind in KINDS}
        for plugin in self.plugins:
            for component in plugin.components:
                entry = Registered(component=component, plugin=plugin)
                self._by_kind[component.kind].setdefault(component.name, []).append(entry)
        self._cache_changed = False
        self._known: dict[str, tuple[str, dict[str, Any]]] = {}

    @property
    def modules(self) -> frozenset[str]:
        """Packages and modules whose functions a suite may name: those of active plugins."""
        return frozenset(plugin.brings for plugin in self.plugins if plugin.brings)

    def names(self, kind: Kind) -> list[str]:
        """Names of one kind, sorted."""
        return sorted(self._by_kind[kind])

    def all(self, kind: Kind) -> list[Registered]:
        """Components of one kind, sorted by name and distribution."""
        return [r for name in self.names(kind) for r in sorted(self._by_kind[kind][name], key=lambda r: r.qualified)]

    def get(self, kind: Kind, name: str) -> Registered:
        """Look a component up.

        Args:
            kind: One of the five kinds.
            name: Its name, or `distribution:name`.

        Raises:
            PluginError: It does not exist (with the closest name), or two plugins claim it.
        """
        wanted = [r for r in self._by_kind[kind].get(name.rpartition(":")[2], []) if name in (r.component.name, r.qualified)]
        if len(wanted) == 1:
            return wanted[0]
        if wanted:
            wanted = sorted(wanted, key=lambda r: r.qualified)
            names = {r.qualified for r in wanted}
            raise PluginError(
                f"{kind} {name!r} is claimed by {' and by '.join(map(_with_file, wanted))}; "
                + (f"write {' or '.join(sorted(names))}" if len(names) == len(wanted) else _block_one(wanted))
            )
        raise PluginError(f"there is no {kind} {name!r}; {self._hint(kind, name)}")

    def _hint(self, kind: Kind, name: str) -> str:
        for other in KINDS:
            if other != kind and name in self._by_kind[other]:
                return f"{name!r} is a {other}"
        broken = [p.name for p in self.plugins if p.status == "broken"]
        tail = f" (broken plugins: {', '.join(broken)}; see lipbench doctor)" if broken else ""
        hint = did_you_mean(name, self.names(kind))
        if not hint.startswith("did you mean"):
            hint += "; a plugin in one file is loaded by --plugin FILE"
        return hint + tail

    def load(self, entry: Registered) -> type:
        """Import a component's class.

        Raises:
            PluginError: It cannot be imported; the message names component, plugin and cause.
        """
        try:
            return load_factory(entry.component.factory)
        except Exception as error:
            raise self._broken(entry, error) from error

    def _broken(self, entry: Registered, error: Exception) -> PluginError:
        kind, name = entry.component.kind, entry.component.name
        file = module_file(entry.component.factory.partition(":")[0]) or entry.plugin.file
        return PluginError(
            f"{kind} {name!r} of plugin {entry.plugin.name!r} ({entry.plugin.distribution}) cannot be loaded: {in_words(error)}"
            + (f", in {file}" if file and str(file) not in str(error) else "")
            + f"; mend it, or {entry.plugin.without}"
        )

    def executors(self) -> list[tuple[ExecutorDeclaration, PluginInfo]]:
        """Declared executors with their plugins, sorted by name."""
        return sorted(((e, p) for p in self.plugins for e in p.executors), key=lambda pair: (pair[0].name, pair[1].name))

    def formats(self) -> list[tuple[Format, PluginInfo]]:
        """Declared formats of leaderboards with their plugins, sorted by name."""
        return sorted(((f, p) for p in self.plugins for f in p.formats), key=lambda pair: (pair[0].name, pair[1].name))

    def load_executor(self, name: str) -> type[Executor]:
        """Import the class of an executor.

        Raises:
            UsageError: There is none of this name.
            PluginError: Two plugins claim it, or it cannot be imported.
        """
        made, plugin = declared("executor", name, self.executors())
        try:
            found = load_factory(made.factory)
        except Exception as error:
            raise PluginError(f"executor {name!r} of plugin {plugin.name!r} cannot be loaded: {in_words(error)}") from error
        if not (isinstance(found, type) and issubclass(found, Executor)):
            raise PluginError(f"executor {name!r} of plugin {plugin.name!r}: {found!r} is no subclass of lipbench.api.Executor")
        return found

    @cached_property
    def _cache(self) -> dict[str, Any]:
        try:
            raw = json.loads(cache_file().read_text())
        except (OSError, ValueError):
            return {}
        return raw if isinstance(raw, dict) else {}

    def fingerprint(self, entry: Registered) -> str:
        """Digest of the component's name and version of plugin and of the sources that it reaches in its package."""
        return self._facts(entry)[0]

    def describe(self, entry: Registered) -> Mapping[str, Any]:
        """Schema, docstring and protocol; see `lipbench.signature.describe`. Imports the component only when it changed.

        Raises:
            PluginError: The component cannot be imported or its signature is incomplete.
        """
        return self._facts(entry)[1]

    def _facts(self, entry: Registered) -> tuple[str, dict[str, Any]]:
        name = f"{entry.component.kind} {entry.component.factory}"
        if name not in self._known:
            module = entry.component.factory.partition(":")[0]
            # The place is part of the key: two checkouts of one plugin share this cache, but not their sources.
            self._known[name] = self._look_up(entry, module, f"{name} {module_file(module)}")
        return self._known[name]

    def _look_up(self, entry: Registered, module: str, key: str) -> tuple[str, dict[str, Any]]:
        kept = self._kept(key, "code", "facts")
        if kept is not None and kept.get("lipbench") == _MADE_BY:
            return _with_version(kept["code"], entry), kept["facts"]
        from lipbench.signature import describe

        try:
            facts = describe(entry.component.kind, self.load(entry))
            canonical(facts)
            files = closure(module)
            for name in facts["mro"]:
                # A base class of another package decides as much as the component's own code.
                other = name.partition(":")[0]
                if other.partition(".")[0] not in (module.partition(".")[0], "lipbench", "abc", "typing"):
                    files |= closure(other)
            if not files:
                raise PluginError("its source cannot be found, so a change of it would not be seen")
        except Exception as error:
            raise (error if "cannot be loaded" in str(error) else self._broken(entry, error)) from error
        code = code_fingerprint(files)
        stamps = {str(path): list(stamp(path)) for path in files.values()}
        self._cache[key] = {"lipbench": _MADE_BY, "code": code, "files": stamps, "facts": facts}
        self._cache_changed = True
        return _with_version(code, entry), facts

    def _kept(self, key: str, *needed: str) -> dict[str, Any] | None:
        """An entry of the cache that is whole and whose files are untouched."""
        kept = self._cache.get(key)
        if not isinstance(kept, dict) or not all(name in kept for name in ("files", *needed)):
            return None
        return kept if isinstance(kept["files"], dict) and _untouched(kept["files"]) else None

    def remember(self, key: str, answer: Any, files: Iterable[Path]) -> None:
        """Keep a JSON-able answer on disk as long as the named files stay untouched."""
        self._cache[key] = {"files": {str(path): list(stamp(path)) for path in files}, "answer": answer}
        self._cache_changed = True

    def recall(self, key: str) -> Any:
        """What `remember` kept, None where it is not there or a file was touched."""
        kept = self._kept(key, "answer")
        return None if kept is None else kept["answer"]

    def save(self) -> None:
        """Keep what was learned; a cache that cannot be written is only slower."""
        if not self._cache_changed:
            return
        try:
            write_atomic(cache_file(), json.dumps(self._cache))
        except OSError:
            return
        self._cache_changed = False


def _with_file(entry: Registered) -> str:
    file = entry.plugin.file
    return f"{entry.plugin.distribution} ({file})" if file else entry.plugin.distribution


def _block_one(wanted: Iterable[Registered]) -> str:
    return " or ".join(sorted({r.plugin.without for r in wanted}))


def load_factory(factory: str) -> Any:
    """Import what `module:NAME` names, a class or a function; whatever the import raises goes through."""
    module, _, name = factory.partition(":")
    return attrgetter(name)(importlib.import_module(module))


def _untouched(files: Mapping[str, list[int]]) -> bool:
    try:
        return all(list(stamp(Path(name))) == was for name, was in files.items())
    except OSError:
        return False


def _with_version(code: str, entry: Registered) -> str:
    return digest(entry.plugin.name, entry.plugin.version, entry.component.factory, code)


def load_registry(options: PluginOptions = PluginOptions()) -> Registry:  # noqa: B008  (frozen)
    """Load plugins and make a registry of them."""
    return Registry(load_plugins(options))
