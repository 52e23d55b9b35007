# SPDX-License-Identifier: Apache-2.0
"""`lipbench run`."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lipbench.cli.options import (
    artifacts_option,
    open_registry,
    place_options,
    plugin_options,
    read_artifacts_option,
    read_place_options,
    read_plugin_options,
    results_option,
    suite_options,
    workers_option,
)

if TYPE_CHECKING:
    from lipbench.cli.interrupts import Interrupts
    from lipbench.leaderboard.page import Source


def _number(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    """No comparison refuses nan.

    Raises:
        click.BadParameter: It is nan.
    """
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number of seconds; write one such as 600")
    return value


@click.command()
@suite_options
@results_option
@artifacts_option
@place_options
@workers_option
@click.option(
    "--timeout",
    type=click.FloatRange(0, 1e8, min_open=True),
    callback=_number,
    metavar="SECONDS",
    help="What one fit, step, evidence or metric may take; default: what the suite or its task says.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=2,
    show_default=True,
    help="How often a fault that may pass is tried again, such as a worker that was killed or a network that is down.",
)
@click.option("--wait", is_flag=True, help="Wait for a run that holds the results folder instead of giving up.")
@click.option(
    "--log-json", type=click.Path(path_type=Path), metavar="FILE", help="Append what happens to FILE, an event a line."
)
@click.option("--no-plots", is_flag=True, help="Draw no plots.")
@plugin_options
def command(
    suites: tuple[Path, ...],
    profile: str | None,
    settings: tuple[str, ...],
    select: tuple[str, ...],
    results: Path,
    artifacts: str | None,
    device: str,
    executor: str,
    address: str | None,
    workers: int | None,
    timeout: float | None,
    retries: int,
    wait: bool,
    log_json: Path | None,
    no_plots: bool,
    **chosen: Any,
) -> None:
    """Writes DIR/<suite>/records.jsonl. What is there already is not computed again; a run that was cut off goes on.

    Exit codes: 0 all is well, 1 a cell failed, records contradict each other, or something is broken, 2 wrong usage or a
    wrong suite, 130 interrupted.
    """
    from lipbench.cli.interrupts import Interrupts, Patience
    from lipbench.execution.runner import RunOptions, run_suite
    from lipbench.suite.load import load_suite

    plugins, registry = read_plugin_options(**chosen), open_registry(**chosen)
    interrupts = Interrupts()
    options = RunOptions(
        results=results, artifacts=artifacts, plugins=plugins, executor=executor, address=address, device=device, workers=workers,
        timeout=timeout, retries=retries, on_held=Patience(interrupts) if wait else None, select=select,
    )  # fmt: skip
    read_place_options(registry, executor, device, address)  # says now what is wrong with them
    read_artifacts_option(artifacts, results)
    before = signal.signal(signal.SIGINT, interrupts)
    signal.signal(signal.SIGTERM, interrupts.now)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup asks to go on when the terminal is closed
        signal.signal(signal.SIGHUP, interrupts.now)
    failures = 0
    loaded = [load_suite(file, profile, settings) for file in suites]
    _distinct(loaded)
    try:
        with _watching(log_json, registry.plugins, interrupts) as watcher:
            for suite in loaded:
                outcome = run_suite(suite, registry, options, watcher, lambda: interrupts.count)
                failures += _conclude(outcome, registry.plugins, plots=not no_plots, part=bool(select))
                if outcome.interrupted:
                    click.echo("interrupted; the same command goes on from here", err=True)
                    sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, before)
    sys.exit(1 if failures else 0)


@contextmanager
def _watching(log_json: Path | None, plugins: Any, interrupts: Interrupts) -> Iterator[Any]:
    """All that looks on: what the user sees, the log of events, the plugins."""
    from lipbench.cli.event_log import EventLog
    from lipbench.cli.progress import Progress
    from lipbench.execution.watch import Hooks, Watchers

    with EventLog(log_json) if log_json else nullcontext() as log, Hooks(plugins, lambda: interrupts.count) as hooks:
        yield Watchers(interrupts, Progress(), *([log] if log else []), hooks)


def _distinct(suites: Sequence[Any]) -> None:
    """Two files of one name would write to one folder."""
    from lipbench.contract.errors import SuiteError

    seen: dict[str, Path] = {}
    for suite in suites:
        if suite.name in seen:
            raise SuiteError(f"the suite is named {suite.name!r} like {seen[suite.name]}; rename one", str(suite.file))
        seen[suite.name] = suite.file


def _conclude(outcome: Any, plugins: Any, *, plots: bool, part: bool) -> int:
    """Save the leaderboard and print it, or the part that was asked for; the number of failed cells and contradictions."""
    from lipbench.files import write_atomic
    from lipbench.leaderboard.board import make_board, render
    from lipbench.leaderboard.render.terminal import print_board

    board = make_board(outcome.folder, plugins)
    print_board(make_board(outcome.folder, plugins, {c.id for _, c in outcome.plan.cells()}) if part else board)
    write_atomic(outcome.folder / "leaderboard.md", render([board], "md"))
    drawn = _plots(board.source, plugins) if plots and board.source else []
    for record in outcome.failed:
        fault = record.error or {"class": "?", "message": "?"}
        where = " · ".join([*record.roles.values(), f"seed {record.seed}", record.metric])
        click.echo(f"{record.status}: {where}: {fault['class']}: {fault['message']}", err=True)
    for finding in board.findings:
        click.echo(f"contradiction: {finding}", err=True)
    click.echo(
        f"{outcome.computed} cells computed, {outcome.reused} reused, {len(outcome.failed)} failed"
        + (f", {len(board.findings)} contradictions" if board.findings else "")
    )
    click.echo(f"records: {outcome.folder / 'records.jsonl'}   table: {outcome.folder / 'leaderboard.md'}"
               + (f"   plots: {outcome.folder / 'plots'} ({len(drawn)} files)" if drawn else ""))  # fmt: skip
    return len(outcome.failed) + len(board.findings)


def _plots(source: Source, plugins: Any) -> list[Path]:
    """Draw the plots, unless those that are there are younger than plan and records."""
    from lipbench.leaderboard.board import save_plots
    from lipbench.results.store import PLAN, RECORDS

    made = list((source.folder / "plots").glob("*.*"))
    read = (source.folder / name for name in (PLAN, RECORDS))
    changed = max(path.stat().st_mtime_ns for path in read if path.exists())
    if made and min(path.stat().st_mtime_ns for path in made) > changed:
        return made
    return save_plots(source, plugins)
