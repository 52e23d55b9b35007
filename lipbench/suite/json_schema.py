# SPDX-License-Identifier: Apache-2.0
"""The JSON schema of suite files, made from the plugins that are active."""

from __future__ import annotations

from typing import Any

from lipbench.contract.components import KINDS
from lipbench.contract.errors import PluginError
from lipbench.registry import Registry
from lipbench.suite.schema import SuiteFile


def suite_schema(registry: Registry) -> dict[str, Any]:
    """Structure of a suite, with every component's parameters; a component that cannot be loaded is offered by name only."""
    schema = SuiteFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    definitions = schema.setdefault("$defs", {})
    for kind in KINDS:
        names = registry.names(kind)
        branches: list[dict[str, Any]] = [{"enum": names}] if names else []
        branches += [_use(registry, kind, name, definitions) for name in names]
        definitions[kind] = {"anyOf": branches} if branches else {"type": ["string", "object"]}
    matrix = {"type": "object", "properties": _roles(registry)}
    for place in (schema, definitions["Block"]):
        place["properties"]["metrics"] = {"type": "array", "items": {"$ref": "#/$defs/metric"}}
        place["properties"]["matrix"] = matrix
    schema["properties"]["task"] = {"$ref": "#/$defs/task"}
    return schema


def _roles(registry: Registry) -> dict[str, Any]:
    """Every role of every task, with the kinds that fill it; other keys of a matrix are parameters of the task."""
    kinds: dict[str, set[str]] = {}
    for name in registry.names("task"):
        try:
            facts = registry.describe(registry.get("task", name))
        except PluginError:
            continue
        for role, kind in facts["role_kinds"].items():
            kinds.setdefault(role, set()).add(kind)
    found = {}
    for role, several in kinds.items():
        one = {"anyOf": [{"$ref": f"#/$defs/{kind}"} for kind in sorted(several)]}
        found[role] = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
    return found


def _use(registry: Registry, kind: Any, name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {"use": {"const": name}, "as": {"type": "string", "description": "label in tables"}}
    try:
        facts = registry.describe(registry.get(kind, name))
    except PluginError as error:
        return {"type": "object", "properties": properties, "required": ["use"], "description": str(error)}
    prefix = f"{kind}.{name}."
    own = _renamed(facts["schema"], prefix)
    # Definitions of one component, such as an enumeration, move to the root, where its references look for them.
    definitions |= {prefix + key: value for key, value in own.get("$defs", {}).items()}
    return {
        "type": "object",
        "description": facts["doc"].partition("\n\n")[0],
        "properties": properties | own.get("properties", {}),
        "required": ["use", *own.get("required", [])],
        "additionalProperties": False,
    }


def _renamed(schema: Any, prefix: str) -> Any:
    """The schema with its references to definitions under their new names."""
    if isinstance(schema, dict):
        return {
            key: f"#/$defs/{prefix}{value.removeprefix('#/$defs/')}"
            if key == "$ref" and isinstance(value, str)
            else _renamed(value, prefix)
            for key, value in schema.items()
        }
    return [_renamed(item, prefix) for item in schema] if isinstance(schema, list) else schema
