# SPDX-License-Identifier: Apache-2.0
"""What a plan consists of: fits, jobs and cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lipbench.files import canonical
from lipbench.fingerprint import digest
from lipbench.suite.limits import Limits
from lipbench.suite.load import FORMAT, Suite
from lipbench.suite.stages import Step
from lipbench.suite.uses import Use


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A model to be fitted once, whoever needs it."""

    id: str
    model: Use
    data: Use
    seed: int

    @property
    def scope(self) -> str:
        """What its random streams hang on."""
        return fit_scope(self.model, self.data)


def fit_scope(model: Use, data: Use) -> str:
    """What the random streams of building and fitting a model hang on."""
    return f"fit {model.identity} on {data.identity}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A job and one metric."""

    id: str
    metric: Use


@dataclass(frozen=True, kw_only=True)
class Job:
    """One point of a matrix with one seed: the unit that is scheduled and isolated."""

    id: str
    task: Use
    roles: Mapping[str, Use]
    data: Mapping[str, str]
    """Fingerprints of the files that components read, by role; a role that reads none is not in it."""
    fits: Mapping[str, str]
    """Model role to the id of its fit, where it is fitted."""
    builds: Mapping[str, str]
    """Model role to the dataset role whose shape it is built for."""
    stages: Mapping[str, str]
    """Stage of the task to the id of its step."""
    seed: int
    cells: tuple[Cell, ...]
    shared: bool
    varying: Mapping[str, Any] = field(default_factory=dict)
    """Task parameters that the matrix sets."""
    blocks: tuple[str, ...] = ()
    """Names of the blocks that ask for it."""

    @property
    def scope(self) -> str:
        """What the random streams of the evidence hang on: task and datasets, so that all models see the same draws."""
        data = " ".join(f"{r}={u.identity}" for r, u in self.roles.items() if u.kind == "dataset")
        return f"evidence {self.task.name} {data}"

    def title(self) -> str:
        """A few words for progress and errors."""
        words = [u.label for u in self.roles.values()] + [f"{k}={v}" for k, v in self.varying.items()]
        return " · ".join([*words, f"seed {self.seed}"])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a suite means."""

    suite: Suite
    jobs: tuple[Job, ...]
    fits: Mapping[str, Fit]
    steps: Mapping[str, Step]
    """By id, each after those that it needs."""
    device: str
    """Device class: part of every id, since values on another class may differ."""
    limits: Limits

    def cells(self) -> Iterator[tuple[Job, Cell]]:
        """Every cell with its job, in order."""
        return ((job, cell) for job in self.jobs for cell in job.cells)


def device_key(device: str, threads: int | None) -> str:
    """What ids say of where a value comes from.

    Args:
        device: Class of the device.
        threads: `Limits.threads`; another number can change the last bits of a value, like another class of device.
    """
    return device if threads is None else f"{device}, {threads} threads"


def cell_id(job: str, metric: str, params: Mapping[str, Any], code: str) -> str:
    """Id of a cell: what the job's id covers, and name, parameters and code of the metric."""
    return digest(job, f"{metric}{canonical(params)}", code)


def job_id(device: str, seed: int, task: Sequence[Any], roles: Mapping[str, Sequence[Any]]) -> str:
    """Id of a job.

    Args:
        device: As `device_key` says.
        seed: Its seed.
        task: Name, parameters and code of the task.
        roles: Role to name, parameters and code of its component, and the fingerprint of the files that this reads.
    """
    return digest(canonical({"format": FORMAT, "device": device, "seed": seed, "task": task, "roles": roles}))
