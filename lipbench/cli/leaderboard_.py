# SPDX-License-Identifier: Apache-2.0
"""`lipbench leaderboard`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lipbench.cli.options import open_plugins, plugin_options


@click.command()
@click.argument("results", type=click.Path(path_type=Path), default=Path("results"))
@click.option(
    "--format",
    "form",
    default="text",
    show_default=True,
    metavar="NAME",
    help="text, md, csv, json, latex, html or what a plugin adds; see `lipbench list formats`.",
)
@click.option("--suite", "wanted", multiple=True, metavar="NAME", help="Only these suites.")
@click.option(
    "--update",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Write the tables between the markers of a Markdown file and print none.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit 1 where a FILE of --update is stale or, without one, a leaderboard.md of RESULTS.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to a file instead.")
@plugin_options
def command(
    results: Path,
    form: str,
    wanted: tuple[str, ...],
    files: tuple[Path, ...],
    check: bool,
    output: Path | None,
    **chosen: Any,
) -> None:
    """RESULTS is the folder that `lipbench run --results` wrote to. Exits 1 where records contradict each other.

    Markers are lines of their own, `<!-- lipbench:begin suite=NAME table="TITLE" -->` and `<!-- lipbench:end -->`; without table
    they hold all tables of a suite, without suite those of all suites.
    """
    from lipbench.cli.current import keep_current
    from lipbench.leaderboard.board import make_board
    from lipbench.leaderboard.formats import find_format
    from lipbench.leaderboard.render import terminal
    from lipbench.results.folders import suite_folders

    plugins = open_plugins(**chosen)
    render = find_format(form, plugins)
    folders = suite_folders(results, wanted)
    if files or check:
        if form != "text" or output is not None or (files and wanted):
            raise click.UsageError("--update and --check are about Markdown, and the markers of FILE say which suites it shows")
        sys.exit(1 if keep_current(results, folders, files, plugins, check=check) else 0)
    boards = [make_board(folder, plugins) for folder in folders.values()]
    if output is not None:
        _write(output, render(boards))
    elif form == "text":
        for board in boards:
            terminal.print_board(board)
    else:
        click.echo(render(boards), nl=False)
    findings = [f for board in boards for f in board.findings]
    for finding in findings:
        click.echo(f"contradiction: {finding}", err=True)
    sys.exit(1 if findings else 0)


def _write(path: Path, text: str) -> None:
    from lipbench.contract.errors import StoreError
    from lipbench.files import write_atomic

    try:
        write_atomic(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; choose another file by --output") from error
