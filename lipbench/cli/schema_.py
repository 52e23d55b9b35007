# SPDX-License-Identifier: Apache-2.0
"""`lipbench schema`."""

from __future__ import annotations

import json
from typing import Any

import click

from lipbench.cli.options import open_registry, plugin_options


@click.command()
@plugin_options
def command(**chosen: Any) -> None:
    """Point your editor at it: `# yaml-language-server: $schema=FILE` as the first line of a suite."""
    from lipbench.suite.json_schema import suite_schema

    registry = open_registry(**chosen)
    click.echo(json.dumps(suite_schema(registry), indent=1))
    registry.save()
