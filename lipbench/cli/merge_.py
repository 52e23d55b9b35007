# SPDX-License-Identifier: Apache-2.0
"""`lipbench merge`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from lipbench.cli.options import open_plugins, plugin_options

if TYPE_CHECKING:
    from lipbench.results.merge_records import Conflict

SHOWN = 20
"""So many conflicts are shown, the others are counted."""


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IN...")
@click.option(
    "--keep",
    type=click.Choice(["newest", "first"]),
    help="Where a cell has two values: take that of the latest run, or of the folder named first.",
)
@plugin_options
def command(out: Path, sources: tuple[Path, ...], keep: Literal["newest", "first"] | None, **chosen: Any) -> None:
    """OUT and IN are folders that `lipbench run --results` wrote to; OUT, if it has results, is the first of them.

    A cell with the same value in several folders is one. Where values differ, both are shown, nothing is written and the exit
    code is 1, unless --keep says which counts. Runs, logs and artifacts are joined, and plans where they differ in their cells
    alone. The order of the folders changes no byte.
    """
    from lipbench.files import write_atomic
    from lipbench.leaderboard.board import make_board, render
    from lipbench.results.merge import merge

    merged = merge(out, sources, keep)
    conflicts = [conflict for suite in merged for conflict in suite.conflicts]
    for conflict in conflicts[:SHOWN]:
        click.echo(_words(conflict), err=True)
    if len(conflicts) > SHOWN:
        click.echo(f"... and {len(conflicts) - SHOWN} more", err=True)
    if conflicts and keep is None:
        click.echo(
            f"{len(conflicts)} conflicts, nothing was written; say which values count by --keep newest or first", err=True
        )
        sys.exit(1)
    plugins = open_plugins(**chosen)
    for suite in merged:
        write_atomic(out / suite.suite / "leaderboard.md", render([make_board(out / suite.suite, plugins)], "md"))
        count = len(suite.folders)
        click.echo(
            f"{suite.suite}: {suite.cells} cells from {count} folder{'s' if count > 1 else ''}, {suite.shared} in several of them"
            + (f", {len(suite.conflicts)} with two values ({keep} taken)" if suite.conflicts else "")
        )
    click.echo(f"results: {out}; `lipbench run` draws the plots again")


def _words(conflict: Conflict) -> str:
    from lipbench.leaderboard.render.text import visible

    record = conflict.sides[0][1]
    what = " · ".join([*map(str, record["roles"].values()), f"seed {record['seed']}", record["metric"]])
    lines = [visible(f"conflict: {conflict.suite} {conflict.cell}: {what}")]
    lines += [f"    {visible(_side(folder, record))}" for folder, record in conflict.sides]
    return "\n".join(lines)


def _side(folder: Path, record: dict[str, Any]) -> str:
    run = record.get("run", "")
    try:
        facts = json.loads((folder / "runs" / f"{run}.json").read_text())
        packages = facts.get("packages") or {}
        machine = [f"lipbench {facts.get('lipbench')}", f"torch {packages.get('torch')}", str(facts.get("processor"))]
    except (OSError, ValueError, AttributeError):
        machine = ["of which nothing more is known"]
    interval = record.get("interval")
    between = f" [{interval.get('low')!r}, {interval.get('high')!r}]" if interval else ""
    details = ", ".join([str(record.get("device", "cpu")), f"run {run}", *machine])
    return f"{folder}: {record['value']!r}{between} {record.get('unit', '')} {record.get('direction', '')} ({details})"
