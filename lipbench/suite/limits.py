# SPDX-License-Identifier: Apache-2.0
"""What the works of a plan ask for and how long they may take: what the suite says, else its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lipbench.contract.execution import Resources, in_bytes
from lipbench.suite.load import Suite

TIMEOUT_S = 3600.0
"""Where neither suite nor task says more."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Part of a plan and, but for one, of no id."""

    resources: Resources
    """What each job and each step asks for."""
    fit_resources: Resources
    """What each fit asks for: one thread, where the suite does not set another number than the task's."""
    timeout: float
    """Seconds that one fit, one step, one evidence or one metric may take."""
    threads: int | None
    """What the suite sets, where that is not the task's number of threads; the one limit that enters ids."""


def limits_of(suite: Suite, facts: Mapping[str, Any]) -> Limits:
    """The limits of a suite.

    Args:
        suite: The suite as it will run.
        facts: Description of its task.
    """
    asked = suite.spec.resources
    resources = Resources(
        cpus=asked.cpus or facts["cpus"],
        gpus=asked.gpus or facts["gpus"],
        memory=in_bytes(asked.memory) if asked.memory else facts["memory"],
    )
    threads = None if resources.cpus == facts["cpus"] else resources.cpus
    return Limits(
        resources=resources,
        fit_resources=replace(resources, cpus=threads or 1),
        timeout=suite.spec.timeout or facts["timeout"] or TIMEOUT_S,
        threads=threads,
    )
