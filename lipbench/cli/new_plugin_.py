# SPDX-License-Identifier: Apache-2.0
"""`lipbench new-plugin`."""

from __future__ import annotations

from pathlib import Path

import click

from lipbench.scaffold.make import PARTS, Part, make_plugin


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(PARTS),
    help="What the package declares, repeated for several; default: a component of each kind. "
    "A dataset, a task and a metric come along, so that its suite runs.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the package; default: lipbench-NAME here.")
def command(name: str, kinds: tuple[Part, ...], output: Path | None) -> None:
    """NAME is lower-case letters, digits and _, such as my_net."""
    folder = output or Path(f"lipbench-{name.replace('_', '-')}")
    for path in make_plugin(name, folder, kinds):
        click.echo(path)
    click.echo(f"\nnext: cd {folder}; pip install -e '.[dev]'; lipbench run suites/{name}.yaml --results out; pytest")
