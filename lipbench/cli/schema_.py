# SPDX-License-Identifier: Apache-2.0
"""`lipbench schema`."""

from __future__ import annotations

import json
from typing import Any

import click

from lipbench.cli.options import plugin_options, read_plugin_options


@click.command()
@plugin_options
def command(**chosen: Any) -> None:
    """Point your editor at it: `# yaml-language-server: $schema=FILE` as the first line of a suite."""
    from lipbench.registry import load_registry
    from lipbench.suite.json_schema import suite_schema

    registry = load_registry(read_plugin_options(**chosen))
    click.echo(json.dumps(suite_schema(registry), indent=1))
    registry.save()
