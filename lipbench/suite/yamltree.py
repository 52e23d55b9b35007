# SPDX-License-Identifier: Apache-2.0
"""YAML 1.2 as a tree whose every node knows its line, so that any later complaint can point at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipbench.contract.errors import SuiteError

MAX_NODES = 100_000
"""A suite has some hundreds; aliases that expand beyond this are an attack or an accident."""


@dataclass(frozen=True)
class Node:
    """A scalar, a list of nodes, or a mapping of names to nodes, and where it stands."""

    value: Any
    source: str
    line: int | None
    key_lines: dict[str, int] | None = None

    def plain(self) -> Any:
        """The tree without places."""
        if isinstance(self.value, dict):
            return {k: v.plain() for k, v in self.value.items()}
        if isinstance(self.value, list):
            return [v.plain() for v in self.value]
        return self.value

    def find(self, path: Sequence[str | int]) -> Node:
        """The deepest node on a path that exists."""
        node = self
        for step in path:
            below = (
                node.value
                if isinstance(node.value, dict)
                else dict(enumerate(node.value if isinstance(node.value, list) else ()))
            )
            if step not in below:
                break
            node = below[step]
        return node

    def error(self, message: str, path: Sequence[str | int] = ()) -> SuiteError:
        """An error at the place of a path below this node; a last step that is a key points at the key."""
        node = self.find(path)
        line = node.line
        if path and line is not None:
            line = (self.find(path[:-1]).key_lines or {}).get(str(path[-1]), line)
        return SuiteError(message, node.source, line)


def load_yaml(path: Path) -> Node:
    """Read a YAML file.

    Raises:
        SuiteError: No such file, not UTF-8, not YAML, a duplicate key, a key that is no string, or aliases that explode.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SuiteError("there is no such file", str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"cannot be read: {error}", str(path)) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Node:
    """Parse YAML text; see `load_yaml`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(str(error.problem or error.context or "this is not YAML").split())
        raise SuiteError(problem, source, mark.line + 1 if mark else None) from error
    except (YAMLError, RecursionError) as error:
        raise SuiteError(f"this is not YAML: {' '.join(str(error).split())[:200]}", source) from error
    if root is None:
        raise SuiteError("the file is empty", source)
    return _Reader(yaml.constructor, source).node(root, ())


class _Reader:
    """Turns composed nodes into ours, counting what aliases make of them."""

    def __init__(self, constructor: Any, source: str) -> None:
        self.constructor, self.source, self.count = constructor, source, 0

    def node(self, raw: Any, above: tuple[int, ...]) -> Node:
        line = raw.start_mark.line + 1
        self.count += 1
        if self.count > MAX_NODES:
            raise SuiteError(f"aliases expand to more than {MAX_NODES} values; write them out", self.source, line)
        if id(raw) in above:
            raise SuiteError("an alias contains itself", self.source, line)
        below = (*above, id(raw))
        kind = raw.id
        if kind == "scalar":
            try:
                value = self.constructor.construct_object(raw)
                if not isinstance(value, (bool, int, float, str, type(None))):
                    raise ValueError(f"a {type(value).__name__} has no place in a suite; write it in quotes")
                return Node(value, self.source, line)
            except Exception as error:
                # A tag such as !!python/object has no constructor here, which is the point of a safe loader.
                raise SuiteError(f"cannot read this value: {' '.join(str(error).split())[:120]}", self.source, line) from error
        if kind == "sequence":
            return Node([self.node(item, below) for item in raw.value], self.source, line)
        return self.mapping(raw, below, line)

    def mapping(self, raw: Any, below: tuple[int, ...], line: int) -> Node:
        values: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in raw.value:
            at = key_node.start_mark.line + 1
            key = self.node(key_node, below).value
            if not isinstance(key, str):
                raise SuiteError(f"key {key!r} must be a string; put it in quotes", self.source, at)
            if key in values:
                raise SuiteError(f"key {key!r} appears twice, first in line {lines[key]}; remove one", self.source, at)
            values[key], lines[key] = self.node(value_node, below), at
        return Node(values, self.source, line, lines)


def merge(base: Node, patch: Node) -> Node:
    """A patch over a base: mappings merge, null removes, everything else replaces."""
    if not (isinstance(base.value, dict) and isinstance(patch.value, dict)):
        return patch
    values, lines = dict(base.value), dict(base.key_lines or {})
    for key, new in patch.value.items():
        if new.value is None:
            values.pop(key, None)
            continue
        values[key] = merge(values[key], new) if key in values else new
        if patch.key_lines and key in patch.key_lines:
            lines[key] = patch.key_lines[key]
    return Node(values, base.source, base.line, lines)


def assign(root: Node, setting: str) -> Node:
    """Apply one `--set KEY.PATH=VALUE`; steps into lists are numbers from 0.

    Raises:
        SuiteError: No `=`, a value that is not YAML, or a list index that does not exist.
    """
    key, equals, text = setting.partition("=")
    source = f"--set {setting}"
    if not equals or not key:
        raise SuiteError("write it as KEY.PATH=VALUE", source)
    leaf = parse_yaml(text, source) if text.strip() else Node("", source, None)
    return _assign(root, key.split("."), _unplaced(leaf, source), source)


def _unplaced(node: Node, source: str) -> Node:
    """Without lines: a command line has none."""
    value = node.value
    if isinstance(value, dict):
        value = {k: _unplaced(v, source) for k, v in value.items()}
    elif isinstance(value, list):
        value = [_unplaced(v, source) for v in value]
    return Node(value, source, None)


def _assign(node: Node, steps: list[str], leaf: Node, source: str) -> Node:
    if not steps:
        return leaf
    head, rest = steps[0], steps[1:]
    if isinstance(node.value, list):
        if not (head.isascii() and head.isdecimal()) or int(head) >= len(node.value):
            raise SuiteError(f"{head!r} is no place in a list of {len(node.value)}; count from 0", source)
        items = list(node.value)
        items[int(head)] = _assign(items[int(head)], rest, leaf, source)
        return Node(items, node.source, node.line)
    # A bare name may get parameters: `--set task.count=64` where the suite says `task: NAME`.
    named = {"use": node} if isinstance(node.value, str) else {}
    mapping = node.value if isinstance(node.value, dict) else named
    child = mapping.get(head, Node({}, source, None))
    return Node({**mapping, head: _assign(child, rest, leaf, source)}, node.source, node.line, node.key_lines)
