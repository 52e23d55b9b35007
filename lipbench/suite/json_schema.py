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
        branches += [_use(registry, kind, name) for name in names]
        definitions[kind] = {"anyOf": branches} if branches else {"type": ["string", "object"]}
    for place in (schema, definitions["Block"]):
        place["properties"]["metrics"] = {"type": "array", "items": {"$ref": "#/$defs/metric"}}
        roles = {"anyOf": [{"$ref": f"#/$defs/{kind}"} for kind in ("model", "dataset", "method")]}
        any_value: dict[str, Any] = {"anyOf": [roles, {"type": "array", "items": {"anyOf": [roles, {}]}}, {}]}
        place["properties"]["matrix"] = {"type": "object", "additionalProperties": any_value}
    schema["properties"]["task"] = {"$ref": "#/$defs/task"}
    return schema


def _use(registry: Registry, kind: Any, name: str) -> dict[str, Any]:
    properties: dict[str, Any] = {"use": {"const": name}, "as": {"type": "string", "description": "label in tables"}}
    try:
        facts = registry.describe(registry.get(kind, name))
    except PluginError as error:
        return {"type": "object", "properties": properties, "required": ["use"], "description": str(error)}
    own = facts["schema"]
    return {
        "type": "object",
        "description": facts["doc"].partition("\n\n")[0],
        "properties": properties | own.get("properties", {}),
        "required": ["use", *own.get("required", [])],
        "additionalProperties": False,
        **({"$defs": own["$defs"]} if "$defs" in own else {}),
    }
