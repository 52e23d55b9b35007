# SPDX-License-Identifier: Apache-2.0
"""`lipbench new-plugin`."""

from __future__ import annotations

from pathlib import Path

import click

from lipbench.contract.components import KINDS, Kind


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help="Kinds of components, repeated for several; default: one of each. A method brings a task, a task a metric.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the package; default: lipbench-NAME here.")
def command(name: str, kinds: tuple[Kind, ...], output: Path | None) -> None:
    """NAME is lower-case letters, digits and _, such as my_net."""
    from lipbench.scaffold.make import make_plugin

    folder = output or Path(f"lipbench-{name.replace('_', '-')}")
    for path in make_plugin(name, folder, kinds):
        click.echo(path)
    click.echo(f"\nnext: cd {folder}; pip install -e '.[dev]'; lipbench run suites/{name}.yaml --results out; pytest")
