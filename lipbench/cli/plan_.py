# SPDX-License-Identifier: Apache-2.0
"""`lipbench plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lipbench.cli.options import device_option, plugin_options, read_plugin_options, results_option, suite_options


@click.command()
@suite_options
@results_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each cell.")
@plugin_options
def command(
    suites: tuple[Path, ...],
    profile: str | None,
    settings: tuple[str, ...],
    select: tuple[str, ...],
    results: Path,
    device: str,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Nothing is computed and nothing is written."""
    from lipbench.execution.artifacts import Artifacts
    from lipbench.execution.devices import device_class
    from lipbench.execution.runner import missing_cells
    from lipbench.registry import load_registry
    from lipbench.results.store import read_history
    from lipbench.suite.load import load_suite
    from lipbench.suite.plan import make_plan

    registry = load_registry(read_plugin_options(**chosen))
    artifacts = Artifacts(results / "artifacts")
    for file in suites:
        suite = load_suite(file, profile, settings)
        plan = make_plan(suite, registry, device_class(device), select)
        missing = {job.id: cells for job, cells in missing_cells(plan, read_history(results / suite.name).statuses)}
        total = todo = 0
        for job in plan.jobs:
            new = set(missing[job.id])
            total, todo = total + len(job.cells), todo + len(new)
            if as_json:
                for cell in job.cells:
                    state = "run" if cell.id in new else "done"
                    click.echo(
                        json.dumps(
                            {
                                "suite": suite.name,
                                "cell": cell.id,
                                "job": job.title(),
                                "metric": cell.metric.label,
                                "state": state,
                            },
                            ensure_ascii=False,
                        )
                    )
            else:
                marks = " ".join(f"{'+' if c.id in new else '='}{c.metric.label}" for c in job.cells)
                click.echo(f"{job.title()}\n    {marks}")
        fits = [fit for fit in plan.fits.values() if not artifacts.has(fit.id)]
        steps = [step for step in plan.steps.values() if not artifacts.has(step.id)]
        shared = f", {len(steps)} of {len(plan.steps)} shared steps to compute" if plan.steps else ""
        if not as_json:
            for fit in fits:
                click.echo(f"fit {fit.model.label} on {fit.data.label} · seed {fit.seed}")
            for step in steps:
                click.echo(step.title())
            click.echo(
                f"{suite.name}: {len(plan.jobs)} jobs, {total} cells: {todo} to run (+), {total - todo} done (=); "
                f"{len(fits)} of {len(plan.fits)} models to fit{shared}; device {plan.device}"
            )
    registry.save()
