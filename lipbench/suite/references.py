# SPDX-License-Identifier: Apache-2.0
"""Reference files: numbers that a source published, with the cells that measure the same."""

from __future__ import annotations

import copy
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError

from lipbench.contract.errors import SuiteError, did_you_mean
from lipbench.files import canonical
from lipbench.suite.yamltree import Node, load_yaml


def _pattern(value: Any) -> Any:
    """A number, true, false or null, as a task parameter may be, in the words that tables use for it."""
    return canonical(value) if value is None or isinstance(value, (bool, int, float)) else value


Text = Annotated[StrictStr, Field(min_length=1)]
Pattern = Annotated[StrictStr, Field(min_length=1), BeforeValidator(_pattern)]


class Published(BaseModel):
    """One published number."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    quantity: Text
    """What it is, in the source's words."""
    value: StrictInt | StrictFloat
    unit: StrictStr = ""
    """Unit of the published value; where ours has another one, no difference is shown."""
    where: Annotated[dict[str, Pattern], Field(min_length=1)]
    """Role, task parameter or `metric` to a pattern for its label or name, such as `mlp*`."""
    extra: Text | None = None
    """Key of a number in the record's extras that is compared instead of the value."""
    note: StrictStr = ""
    """Where in the source it stands."""
    verdict: StrictStr = ""
    """What we think of the published claim."""


class ReferenceFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")

    citation: Text
    entries: Annotated[list[Published], Field(min_length=1)]


def load_references(path: Path) -> dict[str, Any]:
    """Read and check a reference file.

    Returns:
        `citation` and `entries`, JSON-able.

    Raises:
        SuiteError: Anything wrong with the file, with its line.
    """
    stamp: tuple[int, ...] = ()
    with suppress(OSError):  # reading it says better what is wrong
        info = path.stat()
        stamp = info.st_mtime_ns, info.st_size, info.st_ino
    return copy.deepcopy(_load(path, stamp))


@lru_cache(maxsize=32)
def _load(path: Path, _stamp: tuple[int, ...]) -> dict[str, Any]:
    """Read once for all profiles of a suite; the stamp makes the cache see a change."""
    tree = load_yaml(path)
    if not isinstance(tree.value, dict):
        raise tree.error("a reference file is a mapping with `citation:` and `entries:`")
    try:
        return ReferenceFile.model_validate(tree.plain()).model_dump()
    except ValidationError as error:
        raise _explain(tree, error) from error


def _explain(tree: Node, error: ValidationError) -> SuiteError:
    """The first complaint in our words, at its line; an unknown key before the missing one that it was meant to be."""
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    path = _steps(tree, first["loc"])
    name = ".".join(map(str, path))
    if first["type"] == "extra_forbidden":
        known = (Published if len(path) > 1 else ReferenceFile).model_fields
        return tree.error(f"unknown key {path[-1]!r}; {did_you_mean(str(path[-1]), known)}", path)
    if first["type"] == "missing":
        return tree.error(f"`{name}:` is missing", path[:-1])
    if len(path) > 2 and path[2] == "value":
        return tree.error(f"{name}: must be a finite number, found {tree.find(path).plain()!r}", path)
    return tree.error(f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}, found {tree.find(path).plain()!r}", path)


def _steps(tree: Node, places: tuple[str | int, ...]) -> list[str | int]:
    """The steps of a complaint that are places in the file; branches of a union are not. The last one may be missing."""
    path: list[str | int] = []
    for step in places:
        here = tree.find(path).value
        inside = (isinstance(here, dict) and step in here) or (isinstance(here, list) and isinstance(step, int))
        if inside or (step == places[-1] and isinstance(here, dict)):
            path.append(step)
    return path
