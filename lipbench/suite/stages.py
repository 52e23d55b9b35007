# SPDX-License-Identifier: Apache-2.0
"""Stages of a task in a plan: what they are computed from, and the ids that make jobs share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lipbench.files import canonical
from lipbench.fingerprint import digest
from lipbench.suite.load import FORMAT
from lipbench.suite.uses import Use


@dataclass(frozen=True, kw_only=True)
class Step:
    """A stage of a task for certain components: computed once and stored, whichever jobs need it."""

    id: str
    task: Use
    """With the parameters that the stage reads, and no other."""
    method: str
    roles: Mapping[str, Use]
    """Parameter of the method to a component."""
    steps: Mapping[str, str]
    """Parameter of the method to the id of another step."""
    builds: Mapping[str, Use]
    """Parameter that takes a model to the dataset whose shape it is built for."""
    fits: Mapping[str, str]
    """Parameter that takes a model to the id of its fit, where it is fitted."""
    seed: int
    shared: bool
    cpus: int

    @property
    def scope(self) -> str:
        """What its random streams hang on: as for evidence, all models and methods see the same draws."""
        data = " ".join(f"{p}={u.identity}" for p, u in self.roles.items() if u.kind == "dataset")
        return f"stage {self.task.name}.{self.method} {data}"

    def title(self) -> str:
        """A few words for progress and errors."""
        return " · ".join([self.method, *dict.fromkeys(u.label for u in self.roles.values()), f"seed {self.seed}"])


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a job knows when its stages are planned."""

    device: str
    seed: int
    task: Use
    roles: Mapping[str, Use]
    data: Mapping[str, str]
    """Role to the fingerprint of the files that its component reads."""
    builds: Mapping[str, str]
    fits: Mapping[str, str]


def steps_of(facts: Mapping[str, Any], point: Point) -> tuple[dict[str, str], dict[str, Step]]:
    """The stages of a job: name to id of the step, and the steps by id, each after those that it needs.

    Args:
        facts: Description of the task.
        point: The job's components.
    """
    names: dict[str, str] = {}
    steps: dict[str, Step] = {}
    for name, choices in facts.get("stages", {}).items():
        chosen = next((c for c in choices if _applies(c["only"], point.task.params)), None)
        if chosen is not None:
            step = _step(chosen, point, names, facts)
            names[name], steps[step.id] = step.id, step
    return names, steps


def _applies(only: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    return all(params.get(name) in values for name, values in only.items())


def _step(stage: Mapping[str, Any], point: Point, names: Mapping[str, str], facts: Mapping[str, Any]) -> Step:
    roles = {p: point.roles[role] for p, role in stage["inputs"].items() if role in point.roles}
    sources = {p: role for p, role in stage["inputs"].items() if role in point.roles}
    steps = {p: names[other] for p, other in stage["inputs"].items() if other in names}
    task = replace(point.task, params={k: point.task.params[k] for k in stage["params"]})
    builds = {p: point.roles[point.builds[role]] for p, role in sources.items() if role in point.builds}
    key = {
        "format": FORMAT,
        "device": point.device,
        "seed": point.seed,
        "task": [task.name, task.params, task.code],
        "method": stage["method"],
        "roles": {p: _content(point, role) for p, role in sources.items()},
        "builds": {p: _content(point, point.builds[role]) for p, role in sources.items() if role in point.builds},
        "steps": steps,
    }
    return Step(
        id=digest(canonical(key)), task=task, method=stage["method"], roles=roles, steps=steps, builds=builds,
        fits={p: point.fits[role] for p, role in sources.items() if role in point.fits},
        seed=point.seed, shared=facts["shared"], cpus=facts["cpus"],
    )  # fmt: skip


def _content(point: Point, role: str) -> list[Any]:
    use = point.roles[role]
    return [use.name, use.params, use.code, point.data.get(role, "")]
