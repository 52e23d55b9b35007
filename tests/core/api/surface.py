# SPDX-License-Identifier: Apache-2.0
"""Writes the public surface down: `python tests/core/api/surface.py` renews `surface.txt` after a change that is meant."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lipbench import api, hookspecs, testing

FILE = Path(__file__).with_name("surface.txt")


def surface() -> str:
    """All names of `lipbench.api`, the hooks, and `lipbench.testing`, a line for everything that a plugin may lean on."""
    lines = ["# The public surface of lipbench; tests/core/api/surface.py writes this file."]
    lines += ["", "## lipbench.api"]
    for name in sorted(api.__all__):
        lines += ["", *_thing(name, getattr(api, name))]
    lines += ["", "## hooks", ""]
    for name, hook in sorted(vars(hookspecs).items()):
        if name.startswith("lipbench_"):
            lines.append(f"{name}{_signature(hook)}")
    lines += ["", "## lipbench.testing"]
    for name in sorted(testing.__all__):
        lines += ["", *_thing(name, getattr(testing, name))]
    return "\n".join(lines) + "\n"


def _thing(name: str, thing: Any) -> Iterator[str]:
    if inspect.isclass(thing):
        yield f"class {name}({', '.join(base.__name__ for base in thing.__bases__ if base is not object)})"
        yield from sorted(_members(thing))
    elif inspect.isroutine(thing):
        yield f"def {name}{_signature(thing)}"
    elif isinstance(thing, (int, str)) or typing.get_origin(thing) is not None:
        yield f"{name} = {_plain(thing)}"
    else:
        yield f"{name}: {type(thing).__name__}"


def _members(cls: type) -> Iterator[str]:
    """What is public in a class and the classes of ours above it."""
    fields = {f.name: f for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    for base in reversed([b for b in cls.__mro__ if b.__module__.startswith("lipbench")]):
        for name, type_ in vars(base).get("__annotations__", {}).items():
            if not name.startswith("_"):
                yield f"    {name}: {type_}{_default(fields[name]) if name in fields else _class_default(base, name)}"
        for name, member in vars(base).items():
            function = getattr(member, "__func__", member)
            if name in fields or (
                name.startswith("_")
                and (name != "__init__" or fields or base.__dict__.get("_is_protocol") or not inspect.isfunction(member))
            ):
                continue
            if isinstance(member, property):
                yield f"    {name}: property -> {inspect.signature(member.fget or _plain).return_annotation}"
            elif inspect.isfunction(function):
                kind = f"{type(member).__name__} " if isinstance(member, (staticmethod, classmethod)) else ""
                abstract = "abstract " if getattr(function, "__isabstractmethod__", False) else ""
                yield f"    {abstract}{kind}{name}{_signature(function)}"


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f" = {_plain(field.default)}"
    made = field.default_factory
    return "" if made is dataclasses.MISSING else f" = {getattr(made, '__name__', 'made')}()"


def _class_default(cls: type, name: str) -> str:
    return f" = {_plain(vars(cls)[name])}" if name in vars(cls) else ""


def _signature(function: Any) -> str:
    made = inspect.signature(function)
    parts = [
        p.replace(
            default=p.default if p.default is p.empty else _Word(_plain(p.default)),
            annotation=p.annotation if p.annotation is p.empty else _Word(p.annotation),
        )
        for p in made.parameters.values()
    ]
    back = made.return_annotation
    return str(made.replace(parameters=parts, return_annotation=back if back is made.empty else _Word(back)))


class _Word:
    """A text that is written without quotes: annotations are strings in our modules, and defaults may hold an address."""

    def __init__(self, text: Any) -> None:
        self.text = text if isinstance(text, str) else _plain(text)

    def __repr__(self) -> str:
        return self.text


def _plain(value: Any) -> str:
    return value.__name__ if inspect.isroutine(value) or inspect.isclass(value) else repr(value).replace("typing.", "")


if __name__ == "__main__":
    FILE.write_text(surface())
