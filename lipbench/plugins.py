# SPDX-License-Identifier: Apache-2.0
"""Discovery of plugins: entry points in sorted order, single files on request, and a broken one takes nothing down."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar, cast

import pluggy

from lipbench import __version__, hookspecs
from lipbench.contract.components import KINDS, Component, Format, Report
from lipbench.contract.errors import PluginError, UsageError, did_you_mean
from lipbench.contract.execution import ExecutorDeclaration
from lipbench.contract.functions import bring
from lipbench.fingerprint import module_file
from lipbench.plugin_checks import check_api, check_hooks, check_requirement, import_fault

GROUP = "lipbench"
OWN = "lipbench.own_plugin"
"""What the core itself declares by the hooks; it is always there."""
LIFECYCLE = ("lipbench_run_started", "lipbench_record_written", "lipbench_run_finished")
Listener = Callable[[Mapping[str, Any]], Any]
"""Takes all that a lifecycle hook is given, by name, and hands back what it returns."""


@dataclass(frozen=True, kw_only=True)
class PluginInfo:
    """What became of one plugin."""

    name: str
    distribution: str
    """Name of the distribution, or the file that `--plugin` named."""
    version: str
    """Empty for what `--plugin` named."""
    status: Literal["ok", "blocked", "broken"]
    reason: str = ""
    file: str = ""
    """Source of the module that declares it; empty where that cannot be found."""
    brings: str = ""
    """The package or module whose functions a suite may name; empty for the core and for what is not active."""
    components: tuple[Component, ...] = ()
    reports: tuple[Report, ...] = ()
    executors: tuple[ExecutorDeclaration, ...] = ()
    formats: tuple[Format, ...] = ()
    listeners: Mapping[str, Listener] = field(default_factory=dict)
    """Name of a lifecycle hook to what calls it."""

    @property
    def declares(self) -> bool:
        """False where all that it has are functions that a suite may name."""
        return bool(self.components or self.reports or self.executors or self.formats or self.listeners)

    @property
    def without(self) -> str:
        """What a user does to run without it, for messages."""
        return f"block the plugin with -p no:{self.name}" if self.version else f"leave out --plugin {self.distribution}"


@dataclass(frozen=True, kw_only=True)
class PluginOptions:
    """Which plugins to load; workers get the same as their parent."""

    extra: tuple[str, ...] = ()
    """Files or importable modules given by `--plugin`."""
    blocked: tuple[str, ...] = ()
    """Names given by `-p no:NAME`."""
    autoload: bool = True
    """False leaves installed plugins alone."""


def load_plugins(options: PluginOptions = PluginOptions()) -> list[PluginInfo]:
    """Load all plugins that the options allow, each by itself.

    Raises:
        UsageError: A file that was asked for by `--plugin`, or a plugin that was blocked by name, does not exist.
        PluginError: A plugin that was asked for by `--plugin` is broken.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    found = [_guarded(manager, "core", "lipbench", __version__, OWN, ())]
    installed = sorted(entry_points(group=GROUP), key=lambda e: (e.dist.name if e.dist else "", e.name))
    _check_blocked(options, {e.name for e in installed})
    for point in installed if options.autoload else ():
        dist, version = (point.dist.name, point.dist.version) if point.dist else ("?", "?")
        if point.name in options.blocked:
            found.append(PluginInfo(name=point.name, distribution=dist, version=version, status="blocked", reason="-p no:"))
        else:
            found.append(_guarded(manager, point.name, dist, version, point, found))
    asked = list(dict.fromkeys(options.extra))
    for place in asked:
        if place.endswith(".py") and not Path(place).is_file():
            raise UsageError(f"--plugin {place}: there is no such file")
    for place in asked:
        found.append(_guarded(manager, _stem(place), place, "", place, found))
    for info in found[len(found) - len(asked) :]:
        if info.status == "broken":
            raise PluginError(f"--plugin {info.distribution}: {info.reason}")
    return found


def _check_blocked(options: PluginOptions, installed: Iterable[str]) -> None:
    for name in options.blocked:
        if name in installed:
            continue
        for place in options.extra:
            if name == _stem(place):
                raise UsageError(f"-p no:{name}: this blocks installed plugins alone; leave out --plugin {place}")
        raise UsageError(f"-p no:{name}: there is no such plugin; {did_you_mean(name, installed)}")


def _stem(place: str) -> str:
    return Path(place).stem if place.endswith(".py") else place


def _guarded(
    manager: pluggy.PluginManager,
    name: str,
    dist: str,
    version: str,
    source: EntryPoint | str,
    before: Sequence[PluginInfo],
) -> PluginInfo:
    """Import and ask one plugin; whatever it raises becomes its own reason."""
    file: Path | None = None
    try:
        file = _file_of(source)
        _check_before(name, source, file, before)
        if isinstance(source, EntryPoint):
            module, brings = source.load(), _package(source)
        elif source == OWN:
            module, brings = importlib.import_module(OWN), ""
        else:
            module, brings = import_place(source), _stem(source)
        given = _ask(manager, name, module, isinstance(source, EntryPoint))
        listeners = dict(_listeners(manager, module))
        if brings:
            bring(brings)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # BaseException, because a plugin that calls sys.exit on import must not end the command that merely lists it.
        reason = import_fault(error, source, file)
        return PluginInfo(name=name, distribution=dist, version=version, status="broken", reason=reason, file=str(file or ""))
    return PluginInfo(
        name=name,
        distribution=dist,
        version=version,
        status="ok",
        file=str(file or ""),
        brings=brings,
        components=given["lipbench_components"],
        reports=given["lipbench_reports"],
        executors=given["lipbench_executors"],
        formats=given["lipbench_formats"],
        listeners=listeners,
    )


def _package(point: EntryPoint) -> str:
    """The package of an installed plugin: the one around the module with its hooks, or that module where there is none."""
    module = point.value.partition(":")[0].strip()
    return module.rpartition(".")[0] or module


def bring_installed() -> None:
    """In a worker, let parameters name functions of installed plugins; what options block, the parent has refused."""
    for point in entry_points(group=GROUP):
        bring(_package(point))


def _file_of(source: EntryPoint | str) -> Path | None:
    if isinstance(source, EntryPoint):
        return module_file(source.value.partition(":")[0].strip())
    return Path(source).resolve() if source.endswith(".py") else module_file(source)


def _check_before(name: str, source: EntryPoint | str, file: Path | None, before: Sequence[PluginInfo]) -> None:
    """What is wrong with a plugin before any of its code runs."""
    for other in before:
        if other.name == name and other.status == "ok":
            asked = isinstance(source, str)
            raise PluginError(
                f"plugin {other.name!r} of {other.distribution} ({other.file}) has this name already; "
                + (
                    f"leave out --plugin {source}, or rename it"
                    if asked
                    else "rename one of them, or uninstall one of the two distributions"
                )
            )
    if isinstance(source, EntryPoint):
        check_requirement(source.dist)
    check_api(file)


def import_place(place: str) -> ModuleType:
    """Import a `.py` file under its stem, or a module by name; suites may then name its functions.

    Raises:
        PluginError: The file does not exist or its stem is taken by another module.
    """
    bring(_stem(place))
    return _import_file(place) if place.endswith(".py") else importlib.import_module(place)


def _import_file(place: str) -> ModuleType:
    path = Path(place).resolve()
    if not path.is_file():
        raise PluginError("there is no such file")
    if not path.stem.isidentifier():
        raise PluginError(f"a plugin's file name must be a Python name, {path.stem!r} is none; rename the file")
    loaded = sys.modules.get(path.stem)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
        raise PluginError(f"a module named {path.stem!r} is already imported; rename the file")
    other = importlib.util.find_spec(path.stem)
    if other is not None and other.origin != str(path):
        raise PluginError(f"an installed module is named {path.stem!r} too; rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise PluginError("this is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


_HOOKS: dict[str, type] = {
    "lipbench_components": Component,
    "lipbench_reports": Report,
    "lipbench_executors": ExecutorDeclaration,
    "lipbench_formats": Format,
}
"""What each hook yields."""


def _ask(manager: pluggy.PluginManager, name: str, module: object, installed: bool) -> dict[str, tuple[Any, ...]]:
    """Register one plugin and call its hooks alone, so that one that raises loses only its own answers."""
    check_hooks(manager, module)
    manager.register(module, name)
    given: dict[str, tuple[Any, ...]] = dict.fromkeys(_HOOKS, ())
    callers = manager.get_hookcallers(module) or []
    for caller in callers:
        for implementation in caller.get_hookimpls():
            if implementation.plugin is module and caller.name in given:
                given[caller.name] += tuple(cast("Iterable[object]", implementation.function()))
    if not callers and (installed or _meant_hooks(module)):
        raise PluginError("it implements no hook; mark its functions with @lipbench.api.hookimpl")
    for hook, things in given.items():
        seen: set[tuple[str, str]] = set()
        for thing in things:
            _check(hook, thing)
            key = getattr(thing, "kind", ""), thing.name
            if key in seen and hook != "lipbench_reports":
                raise PluginError(f"{hook} declares {' '.join(filter(None, key))!r} twice; give one of them another name")
            seen.add(key)
    return given


def _meant_hooks(module: object) -> bool:
    """Whether a module without a marked hook looks as if it were to have some, and is not just a place for functions."""
    names = {name for name, value in vars(module).items() if not isinstance(value, ModuleType)}
    return "hookimpl" in names or any(name.startswith("lipbench_") for name in names)


def _check(hook: str, thing: Any) -> None:
    if not (isinstance(thing, _HOOKS[hook]) and ":" in getattr(thing, "factory", "")):
        raise PluginError(f"a hook gave {thing!r}; {hook} must yield {_HOOKS[hook].__name__} with factory='module:name'")
    if isinstance(thing, Component) and thing.kind not in KINDS:
        raise PluginError(f"component {thing.name!r} is of kind {thing.kind!r}; the kinds are {', '.join(KINDS)}")


def _listeners(manager: pluggy.PluginManager, module: object) -> Iterator[tuple[str, Listener]]:
    """What a plugin has of lifecycle hooks."""
    for caller in manager.get_hookcallers(module) or []:
        for made in caller.get_hookimpls():
            if caller.name in LIFECYCLE and made.plugin is module:
                yield caller.name, partial(_call, made)


def _call(made: pluggy.HookImpl, given: Mapping[str, Any]) -> Any:
    """Call an implementation with those parameters that it names, as pluggy does."""
    return made.function(*[given[name] for name in made.argnames])


def all_reports(plugins: Sequence[PluginInfo], task: str) -> Iterator[Report]:
    """The reports on the records of one task, by kind, else in the order in which their plugins declare them."""
    yield from sorted((r for p in plugins for r in p.reports if r.task == task), key=lambda r: r.kind)


D = TypeVar("D", ExecutorDeclaration, Format)


def declared(what: str, name: str, found: Sequence[tuple[D, PluginInfo]]) -> tuple[D, PluginInfo]:
    """The one declaration of a name.

    Args:
        what: What it is called in a message, such as `executor`.
        name: As on the command line.
        found: All declarations with their plugins.

    Raises:
        UsageError: There is none of this name.
        PluginError: Two plugins claim it.
    """
    wanted = [(thing, plugin) for thing, plugin in found if thing.name == name]
    if not wanted:
        raise UsageError(f"there is no {what} {name!r}; {did_you_mean(name, (thing.name for thing, _ in found))}")
    if len(wanted) > 1:
        raise PluginError(
            f"{what} {name!r} is claimed by plugins {' and '.join(f'{p.name} ({p.distribution})' for _, p in wanted)}; "
            "block one with -p no:NAME, or leave out its --plugin"
        )
    return wanted[0]
