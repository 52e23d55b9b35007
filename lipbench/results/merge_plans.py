# SPDX-License-Identifier: Apache-2.0
"""One plan out of several of the same suite: equal ones stay as they are, others are united."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lipbench.contract.errors import StoreError
from lipbench.files import canonical
from lipbench.results.form import sound_plan
from lipbench.results.store import PLAN

JobKey = tuple[str, str, int]


def join_plans(folders: Sequence[Path]) -> dict[str, Any]:
    """The plan of all cells that any of these folders plans; empty where none has a plan.

    Equal plans keep their order. Where they differ in their cells, as after runs on the CPU and on a GPU, jobs and cells are
    put in an order of their own, which does not depend on the order of the folders.

    Raises:
        StoreError: The plans differ in more than their cells, or a file is no plan.
    """
    plans = [(folder, plan) for folder in folders if (plan := sound_plan(folder))]
    if not plans:
        return {}
    where, first = plans[0]
    for folder, plan in plans[1:]:
        differing = [key for key in sorted({*first, *plan}) if key != "jobs" and first.get(key) != plan.get(key)]
        if differing:
            raise StoreError(
                f"{where / PLAN} and {folder / PLAN} differ in {', '.join(differing)}; `lipbench run` the same suite file with the "
                "same lipbench and profile on each (it computes only what is missing), or merge them into different folders"
            )
    if all(plan == first for _, plan in plans):
        return first
    return {**first, "jobs": _united(plans)}


def _united(plans: Sequence[tuple[Path, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    jobs: dict[JobKey, dict[str, Any]] = {}
    places: dict[str, tuple[JobKey, str, Path]] = {}
    for folder, plan in plans:
        for job in plan["jobs"]:
            key = (canonical(job["roles"]), canonical(job["varying"]), job["seed"])
            known = jobs.setdefault(key, {"roles": job["roles"], "varying": job["varying"], "seed": job["seed"], "cells": {}})
            for name in ("roles", "varying"):  # equal, but tables show them in the order in which they stand
                known[name] = min(known[name], job[name], key=list)
            if job.get("blocks"):
                known["blocks"] = sorted({*known.get("blocks", ()), *job["blocks"]})
            for cell, metric in job["cells"].items():
                seen = places.setdefault(cell, (key, metric, folder))
                if seen[:2] != (key, metric):
                    raise StoreError(
                        f"cell {cell} is {metric!r} of {canonical(job['roles'])} in {folder / PLAN}, but {seen[1]!r} of {seen[0][0]} "
                        f"in {seen[2] / PLAN}; give both the same labels, `lipbench run` again computes nothing for that"
                    )
                known["cells"][cell] = metric
    return [_in_order(jobs[key]) for key in sorted(jobs)]


def _in_order(job: dict[str, Any]) -> dict[str, Any]:
    """Keys in the order in which a run writes them, cells by metric."""
    cells = dict(sorted(job.pop("cells").items(), key=lambda item: (item[1], item[0])))
    return {**job, "cells": cells}
