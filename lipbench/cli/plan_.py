# SPDX-License-Identifier: Apache-2.0
"""`lipbench plan`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
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
    results_option,
    suite_options,
    workers_option,
)

if TYPE_CHECKING:
    from lipbench.execution.artifacts import Artifacts
    from lipbench.suite.jobs import Job, Plan


@click.command()
@suite_options
@results_option
@artifacts_option
@place_options
@workers_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each cell.")
@plugin_options
def command(
    suites: tuple[Path, ...],
    profile: str | None,
    settings: tuple[str, ...],
    select: tuple[str, ...],
    results: Path,
    artifacts: str | None,
    device: str,
    workers: int | None,
    executor: str,
    address: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Nothing is computed and nothing is written."""
    from lipbench.execution.runner import missing_cells
    from lipbench.execution.work import to_make
    from lipbench.results.store import read_history
    from lipbench.suite.load import load_suite
    from lipbench.suite.plan import make_plan

    registry = open_registry(**chosen)
    found = read_artifacts_option(artifacts, results)
    kind = read_place_options(registry, executor, device, address)
    for file in suites:
        suite = load_suite(file, profile, settings)
        plan = make_plan(suite, registry, kind, select)
        missing = missing_cells(plan, read_history(results / suite.name).statuses)
        new = {cell for _, cells in missing for cell in cells}
        where = _devices(plan, missing, results, found, device, workers) if executor == "local" else {}
        if as_json:
            _print_json(plan, new, where)
        else:
            _print(plan, new, where, to_make(plan, missing, found.has))
    registry.save()


def _devices(
    plan: Plan,
    missing: Sequence[tuple[Job, Sequence[str]]],
    results: Path,
    artifacts: Artifacts,
    wanted: str,
    workers: int | None,
) -> dict[str, str]:
    """Fit, step or job to the device that it would get if all took as long as like ones did."""
    from lipbench.execution.devices import Pool, detect
    from lipbench.execution.runner import works_of
    from lipbench.execution.simulate import simulate

    pool = Pool.of(detect(), wanted, workers)
    if len(pool.places) == 1:
        return dict.fromkeys([*plan.fits, *plan.steps, *(job.id for job in plan.jobs)], pool.places[0].device)
    return {turn.work.id: turn.device for turn in simulate(works_of(plan, missing, results, artifacts), pool)}


def _print_json(plan: Plan, new: Set[str], where: Mapping[str, str]) -> None:
    for job, cell in plan.cells():
        line = {
            "suite": plan.suite.name,
            "cell": cell.id,
            "job": job.title(),
            "device": where.get(job.id) if cell.id in new else None,
            "metric": cell.metric.label,
            "state": "run" if cell.id in new else "done",
        }
        click.echo(json.dumps(line, ensure_ascii=False))


def _print(plan: Plan, new: Set[str], where: Mapping[str, str], absent: Set[str]) -> None:
    several = len(set(where.values())) > 1
    place = {name: f" on {device}" if several else "" for name, device in where.items()}
    total = todo = 0
    for job in plan.jobs:
        wanted = [cell.id in new for cell in job.cells]
        total, todo = total + len(job.cells), todo + sum(wanted)
        marks = " ".join(f"{'+' if w else '='}{c.metric.label}" for c, w in zip(job.cells, wanted, strict=True))
        click.echo(f"{job.title()}{place.get(job.id, '')}\n    {marks}")
    fits = [fit for fit in plan.fits.values() if fit.id in absent]
    steps = [step for step in plan.steps.values() if step.id in absent]
    for fit in fits:
        click.echo(f"fit {fit.model.label} on {fit.data.label} · seed {fit.seed}{place.get(fit.id, '')}")
    for step in steps:
        click.echo(f"{step.title()}{place.get(step.id, '')}")
    shared = f", {len(steps)} of {len(plan.steps)} shared steps to compute" if plan.steps else ""
    click.echo(
        f"{plan.suite.name}: {len(plan.jobs)} jobs, {total} cells: {todo} to run (+), {total - todo} done (=); "
        f"{len(fits)} of {len(plan.fits)} models to fit{shared}; device {plan.device}"
    )
