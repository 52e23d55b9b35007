# SPDX-License-Identifier: Apache-2.0
"""Checks of any component: what it declares, its schema and its words."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterable, Mapping

from lipbench.contract.errors import PluginError
from lipbench.signature import describe, instantiate
from lipbench.signature import documentation as documented
from lipbench.testing.kit import DoesNotApply, Subject

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LONG = 100


def declaration(subject: Subject) -> Iterable[str]:
    """It has a plain name and a summary of one line."""
    made = subject.declared
    if made is None:
        raise DoesNotApply("the class was given and not the name of a declared component")
    if not _NAME.fullmatch(made.name):
        yield f"the name {made.name!r} has other signs than letters, digits, _ and -"
    if not made.summary.strip() or "\n" in made.summary or len(made.summary) > _LONG:
        yield f"the summary must be one line of 1 to {_LONG} characters, it is {made.summary!r}"


def schema(subject: Subject) -> Iterable[str]:
    """Its constructor is a schema: named, annotated parameters, and defaults that pass their own ranges."""
    from jsonschema import Draft202012Validator

    try:
        facts = describe(subject.kind, subject.cls)
    except PluginError as error:
        yield str(error)
        return
    for name, part in facts["schema"].get("properties", {}).items():
        if "default" not in part:
            continue
        whole = {"$defs": facts["schema"].get("$defs", {}), **part}
        for fault in Draft202012Validator(whole).iter_errors(part["default"]):
            yield f"the default of parameter {name!r} breaks its own schema: {fault.message}"


def construction(subject: Subject) -> Iterable[str]:
    """Making one twice gives two that share nothing, and leaves what it was given as it was."""
    given = dict(subject.params)
    before = repr(given)
    one, other = instantiate(subject.cls, given), instantiate(subject.cls, given)
    if repr(given) != before:
        yield f"the constructor changed the parameters that it was given, from {before} to {given!r}"
    for name, value in vars(one).items():
        if isinstance(value, (list, dict, set)) and vars(other).get(name) is value:
            yield f"attribute {name!r} is one object for all instances; make a new one in the constructor"


def documentation(subject: Subject) -> Iterable[str]:
    """Its class has a docstring, with an entry for each parameter under `Args:`."""
    doc = documented(subject.cls)
    if not doc:
        yield "the class has no docstring; `lipbench show` prints it"
        return
    described = set(re.findall(r"^\s+(\w+)(?: \([^)]*\))?:", doc.partition("Args:")[2], flags=re.MULTILINE))
    for name in describe(subject.kind, subject.cls)["schema"].get("properties", {}):
        if name not in described:
            yield f"parameter {name!r} is not described; write a line `{name}: ...` under `Args:` in the class docstring"


COMMON = (declaration, schema, construction, documentation)


def said_of_fields(cls: type) -> Mapping[str, str]:
    """What the strings below the fields of a dataclass say, its bases included."""
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for here, after in itertools.pairwise(body):
            if isinstance(here, ast.AnnAssign) and isinstance(here.target, ast.Name) and isinstance(after, ast.Expr):
                value = after.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    said[here.target.id] = value.value
    return said
