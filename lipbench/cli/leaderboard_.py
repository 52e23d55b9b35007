# SPDX-License-Identifier: Apache-2.0
"""`lipbench leaderboard`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lipbench.cli.options import plugin_options, read_plugin_options


@click.command()
@click.argument("results", type=click.Path(path_type=Path), default=Path("results"))
@click.option("--format", "form", type=click.Choice(["text", "md", "csv", "json", "latex"]), default="text", show_default=True)
@click.option("--suite", "wanted", multiple=True, metavar="NAME", help="Only these suites.")
@plugin_options
def command(results: Path, form: str, wanted: tuple[str, ...], **chosen: Any) -> None:
    """RESULTS is the folder that `lipbench run --results` wrote to. Exits 1 where records contradict each other."""
    from lipbench.leaderboard.board import make_board, render
    from lipbench.leaderboard.render.terminal import print_board
    from lipbench.plugins import load_plugins
    from lipbench.results.folders import suite_folders

    folders = suite_folders(results, wanted)
    plugins = load_plugins(read_plugin_options(**chosen))
    boards = [make_board(folder, plugins) for folder in folders.values()]
    if form == "text":
        for board in boards:
            print_board(board)
    else:
        click.echo(render(boards, form), nl=False)
    findings = [f for board in boards for f in board.findings]
    for finding in findings:
        click.echo(f"contradiction: {finding}", err=True)
    sys.exit(1 if findings else 0)
