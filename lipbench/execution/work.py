# SPDX-License-Identifier: Apache-2.0
"""What an executor is given and what it says back; nothing here knows processes or torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lipbench.suite.plan import Fit, Job, Plan


@dataclass(frozen=True, kw_only=True)
class Work:
    """A fit, or the missing cells of a job: what one worker does in one go."""

    id: str
    title: str
    payload: Mapping[str, Any]
    """All that the worker needs, as JSON."""
    cells: tuple[str, ...] = ()
    """Ids of the cells that it gives; empty for a fit."""
    needs: frozenset[str] = frozenset()
    """Ids of fits that must be done before."""
    shared: bool = False
    cpus: int = 1
    timeout: float = 3600.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a work."""

    kind: Literal["started", "cell", "note", "finished", "failed"]
    """`cell` carries a finished cell; `failed` a fault of the whole work, before or between its cells."""
    work: Work
    data: Mapping[str, Any] = field(default_factory=dict)


class Schedule:
    """Which work is ready: fits first, then jobs in the order of the plan; a failed fit fails what waits for it."""

    def __init__(self, works: Iterable[Work]) -> None:
        self.waiting: dict[str, Work] = {w.id: w for w in works}
        self.open_fits = {w.id for w in self.waiting.values() if not w.cells}

    def take(self) -> Work | None:
        """The next work that waits for nothing; None where none is ready now."""
        ready = next((w for w in self.waiting.values() if not (w.needs & self.open_fits)), None)
        return self.waiting.pop(ready.id) if ready else None

    def put_back(self, work: Work) -> None:
        """Queue a work again, behind the others."""
        self.waiting[work.id] = work

    def fit_done(self, fit: str) -> None:
        """Free what waited for this fit."""
        self.open_fits.discard(fit)

    def fit_failed(self, fit: str) -> list[Work]:
        """Give up on what waited for this fit, and return it."""
        lost = [w for w in self.waiting.values() if fit in w.needs]
        for work in lost:
            del self.waiting[work.id]
        self.open_fits.discard(fit)
        return lost


def make_works(plan: Plan, missing: Sequence[tuple[Job, Sequence[str]]], has_artifact: Any) -> list[Work]:
    """Works for the missing cells, and for the fits that they need and that are not stored.

    Args:
        plan: The plan.
        missing: Jobs with the ids of their cells that are to be computed.
        has_artifact: Function of a fit's id.
    """
    needed = {fit for job, cells in missing if cells for fit in job.fits.values()}
    absent = {fit for fit in sorted(needed) if not has_artifact(fit)}
    timeout = plan.suite.spec.timeout
    works = [_fit_work(plan.fits[fit], timeout) for fit in plan.fits if fit in absent]
    for job, cells in missing:
        if cells:
            works.append(_job_work(plan, job, cells, frozenset(job.fits.values()) & absent, timeout))
    return works


def _fit_work(fit: Fit, timeout: float) -> Work:
    title = f"fit {fit.model.label} on {fit.data.label} · seed {fit.seed}"
    return Work(id=fit.id, title=title, payload={"fit": fit_payload(fit)}, timeout=timeout)


def fit_payload(fit: Fit) -> dict[str, Any]:
    """A fit as JSON."""
    return {"id": fit.id, "model": fit.model.to_json(), "data": fit.data.to_json(), "seed": fit.seed, "scope": fit.scope}


def _job_work(plan: Plan, job: Job, cells: Sequence[str], needs: frozenset[str], timeout: float) -> Work:
    chosen = [c for c in job.cells if c.id in set(cells)]
    payload = {
        "job": {
            "id": job.id,
            "task": job.task.to_json(),
            "roles": {role: use.to_json() for role, use in job.roles.items()},
            "builds": dict(job.builds),
            "scopes": {r: f"fit {job.roles[r].identity} on {job.roles[d].identity}" for r, d in job.builds.items()},
            "fits": {role: fit_payload(plan.fits[fit]) for role, fit in job.fits.items()},
            "seed": job.seed,
            "scope": job.scope,
            "cells": [
                {"id": c.id, "metric": c.metric.to_json(), "scope": f"{job.scope} metric {c.metric.identity}"} for c in chosen
            ],
        }
    }
    return Work(
        id=job.id, title=job.title(), payload=payload, cells=tuple(c.id for c in chosen), needs=needs,
        shared=job.shared, cpus=job.cpus, timeout=timeout,
    )  # fmt: skip


def without(work: Work, cell: str) -> Work | None:
    """The rest of a work after one of its cells ended it; None where nothing is left."""
    left = tuple(c for c in work.cells if c != cell)
    if not left:
        return None
    job = dict(work.payload["job"])
    job["cells"] = [c for c in job["cells"] if c["id"] in left]
    return Work(
        id=work.id, title=work.title, payload={"job": job}, cells=left, needs=work.needs,
        shared=work.shared, cpus=work.cpus, timeout=work.timeout,
    )  # fmt: skip
