# SPDX-License-Identifier: Apache-2.0
"""`lipbench validate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lipbench.cli.options import open_registry, plugin_options, suite_options


@click.command()
@suite_options
@plugin_options
def command(
    suites: tuple[Path, ...], profile: str | None, settings: tuple[str, ...], select: tuple[str, ...], **chosen: Any
) -> None:
    """Checks the suite as written and, unless --profile names one, each of its profiles.

    What a profile reads from local files need not be there, unless it is the one that was named.
    """
    from lipbench.contract.errors import LipbenchError
    from lipbench.suite.load import load_suite
    from lipbench.suite.plan import make_plan

    registry = open_registry(**chosen)
    wrong = 0
    for file in suites:
        waiting: list[str | None] = [profile]
        while waiting:
            name = waiting.pop(0)
            absent: list[str] | None = [] if name is not None and profile is None else None
            try:
                suite = load_suite(file, name, settings)
                plan = make_plan(suite, registry, select=select, absent=absent)
            except LipbenchError as error:
                click.echo(f"{f'profile {name}: ' if name else ''}{error}", err=True)
                wrong += 1
                continue
            if name is None:
                waiting.extend(suite.spec.profiles)
            cells = sum(len(job.cells) for job in plan.jobs)
            who = f"{file}{f' (profile {name})' if name else ''}"
            click.echo(f"{who}: ok, {len(plan.jobs)} jobs, {cells} cells" + (", but it cannot run here:" if absent else ""))
            for complaint in absent or ():
                click.echo(f"    {complaint}")
    registry.save()
    sys.exit(2 if wrong else 0)
