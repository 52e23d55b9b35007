# SPDX-License-Identifier: Apache-2.0
"""Stages of a task in a plan: what they are computed from, and the ids that make jobs share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lipbench.contract.errors import PluginError
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
    about: tuple[str, ...]
    """Labels of all components behind it, for people."""
    seed: int
    shared: bool

    @property
    def scope(self) -> str:
        """What its random streams hang on: as for evidence, all models and methods see the same draws."""
        data = " ".join(f"{p}={u.identity}" for p, u in self.roles.items() if u.kind == "dataset")
        return f"stage {self.task.name}.{self.method} {data}"

    def title(self) -> str:
        """A few words for progress and errors."""
        return " · ".join([self.method, *self.about, f"seed {self.seed}"])


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
    attributes: Mapping[str, Mapping[str, Any]]
    """Role to the class attributes of its component."""


def steps_of(facts: Mapping[str, Any], point: Point) -> tuple[dict[str, str], dict[str, Step]]:
    """The stages of a job: name to id of the step, and the steps by id, each after those that it needs.

    Args:
        facts: Description of the task.
        point: The job's components.

    Raises:
        PluginError: No stage of a name applies, and the task cannot do without.
    """
    names: dict[str, str] = {}
    steps: dict[str, Step] = {}
    for name, choices in facts.get("stages", {}).items():
        chosen = next((c for c in choices if all(_said(point, k) in v for k, v in c["only"].items())), None)
        lacking = [] if chosen is None else [s for s in chosen["inputs"].values() if s not in point.roles and s not in names]
        if chosen is not None and not lacking:
            step = _step(chosen, point, names, steps, facts)
            names[name], steps[step.id] = step.id, step
        elif name not in facts["optional"]:
            why = f"its input {lacking[0]!r} does not" if lacking else f"{_conditions(choices, point)}"
            raise PluginError(f"task {point.task.name!r}: stage {name!r} does not apply here: {why}")
    return names, steps


def _said(point: Point, key: str) -> Any:
    """A parameter of the task, or a class attribute of a role's component."""
    role, dot, attribute = key.partition(".")
    return point.attributes[role].get(attribute) if dot else point.task.params.get(key)


def _conditions(choices: Sequence[Mapping[str, Any]], point: Point) -> str:
    return ", ".join(dict.fromkeys(f"{k} is {_said(point, k)!r}" for c in choices for k in c["only"]))


def _step(
    stage: Mapping[str, Any], point: Point, names: Mapping[str, str], known: Mapping[str, Step], facts: Mapping[str, Any]
) -> Step:
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
        about=tuple(dict.fromkeys([*(w for s in steps.values() for w in known[s].about), *(u.label for u in roles.values())])),
        seed=point.seed, shared=facts["shared"],
    )  # fmt: skip


def _content(point: Point, role: str) -> list[Any]:
    use = point.roles[role]
    return [use.name, use.params, use.code, point.data.get(role, "")]
