# SPDX-License-Identifier: Apache-2.0
"""From a plan and what is missing of it to the works that an executor is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from lipbench.contract.execution import Work
from lipbench.execution.durations import Durations
from lipbench.suite.jobs import Fit, Job, Plan, fit_scope
from lipbench.suite.stages import Step
from lipbench.suite.uses import Use


def make_works(
    plan: Plan,
    missing: Sequence[tuple[Job, Sequence[str]]],
    has_artifact: Callable[[str], bool],
    durations: Durations,
    timeout: float | None = None,
) -> list[Work]:
    """Works for the missing cells, and for the fits and steps that they need and that are not stored.

    Args:
        plan: The plan.
        missing: Jobs with the ids of their cells that are to be computed.
        has_artifact: Function of the id of a fit or a step.
        durations: How long they will take.
        timeout: Instead of the plan's; None for that.
    """
    absent = to_make(plan, missing, has_artifact)
    works = [_fit_work(plan, fit, durations) for fit in plan.fits.values() if fit.id in absent]
    works += [_step_work(plan, step, absent, durations) for step in plan.steps.values() if step.id in absent]
    for job, cells in missing:
        if cells:
            needs = absent.intersection(job.fits.values()) | absent.intersection(job.stages.values())
            works.append(_job_work(plan, job, cells, frozenset(needs), durations))
    return works if timeout is None else [replace(work, timeout=timeout) for work in works]


def to_make(plan: Plan, missing: Sequence[tuple[Job, Sequence[str]]], has_artifact: Callable[[str], bool]) -> set[str]:
    """Ids of the fits and steps that the missing cells need and that are not stored; see `make_works`."""
    wanted = [job for job, cells in missing if cells]
    steps = {s for job in wanted for s in job.stages.values() if not has_artifact(s)}
    for step in reversed(list(plan.steps.values())):
        if step.id in steps:
            steps |= {s for s in step.steps.values() if not has_artifact(s)}
    needed = {f for job in wanted for f in job.fits.values()} | {f for s in steps for f in plan.steps[s].fits.values()}
    return {fit for fit in needed if not has_artifact(fit)} | steps


def _fit_work(plan: Plan, fit: Fit, durations: Durations) -> Work:
    return Work(
        id=fit.id, title=f"fit {fit.model.label} on {fit.data.label} · seed {fit.seed}", payload={"fit": fit_payload(fit)},
        resources=plan.limits.fit_resources, timeout=plan.limits.timeout, seconds=durations.fit(fit),
    )  # fmt: skip


def fit_payload(fit: Fit) -> dict[str, Any]:
    """A fit as JSON."""
    return {"id": fit.id, "model": fit.model.to_json(), "data": fit.data.to_json(), "seed": fit.seed, "scope": fit.scope}


def _step_work(plan: Plan, step: Step, absent: Set[str], durations: Durations) -> Work:
    payload = {"step": step.id, "steps": _closure(plan, [step.id])}
    needs = frozenset({*step.fits.values(), *step.steps.values()} & absent)
    return Work(
        id=step.id, title=step.title(), payload=payload, needs=needs, shared=step.shared,
        uses=frozenset({*step.fits.values(), *step.steps.values()}),
        resources=plan.limits.resources, timeout=plan.limits.timeout, seconds=durations.step(step),
    )  # fmt: skip


def _closure(plan: Plan, wanted: Iterable[str]) -> dict[str, Any]:
    """Steps as JSON by id, with all that they need, so that a worker can make a lost one again."""
    found: dict[str, Any] = {}
    open_ = list(wanted)
    while open_:
        step = plan.steps[open_.pop()]
        found[step.id] = step_payload(plan, step)
        open_ += [s for s in step.steps.values() if s not in found]
    return found


def step_payload(plan: Plan, step: Step) -> dict[str, Any]:
    """A step as JSON."""
    return {
        "id": step.id,
        "task": step.task.to_json(),
        "method": step.method,
        **_components(plan, step.roles, step.builds, step.fits),
        "stages": dict(step.steps),
        "seed": step.seed,
        "scope": step.scope,
    }


def _components(
    plan: Plan, roles: Mapping[str, Use], builds: Mapping[str, Use], fits: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The components of a step or a job as JSON, and on which dataset each model is built and fitted."""
    return {
        "roles": {role: use.to_json() for role, use in roles.items()},
        "builds": {role: data.to_json() for role, data in builds.items()},
        "scopes": {role: fit_scope(roles[role], data) for role, data in builds.items()},
        "fits": {role: fit_payload(plan.fits[fit]) for role, fit in fits.items()},
    }


def _job_work(plan: Plan, job: Job, cells: Sequence[str], needs: frozenset[str], durations: Durations) -> Work:
    chosen = [c for c in job.cells if c.id in set(cells)]
    payload = {
        "job": {
            "id": job.id,
            "task": job.task.to_json(),
            **_components(plan, job.roles, {r: job.roles[source] for r, source in job.builds.items()}, job.fits),
            "stages": dict(job.stages),
            "seed": job.seed,
            "scope": job.scope,
            "cells": [
                {"id": c.id, "metric": c.metric.to_json(), "scope": f"{job.scope} metric {c.metric.identity}"} for c in chosen
            ],
        },
        "steps": _closure(plan, job.stages.values()),
    }
    return Work(
        id=job.id, title=job.title(), payload=payload, cells=tuple(c.id for c in chosen), needs=needs,
        uses=frozenset({*job.fits.values(), *job.stages.values()}),
        shared=job.shared, resources=plan.limits.resources, timeout=plan.limits.timeout, seconds=durations.job(job, cells),
    )  # fmt: skip
