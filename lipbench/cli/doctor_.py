# SPDX-License-Identifier: Apache-2.0
"""`lipbench doctor`."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lipbench import __version__
from lipbench.cli.options import open_registry, plugin_options, results_option

if TYPE_CHECKING:
    from lipbench.registry import Registry


@click.command()
@results_option
@plugin_options
def command(results: Path, **chosen: Any) -> None:
    """Loads every component once, measures the disk of the results, and looks for the usual troubles.

    Exits 1 where something is broken. A warning is worth a look and leaves the exit code alone.
    """
    from lipbench.cli.troubles import troubles

    registry = open_registry(**chosen)
    _machine(registry)
    broken, threads = _plugins(registry)
    warnings = 0
    for trouble in troubles(results, threads):
        click.echo(f"{'broken' if trouble.broken else 'warning'}: {trouble.words}")
        broken, warnings = broken + trouble.broken, warnings + (not trouble.broken)
    registry.save()
    if not broken + warnings:
        click.echo("all is well")
    else:
        click.echo(f"{broken} broken, {warnings} warning{'s' * (warnings != 1)}")
    sys.exit(1 if broken else 0)


def _machine(registry: Registry) -> None:
    from lipbench.contract.context import data_root
    from lipbench.execution.devices import detect
    from lipbench.registry import cache_file
    from lipbench.results import machine
    from lipbench.results.provenance import package_versions

    click.echo(f"lipbench {__version__}, Python {platform.python_version()}, {platform.platform()}")
    driver = machine.gpus().driver
    click.echo(
        f"devices: {len(detect().gpus)} NVIDIA GPU(s){f' with driver {driver}' if driver else ''}, {machine.cores():g} CPU core(s), "
        f"{machine.memory_bytes() / 2**30:.0f} GiB of memory"
    )
    versions = package_versions(registry)
    click.echo(f"packages: {', '.join(f'{name} {v}' for name, v in versions.items() if v) or 'unknown'}")
    if missing := [name for name, v in versions.items() if v is None]:
        click.echo(f"not installed: {', '.join(missing)}")
    root = data_root()
    click.echo(
        f"data folder: {root.absolute()} ({'there' if root.is_dir() else 'missing; set LIPBENCH_DATA to have local datasets'})"
    )
    click.echo(f"cache: {cache_file()}")


def _plugins(registry: Registry) -> tuple[int, dict[str, int]]:
    """Say what became of each plugin and component; the number of broken ones, and how many threads jobs of each task use."""
    from lipbench.contract.components import KINDS
    from lipbench.contract.errors import PluginError

    wrong, threads = 0, {}
    for plugin in registry.plugins:
        click.echo(f"plugin {plugin.name} ({plugin.distribution} {plugin.version}): {plugin.status} {plugin.reason}".rstrip())
        wrong += plugin.status == "broken"
    for kind in KINDS:
        for entry in registry.all(kind):
            try:
                facts = registry.describe(entry)
                if kind == "task":
                    threads[entry.component.name] = facts["cpus"]
            except PluginError as error:
                click.echo(f"broken: {error}")
                wrong += 1
    return wrong, threads
