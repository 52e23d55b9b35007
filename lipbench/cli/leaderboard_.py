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
@click.option(
    "--format", "form", type=click.Choice(["text", "md", "csv", "json", "latex", "html"]), default="text", show_default=True
)
@click.option("--suite", "wanted", multiple=True, metavar="NAME", help="Only these suites.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to a file instead.")
@plugin_options
def command(results: Path, form: str, wanted: tuple[str, ...], output: Path | None, **chosen: Any) -> None:
    """RESULTS is the folder that `lipbench run --results` wrote to. Exits 1 where records contradict each other."""
    from lipbench.contract.errors import UsageError, did_you_mean
    from lipbench.leaderboard.board import make_board, render
    from lipbench.leaderboard.render import terminal
    from lipbench.plugins import load_plugins
    from lipbench.results.store import RECORDS

    if not results.is_dir():
        raise UsageError(f"{results}: there is no such folder; `lipbench run SUITE.yaml --results {results}` makes it")
    folders = {f.parent.name: f.parent for f in sorted(results.glob(f"*/{RECORDS}"))}
    for name in wanted:
        if name not in folders:
            raise UsageError(f"{results} has no suite {name!r}; {did_you_mean(name, folders)}")
    if not folders:
        raise UsageError(f"{results} has no records; `lipbench run SUITE.yaml --results {results}` writes some")
    plugins = load_plugins(read_plugin_options(**chosen))
    boards = [make_board(folder, plugins) for name, folder in folders.items() if not wanted or name in wanted]
    if output is not None:
        _write(output, terminal.render(boards) if form == "text" else render(boards, form))
    elif form == "text":
        for board in boards:
            terminal.print_board(board)
    else:
        click.echo(render(boards, form), nl=False)
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
