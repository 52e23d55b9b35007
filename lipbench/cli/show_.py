# SPDX-License-Identifier: Apache-2.0
"""`lipbench show`."""

from __future__ import annotations

import json
from typing import Any

import click

from lipbench.cli.options import open_registry, plugin_options
from lipbench.contract.components import KINDS
from lipbench.contract.errors import UsageError, did_you_mean


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="The description as JSON.")
@plugin_options
def command(name: str, as_json: bool, **chosen: Any) -> None:
    """NAME is a component of any kind, or distribution:name."""
    from lipbench.fingerprint import module_file

    registry = open_registry(**chosen)
    bare = name.rpartition(":")[2]
    found = [(kind, registry.get(kind, name)) for kind in KINDS if bare in registry.names(kind)]
    if not found:
        known = [n for kind in KINDS for n in registry.names(kind)]
        raise UsageError(f"there is no component {name!r}; {did_you_mean(name, known)}")
    for kind, entry in found:
        facts = registry.describe(entry)
        if as_json:
            click.echo(json.dumps({"kind": kind, "name": entry.component.name, **facts}, indent=1))
            continue
        version = f" {entry.plugin.version}" if entry.plugin.version else ""
        click.echo(f"{kind} {entry.component.name} · plugin {entry.plugin.name} ({entry.plugin.distribution}{version})\n")
        click.echo(facts["doc"] or entry.component.summary)
        click.echo("\nParameters:")
        properties = facts["schema"].get("properties", {})
        for parameter, schema in properties.items():
            default = json.dumps(schema["default"]) if "default" in schema else "required"
            click.echo(f"  {parameter}: {type_words(schema)} = {default}")
        if not properties:
            click.echo("  none")
        for role, needs in facts.get("roles", {}).items():
            click.echo(
                f"Role {role}: {needs.rpartition(':')[2]}"
                + (f", fitted on {facts['fits'][role]}" if role in facts["fits"] else "")
            )
        if "reads" in facts:
            click.echo(f"\nReads: {facts['reads']}")
        click.echo(f"\nSource: {module_file(entry.component.factory.partition(':')[0])} ({entry.component.factory})")
        click.echo(f"Use:    {{use: {entry.component.name}{''.join(f', {p}: ...' for p in list(properties)[:2])}}}")
    registry.save()


def type_words(schema: dict[str, Any]) -> str:
    """A JSON schema in one short line."""
    if "anyOf" in schema:
        return " or ".join(type_words(s) for s in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    text = str(schema.get("type", "any"))
    if text == "array" and "items" in schema:
        text = f"list of {type_words(schema['items'])}"
    for key, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<")):
        if key in schema:
            text += f" {sign} {schema[key]}"
    return text
