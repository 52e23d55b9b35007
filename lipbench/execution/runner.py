# SPDX-License-Identifier: Apache-2.0
"""One run of one suite: what is missing is computed, what comes back is recorded."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lipbench.contract.errors import LipbenchError
from lipbench.contract.execution import Event, ExecutorSetup, Work
from lipbench.contract.runs import Run, RunEnd
from lipbench.contract.values import Record, Status
from lipbench.execution.artifacts import Artifacts
from lipbench.execution.durations import Durations
from lipbench.execution.mirror import artifacts_at
from lipbench.execution.watch import Watcher
from lipbench.execution.work import make_works
from lipbench.files import write_atomic
from lipbench.plugins import PluginOptions
from lipbench.registry import Registry
from lipbench.results.provenance import provenance
from lipbench.results.store import PLAN, RECORDS, History, Store, read_history
from lipbench.suite.jobs import Cell, Job, Plan
from lipbench.suite.load import Suite
from lipbench.suite.plan import make_plan

ARTIFACTS = "artifacts"
"""Folder of fits and steps in that of results."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the command line says of a run."""

    results: Path
    artifacts: str | None = None
    """Folder or URL of fits and steps, where not in that of results."""
    plugins: PluginOptions = field(default_factory=PluginOptions)
    executor: str = "local"
    address: str | None = None
    device: str = "auto"
    workers: int | None = None
    timeout: float | None = None
    """Instead of what suite and task say."""
    retries: int = 2
    on_held: Callable[[str], None] | None = None
    """Waits for another run that holds the folder; see `Store`."""
    select: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Outcome:
    """What a run came to."""

    plan: Plan
    folder: Path
    reused: int = 0
    computed: int = 0
    failed: list[Record] = field(default_factory=list)
    interrupted: bool = False


def missing_cells(plan: Plan, recorded: Mapping[str, Status]) -> list[tuple[Job, list[str]]]:
    """Jobs with the cells that have no good record yet; failed ones are tried again."""
    return [(job, [c.id for c in job.cells if recorded.get(c.id) != "ok"]) for job in plan.jobs]


def works_of(
    plan: Plan, missing: Sequence[tuple[Job, Sequence[str]]], results: Path, artifacts: Artifacts, timeout: float | None = None
) -> list[Work]:
    """What there is to do for the missing cells, with how long it took in the past."""
    return make_works(plan, missing, artifacts.has, Durations(results / plan.suite.name / RECORDS, artifacts.folder), timeout)


def run_suite(suite: Suite, registry: Registry, options: RunOptions, watcher: Watcher, stop: Callable[[], int]) -> Outcome:
    """Compute the missing cells of a suite and record them.

    Raises:
        SuiteError, PluginError: The suite is wrong; nothing was run.
        StoreError: The results folder cannot be used.
    """
    device = registry.load_executor(options.executor).device_class(options.device, options.address)
    full = make_plan(suite, registry, device)
    plan = make_plan(suite, registry, device, options.select) if options.select else full
    folder = options.results / suite.name
    with Store(folder, options.on_held) as store:
        _keep_plan(folder / PLAN, full)
        history = read_history(folder)
        missing = missing_cells(plan, history.statuses)
        outcome = Outcome(plan=plan, folder=folder)
        wanted = sum(len(cells) for _, cells in missing)
        outcome.reused = sum(len(job.cells) for job in plan.jobs) - wanted
        if wanted:
            _compute(store, plan, missing, history, registry, options, outcome, watcher, stop)
    registry.save()
    return outcome


def _keep_plan(path: Path, plan: Plan) -> None:
    """Write the plan where it differs from what is there, so that an unchanged one keeps its date."""
    text = json.dumps(plan_json(plan), indent=1, ensure_ascii=False) + "\n"
    if not path.exists() or path.read_text() != text:
        write_atomic(path, text)


def _compute(
    store: Store,
    plan: Plan,
    missing: list[tuple[Job, list[str]]],
    history: History,
    registry: Registry,
    options: RunOptions,
    outcome: Outcome,
    watcher: Watcher,
    stop: Callable[[], int],
) -> None:
    run = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    folder = store.folder
    facts = provenance(registry) | {"suite": plan.suite.tree.plain(), "profile": plan.suite.profile, "device": plan.device}
    write_atomic(folder / "runs" / f"{run}.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    registry.save()  # before the workers start, so that they read it instead of importing
    place = options.artifacts or str(options.results / ARTIFACTS)
    artifacts = artifacts_at(place)
    artifacts.tidy()
    works = works_of(plan, missing, options.results, artifacts, options.timeout)
    if any(not work.cells for work in works):
        artifacts.check()
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    setup = ExecutorSetup(
        run=run,
        artifacts=place,
        logs=logs,
        places=options.plugins.extra,
        device=options.device,
        workers=options.workers,
        address=options.address,
        retries=options.retries,
        stop=stop,
    )
    executor = registry.load_executor(options.executor)(setup)
    begun = Run(
        id=run, suite=plan.suite.name, profile=plan.suite.profile, device=plan.device, folder=folder,
        cells=sum(len(cells) for _, cells in missing), reused=outcome.reused, facts=facts,
    )  # fmt: skip
    recorder = _Recorder(store, plan, begun, {cell for _, cells in missing for cell in cells}, outcome, watcher)

    def emit(event: Event) -> None:
        recorder.take(event)
        watcher.happened(event)

    start = time.monotonic()
    status: Literal["done", "interrupted", "broken"] = "broken"
    watcher.run_started(begun, works, history.seconds)
    try:
        executor.execute(works, emit)
        outcome.interrupted = bool(stop())
        if recorder.open and not outcome.interrupted:
            raise LipbenchError(f"{len(recorder.open)} cells of {plan.suite.name} got no answer; run again, and report this")
        status = "interrupted" if outcome.interrupted else "done"
    finally:
        seconds, failed = time.monotonic() - start, len(outcome.failed)
        watcher.run_finished(begun, RunEnd(status=status, computed=outcome.computed, failed=failed, seconds=seconds))
    if not any(logs.iterdir()):
        logs.rmdir()


class _Recorder:
    """Turns events into records."""

    def __init__(self, store: Store, plan: Plan, run: Run, wanted: set[str], outcome: Outcome, watcher: Watcher) -> None:
        self.store, self.plan, self.run, self.outcome, self.watcher = store, plan, run, outcome, watcher
        self.open = set(wanted)
        self.places: dict[str, tuple[Job, Cell]] = {cell.id: (job, cell) for job, cell in plan.cells() if cell.id in wanted}

    def take(self, event: Event) -> None:
        if event.kind == "cell":
            self._write([event.data["cell"]], event.data)
        elif event.kind == "failed":
            self._write([c for c in event.work.cells if c in self.open], {**event.data, "cost": {}})

    def _write(self, cells: list[str], data: Mapping[str, Any]) -> None:
        records = [self._record(cell, data) for cell in cells if cell in self.open]
        self.store.append(records)
        for record in records:
            self.open.discard(record.cell)
            self.outcome.computed += 1
            if record.status != "ok":
                self.outcome.failed.append(record)
            self.watcher.record_written(self.run, record)

    def _record(self, cell_id: str, data: Mapping[str, Any]) -> Record:
        job, cell = self.places[cell_id]
        facts = {k: v for k, v in data.items() if k != "cell"}
        return Record(cell=cell_id, suite=self.plan.suite.name, run=self.run.id, **identity(job, cell), **facts)


def identity(job: Job, cell: Cell) -> dict[str, Any]:
    """The fields of a record that say what was measured."""
    uses = {"task": job.task, "metric": cell.metric, **job.roles}
    return {
        "task": job.task.name,
        "roles": {role: use.label for role, use in job.roles.items()},
        "params": {name: dict(use.params) for name, use in uses.items()},
        "seed": job.seed,
        "metric": cell.metric.label,
        "uses": {name: use.name for name, use in uses.items()},
        "code": {name: use.code for name, use in uses.items()},
        "data": dict(job.data),
    }


def plan_json(plan: Plan) -> dict[str, Any]:
    """What leaderboards need of a plan: the suite's words and the cells in order."""
    spec = plan.suite.spec
    reference = None
    if spec.reference is not None:
        from lipbench.suite.references import load_references

        reference = load_references(plan.suite.file.parent / spec.reference)
    return {
        "suite": spec.suite,
        "title": spec.title,
        "description": spec.description,
        "citation": spec.citation,
        "profile": plan.suite.profile,
        "task": plan.jobs[0].task.name,
        "leaderboard": spec.leaderboard.model_dump(),
        "reference": reference,
        "jobs": [
            {
                "roles": {role: use.label for role, use in job.roles.items()},
                "varying": dict(job.varying),
                "seed": job.seed,
                **({"blocks": list(job.blocks)} if job.blocks else {}),
                "cells": {cell.id: cell.metric.label for cell in job.cells},
            }
            for job in plan.jobs
        ],
    }
