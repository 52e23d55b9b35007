# SPDX-License-Identifier: Apache-2.0
"""One use of a component in a suite: name, label and resolved parameters, checked against its signature."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lipbench.contract.components import Kind
from lipbench.contract.errors import PluginError, did_you_mean
from lipbench.contract.functions import FORMAT, is_brought, refusal
from lipbench.files import canonical
from lipbench.registry import Registered, Registry
from lipbench.suite.yamltree import Node


@dataclass(frozen=True, kw_only=True)
class Use:
    """A component with parameters."""

    kind: Kind
    name: str
    label: str
    """What tables show: the name with the parameters that the suite gives, or what it says after `as:`."""
    params: Mapping[str, Any]
    """All parameters, defaults included."""
    code: str
    """Fingerprint of its code."""
    entry: Registered

    def to_json(self) -> dict[str, Any]:
        """What a worker needs to make it."""
        return {"name": self.name, "label": self.label, "factory": self.entry.component.factory, "params": dict(self.params)}

    @cached_property
    def identity(self) -> str:
        """Name and parameters, without the code: what random streams hang on."""
        return f"{self.name}{canonical(self.params)}"


class Resolver:
    """Turns what stands in a suite into checked uses; each different text is checked once."""

    def __init__(self, registry: Registry, tree: Node) -> None:
        self.registry, self.tree = registry, tree
        self._done: dict[tuple[Kind, str], Use] = {}
        self.places: dict[tuple[Kind, str, str], Sequence[str | int]] = {}
        """Kind, label and identity of a use to where it first stands in the suite."""

    def use(self, kind: Kind, raw: Any, path: Sequence[str | int]) -> Use:
        """Resolve `NAME` or `{use: NAME, as: LABEL, PARAMETER: VALUE, ...}`.

        Raises:
            SuiteError: With the line of the fault: unknown component or parameter, wrong type, value out of range.
        """
        key = (kind, json.dumps(raw, sort_keys=True, default=str))
        if key not in self._done:
            use = self._done[key] = self._resolve(kind, raw, path)
            self.places.setdefault((kind, use.label, use.identity), path)
        return self._done[key]

    def _resolve(self, kind: Kind, raw: Any, path: Sequence[str | int]) -> Use:
        if isinstance(raw, str):
            name, given, label = raw, {}, None
        elif isinstance(raw, dict) and isinstance(raw.get("use"), str):
            name, label = raw["use"], raw.get("as")
            given = {k: v for k, v in raw.items() if k not in ("use", "as")}
        else:
            raise self.tree.error(f"a {kind} is written NAME or {{use: NAME, PARAMETER: VALUE}}, found {raw!r}", path)
        if label is not None and not isinstance(label, str):
            raise self.tree.error(f"the label after `as:` must be a string, found {label!r}", [*path, "as"])
        if label is not None and (not label.strip() or any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in label)):
            raise self.tree.error("the label after `as:` is empty or has control characters; write plain text", [*path, "as"])
        try:
            entry = self.registry.get(kind, name)
            facts = self.registry.describe(entry)
        except PluginError as error:
            place = [*path, "use"] if isinstance(raw, dict) else path
            raise self.tree.error(str(error), place) from error
        check(facts["schema"], given, f"{kind} {name!r}", self.tree, path, self.registry.modules)
        return Use(
            kind=kind,
            name=entry.component.name,
            label=label or default_label(entry.component.name, given),
            params=defaults(facts["schema"]) | given,
            code=self.registry.fingerprint(entry),
            entry=entry,
        )


def default_label(name: str, given: Mapping[str, Any]) -> str:
    """`name` or `name(a=1, b=2-3)` with the parameters that were given.

    >>> default_label("mlp", {"hidden": [64, 64], "bias": True})
    'mlp(hidden=64-64, bias=true)'
    """
    if not given:
        return name
    return f"{name}({', '.join(f'{k}={_short(v)}' for k, v in given.items())})"


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(v, (int, float)) for v in value):
        return "-".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value)
    return value if isinstance(value, str) else json.dumps(value)


def defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Default values of a schema's properties."""
    return {k: p["default"] for k, p in schema.get("properties", {}).items() if "default" in p}


def check(
    schema: Mapping[str, Any],
    given: Mapping[str, Any],
    who: str,
    tree: Node,
    path: Sequence[str | int],
    modules: Collection[str] = (),
) -> None:
    """Check given parameters against a constructor's schema.

    Args:
        schema: Of the constructor.
        given: The parameters.
        who: What messages call the component.
        tree: The suite, for the line of a fault.
        path: Where in it the component stands.
        modules: Modules and packages whose functions may be named.

    Raises:
        SuiteError: The first fault, at its line.
    """
    known = schema.get("properties", {})
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) if known else "it takes none"
            raise tree.error(f"{who} has no parameter {name!r}; {hint}", [*path, name])
    for name in schema.get("required", ()):
        if name not in given:
            kind = known[name].get("type", "value")
            raise tree.error(f"{who} needs parameter {name!r} ({kind}); write {name}: ...", path)
    if given:
        _check_values(schema, given, who, tree, path, modules)
    for name, value in given.items():
        try:
            canonical(value)
        except ValueError as error:
            raise tree.error(f"{who}, parameter {name!r}: must be finite, found {value!r}", [*path, name]) from error


def _check_values(
    schema: Mapping[str, Any],
    given: Mapping[str, Any],
    who: str,
    tree: Node,
    path: Sequence[str | int],
    modules: Collection[str],
) -> None:
    from jsonschema import Draft202012Validator, FormatChecker

    formats = FormatChecker(formats=())
    formats.checks(FORMAT)(lambda text: not isinstance(text, str) or is_brought(text.partition(":")[0], modules))
    validator = Draft202012Validator(schema, format_checker=formats)
    faults = sorted(validator.iter_errors(given), key=lambda e: list(map(str, e.absolute_path)))
    if faults:
        fault = faults[0]
        name = ".".join(str(p) for p in fault.absolute_path)
        raise tree.error(f"{who}, parameter {name!r}: {explain(fault)}", [*path, *fault.absolute_path])


_WORDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "greater than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "enum": "one of {}",
    "const": "{}",
    "minItems": "a list of at least {} values",
    "maxItems": "a list of at most {} values",
    "pattern": "text that matches {}",
}


def explain(fault: Any) -> str:
    """A fault of jsonschema in a sentence: what must stand there and what does."""
    if fault.validator == "format":
        return refusal(fault.instance)
    if fault.validator in ("anyOf", "oneOf"):
        refused = next((f for f in fault.context if f.validator == "format"), None)
        if refused is not None:
            return refusal(refused.instance)
        wanted = " or ".join(dict.fromkeys(_wanted(s) for s in fault.validator_value))
    elif fault.validator in _WORDS:
        value = fault.validator_value
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        wanted = _WORDS[fault.validator].format(shown)
        if fault.validator == "enum" and isinstance(fault.instance, str):
            hint = did_you_mean(fault.instance, map(str, value))
            return f"must be {wanted}, found {fault.instance!r}" + (f"; {hint}" if hint.startswith("did you mean") else "")
    elif fault.validator == "type":
        wanted = f"{_article(fault.validator_value)}"
    else:
        wanted = _wanted(fault.schema)
    return f"must be {wanted}, found {fault.instance!r}"


def _article(kind: Any) -> str:
    return {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}.get(
        str(kind), {"array": "a list", "object": "a mapping", "null": "null"}.get(str(kind), str(kind))
    )


def _wanted(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "const" in schema:
        return str(schema["const"])
    text = _article(schema.get("type", "a value"))
    ranges = [_WORDS[k].format(schema[k]) for k in _WORDS if k in schema and k not in ("enum", "const")]
    if schema.get("type") == "array" and "items" in schema:
        text = f"a list of values, each {_wanted(schema['items'])}"
    return " ".join([text, *ranges])
