# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a plugin as a whole, each in a sentence that says where and what to do."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any

import pluggy

from lipbench import __version__, hookspecs
from lipbench.contract.errors import PluginError, did_you_mean, in_words
from lipbench.contract.version import API_VERSION

_STATED = re.compile(r"^lipbench_api\s*(?::\s*int\s*)?=\s*(\d+)\s*(?:#.*)?$", re.MULTILINE)
_OURS = re.compile(r"^\s*lipbench(?![\w.-])", re.IGNORECASE)
_HOOKS: Mapping[str, Callable[..., Any]] = {n: f for n, f in vars(hookspecs).items() if n.startswith("lipbench_")}


def check_api(file: Path | None) -> None:
    """Refuse a plugin that was made for another version of the API; read off its source, as its imports may fail first.

    Raises:
        PluginError: `lipbench_api = N` in it is not the version that is here.
    """
    try:
        found = _STATED.search(file.read_text(encoding="utf-8")) if file else None
    except (OSError, UnicodeDecodeError):
        return  # importing it says what is wrong
    if found and int(found[1]) != API_VERSION:
        newer = int(found[1]) > API_VERSION
        raise PluginError(
            f"it was made for version {found[1]} of lipbench.api, and this lipbench has version {API_VERSION}; "
            + ("upgrade lipbench" if newer else "install a newer version of the plugin, or port it and change lipbench_api")
        )


def check_requirement(distribution: Distribution | None) -> None:
    """Refuse a plugin whose distribution asks for another lipbench.

    Raises:
        PluginError: The version that is here is not among those that it asks for.
    """
    lines = [line for line in getattr(distribution, "requires", None) or () if _OURS.match(line)]
    if not lines or distribution is None:
        return
    from packaging.requirements import InvalidRequirement, Requirement  # here, as few plugins come from elsewhere

    for line in lines:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue  # pip refuses such a distribution; a broken line is no reason to do so as well
        applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if applies and not wanted.specifier.contains(__version__, prereleases=True):
            raise PluginError(
                f"{distribution.name} {distribution.version} asks for lipbench{wanted.specifier}, and this is lipbench {__version__}; "
                f"install another version of {distribution.name}, or of lipbench"
            )


def check_hooks(manager: pluggy.PluginManager, module: object) -> None:
    """Refuse hooks that do not exist, and parameters that they are not given.

    Raises:
        PluginError: The message names function, file and line.
    """
    for name in dir(module):
        if manager.parse_hookimpl_opts(module, name) is None:
            continue
        function = getattr(module, name)
        if name not in _HOOKS:
            raise PluginError(f"hook {name!r} does not exist{_line_of(function)}; {did_you_mean(name, _HOOKS)}")
        known = list(inspect.signature(_HOOKS[name]).parameters)
        for given in inspect.signature(function).parameters.values():
            if given.name not in known and given.default is given.empty:
                takes = f"takes {' and '.join(known)}" if known else "takes no argument"
                raise PluginError(
                    f"hook {name} {takes}, not {given.name!r}{_line_of(function)}; remove or rename the parameter"
                )


def _line_of(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return f", {code.co_filename}:{code.co_firstlineno}" if code else ""


def import_fault(error: BaseException, source: EntryPoint | str, file: Path | None) -> str:
    """What to say of a plugin whose import or hooks raised."""
    if isinstance(source, EntryPoint) and (lost := _leads_nowhere(error, source)):
        return (
            f"its entry point {source.name} = {source.value!r} leads nowhere: {lost}; "
            f"mend [project.entry-points.lipbench] in its pyproject.toml and install it again"
        )
    words = in_words(error)
    if isinstance(error, PluginError):
        return words
    place = next(_frames(error, file), None)
    words += f", at {place}" if place and place not in words else ""
    if isinstance(error, ModuleNotFoundError):
        top = (error.name or "").partition(".")[0]
        words += f"; install what has {top!r}" if top and top != "lipbench" else "; plugins import lipbench.api alone"
    elif isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "lipbench":
        words += "; the names of lipbench.api are those of another version: install the lipbench that the plugin asks for"
    return words


def _leads_nowhere(error: BaseException, source: EntryPoint) -> str:
    """What an entry point names that does not exist, empty where something else is wrong."""
    module, _, attribute = source.value.partition(":")
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
        return f"there is no module {error.name!r}"
    own = traceback.extract_tb(error.__traceback__)
    if (
        isinstance(error, AttributeError)
        and attribute
        and own
        and own[-1].filename.endswith(("metadata/__init__.py", "_functools"))
    ):
        return f"module {module!r} has no {attribute!r}"
    return ""


def _frames(error: BaseException, file: Path | None) -> Iterator[str]:
    """Where in the files of a plugin an error came through, the innermost place first."""
    if isinstance(error, SyntaxError) and error.filename:
        yield f"{error.filename}:{error.lineno}"
    if file is not None:
        folder = str(file.parent) if file.name == "__init__.py" or (file.parent / "__init__.py").is_file() else str(file)
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.filename.startswith(folder):
                yield f"{frame.filename}:{frame.lineno}"
