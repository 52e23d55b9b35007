# SPDX-License-Identifier: Apache-2.0
"""`lipbench doctor`."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from lipbench import __version__
from lipbench.cli.options import plugin_options, read_plugin_options


@click.command()
@plugin_options
def command(**chosen: Any) -> None:
    """Loads every component once. Exits 1 where a plugin or a component is broken."""
    from lipbench.contract.components import KINDS
    from lipbench.contract.context import data_root
    from lipbench.contract.errors import PluginError
    from lipbench.execution.devices import detect
    from lipbench.registry import cache_file, load_registry

    registry = load_registry(read_plugin_options(**chosen))
    click.echo(f"lipbench {__version__}, Python {platform.python_version()}, {platform.platform()}")
    machine = detect()
    click.echo(f"devices: {len(machine.gpus)} NVIDIA GPU(s), {machine.cores} CPU core(s)")
    for name in (
        "torch",
        "numpy",
        "scipy",
        "scikit-learn",
        "scikit-image",
        "matplotlib",
        "deel-torchlip",
        "efficientnet-lite-pytorch",
        "ray",
    ):
        try:
            click.echo(f"{name}: {version(name)}")
        except PackageNotFoundError:
            click.echo(f"{name}: not installed")
    root = data_root()
    click.echo(
        f"data folder: {root.absolute()} ({'there' if root.is_dir() else 'missing; set LIPBENCH_DATA to have local datasets'})"
    )
    click.echo(f"cache: {cache_file()}")
    wrong = 0
    for plugin in registry.plugins:
        click.echo(f"plugin {plugin.name} ({plugin.distribution} {plugin.version}): {plugin.status} {plugin.reason}".rstrip())
        wrong += plugin.status == "broken"
    for kind in KINDS:
        for entry in registry.all(kind):
            try:
                registry.describe(entry)
            except PluginError as error:
                click.echo(f"broken: {error}")
                wrong += 1
    registry.save()
    click.echo("all is well" if not wrong else f"{wrong} broken")
    sys.exit(1 if wrong else 0)
