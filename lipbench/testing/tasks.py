# SPDX-License-Identifier: Apache-2.0
"""Checks of a task: it is run as the harness runs it, with metrics on its evidence."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from lipbench.contract.components import Metric, Stage
from lipbench.contract.context import Context
from lipbench.contract.errors import SuiteError
from lipbench.contract.values import Value
from lipbench.execution.artifacts import Artifacts
from lipbench.execution.durations import Durations
from lipbench.execution.job import Bench, do
from lipbench.execution.work import make_works
from lipbench.registry import Registry
from lipbench.signature import class_name
from lipbench.suite.jobs import Plan
from lipbench.suite.load import load_suite
from lipbench.suite.plan import make_plan
from lipbench.testing.arrays import close
from lipbench.testing.common import COMMON, said_of_fields
from lipbench.testing.kit import Checks, Conformance, DoesNotApply, Subject, find, global_seed, registry_with

TIMEOUT_S = 600.0
TOLERANCE = 1e-4
"""Relative: what smaller batches may change."""

Answers = Mapping[str, Mapping[str, Any]]
"""Label of a metric to what the worker says of its cell."""


class _Asked(list[int]):
    """Keeps what the worker clears before each cell."""

    def clear(self) -> None:
        """Keep it."""


@dataclass(frozen=True, kw_only=True)
class TaskSubject(Subject):
    """A task under test, with what fills its roles and metrics that read its evidence."""

    roles: Mapping[str, Any]
    metrics: Sequence[Any]
    registry: Registry

    def plan(self, *, seed: int = 0, backwards: bool = False) -> Plan:
        """The plan of a suite with this one job."""
        suite = {
            "lipbench": 1,
            "suite": "conformance",
            "task": {"use": self.name, **self.params},
            "matrix": dict(self.roles),
            "metrics": list(reversed(self.metrics)) if backwards else list(self.metrics),
            "seeds": [seed],
        }
        with TemporaryDirectory() as folder:
            file = Path(folder) / "conformance.yaml"
            file.write_text(json.dumps(suite))  # JSON is YAML
            try:
                return make_plan(load_suite(file), self.registry)
            except SuiteError as error:
                raise SuiteError(
                    error.message
                ) from None  # the author has not written this file, and it has another name each time

    def run(self, plan: Plan, batch_scale: float = 1.0, world: int = 0, capture: bool = False) -> tuple[Answers, list[int]]:
        """Do all works of a plan in this process; answers by metric, and the batches that components asked for.

        With `capture` the metrics give way to `Capture`.
        """
        labels = {cell.id: cell.metric.label for _, cell in plan.cells()}
        answers: dict[str, Mapping[str, Any]] = {}
        asked = _Asked()

        def hear(message: dict[str, Any]) -> None:
            if message["say"] == "cell":
                answers[labels[message["cell"]]] = message
            elif message["say"] == "failed":
                raise AssertionError(message["error"]["message"])

        with TemporaryDirectory() as folder, global_seed(world):
            artifacts = Artifacts(Path(folder))
            bench = Bench(artifacts=artifacts, device=self.device, send=hear, batch_scale=batch_scale, batches=asked)
            missing = [(job, [cell.id for cell in job.cells]) for job in plan.jobs]
            works = make_works(plan, missing, artifacts.has, Durations(Path(folder) / "none", Path(folder)), TIMEOUT_S)
            for work in works:  # fits come first, then steps after those that they need
                do(bench, _captured(work.payload) if capture else work.payload, TIMEOUT_S)
        return answers, asked

    @cached_property
    def answers(self) -> Answers:
        """What the metrics say of its evidence."""
        return self.run(self.plan())[0]


def _captured(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    if "job" not in payload:
        return payload
    job = payload["job"]
    metric = {"name": "capture", "label": "capture", "factory": class_name(Capture), "params": {}}
    return {**payload, "job": {**job, "cells": [{**job["cells"][0], "metric": metric}]}}


def runs(subject: TaskSubject) -> Iterable[str]:
    """With small components in its roles, every metric gives a value."""
    for metric, answer in subject.answers.items():
        if answer["status"] != "ok":
            yield f"metric {metric}: {answer['error']['message']}"


def determinism(subject: TaskSubject) -> Iterable[str]:
    """The same seed gives the same values, bit for bit, whatever the order of metrics and the global generators."""
    orders = {"again": subject.plan(), "with the metrics in another order": subject.plan(backwards=True)}
    for world, (when, plan) in enumerate(orders.items(), 1):
        other = subject.run(plan, world=world)[0]
        for metric, answer in subject.answers.items():
            if answer.get("value") != other[metric].get("value"):
                yield f"run {when}, metric {metric} gives {other[metric].get('value')!r}, not {answer.get('value')!r}"


def seeds(subject: TaskSubject) -> Iterable[str]:
    """It runs with another seed as well."""
    for metric, answer in subject.run(subject.plan(seed=1))[0].items():
        if answer["status"] != "ok":
            yield f"seed 1, metric {metric}: {answer['error']['message']}"


def batch_independence(subject: TaskSubject) -> Iterable[str]:
    """Smaller batches, after memory ran out, give the same values up to rounding."""
    small, asked = subject.run(subject.plan(), batch_scale=0.25)
    if not asked:
        raise DoesNotApply("nothing in it asks for a batch by ctx.batch()")
    for metric, answer in subject.answers.items():
        one, other = answer.get("value"), small[metric].get("value")
        if one is not None and (other is None or not close(one, other, TOLERANCE)):
            yield f"with a quarter of the batch, metric {metric} gives {other!r}, not {one!r}"


def evidence_documented(subject: TaskSubject) -> Iterable[str]:
    """The class of its evidence says what each field is, and which shape arrays have."""
    hints = inspect.get_annotations(subject.cls.evidence, eval_str=True)  # type: ignore[attr-defined]
    evidence = hints.get("return")
    if not (isinstance(evidence, type) and is_dataclass(evidence)):
        yield "evidence() must be annotated with the dataclass that it gives, so that authors of metrics can read it"
        return
    if not (evidence.__doc__ or "").strip() or (evidence.__doc__ or "").startswith(f"{evidence.__name__}("):
        yield f"{evidence.__name__} has no docstring"
    said = said_of_fields(evidence)
    for field in fields(evidence):
        kind = _annotation(evidence, field.name)
        array = any(word in kind for word in ("ndarray", "Tensor"))
        if field.name not in said:
            yield f"{evidence.__name__}.{field.name} has no string below it that says what it is"
        elif array and "(" not in said[field.name]:
            yield f"{evidence.__name__}.{field.name} is an array, but its string names no shape such as (N, d)"


def _annotation(cls: type, name: str) -> str:
    return next((str(vars(c)["__annotations__"][name]) for c in cls.__mro__ if name in vars(c).get("__annotations__", {})), "")


def stages(subject: TaskSubject) -> Iterable[str]:
    """Each stage names a method of the task."""
    declared: Mapping[str, Stage | tuple[Stage, ...]] = subject.cls.stages  # type: ignore[attr-defined]
    if not declared:
        raise DoesNotApply("it has no stages")
    for name, one in declared.items():
        for stage in one if isinstance(one, tuple) else (one,):
            if not callable(getattr(subject.cls, stage.method, None)):
                yield f"stage {name!r} names the method {stage.method!r}, which the task does not have"


class Capture(Metric):
    """Keeps its evidence instead of measuring it."""

    found: ClassVar[list[Any]] = []

    def compute(self, evidence: Any, ctx: Context) -> Value:
        """Keep it."""
        self.found.append(evidence)
        return Value(value=0.0, direction="none", unit="1")


def _subject(
    name: str, roles: Mapping[str, Any], metrics: Sequence[Any], params: Mapping[str, Any] | None, plugin: str | None
) -> TaskSubject:
    cls, declared = find("task", name, plugin)
    return TaskSubject(
        kind="task",
        cls=cls,
        declared=declared,
        params=params or {},
        roles=roles,
        metrics=metrics,
        registry=registry_with(plugin),
    )


def make_evidence(
    task: str,
    *,
    roles: Mapping[str, Any],
    metric: Any,
    params: Mapping[str, Any] | None = None,
    plugin: str | None = None,
    seed: int = 0,
) -> Any:
    """The evidence of a task as the harness makes it, for `check_metric`.

    Args:
        task: Its name.
        roles: What fills each role, as in a suite.
        metric: Any metric that reads it, often the one under test; it completes the suite and is not computed.
        params: Parameters of the task.
        plugin: File or module of a plugin that is not installed.
        seed: The seed of the job.

    Raises:
        AssertionError: The task fails.
        SuiteError: Roles or metric do not fit the task.
    """
    subject = _subject(task, roles, [metric], params, plugin)
    Capture.found.clear()
    subject.run(subject.plan(seed=seed), capture=True)
    return Capture.found.pop()


CHECKS: Checks[TaskSubject] = Checks(
    checks=(*COMMON, stages, runs, determinism, seeds, batch_independence, evidence_documented)
)


def check_task(
    component: str,
    *,
    roles: Mapping[str, Any],
    metrics: Sequence[Any],
    params: Mapping[str, Any] | None = None,
    plugin: str | None = None,
    waive: Mapping[str, str] | None = None,
) -> Conformance:
    """Check that a task keeps the contract, by running a job of it as the harness does, with its fits and stages.

    Args:
        component: Its name.
        roles: What fills each role, as in a suite: `NAME` or `{"use": NAME, PARAMETER: VALUE}`. Small ones are fast.
        metrics: Metrics that read its evidence, likewise.
        params: Parameters of the task.
        plugin: File or module of a plugin that is not installed.
        waive: Name of a check to the reason why it need not pass.

    Raises:
        ConformanceError: With a line for each fault.
        SuiteError: Roles or metrics do not fit the task.
    """
    subject = _subject(component, roles, metrics, params, plugin)
    subject.plan()
    return CHECKS.run(subject, waive or {})
