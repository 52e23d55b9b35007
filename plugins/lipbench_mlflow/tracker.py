# SPDX-License-Identifier: Apache-2.0
"""A run of lipbench as a run of MLflow, and each of its jobs as a nested one."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from lipbench.api import LipbenchError, Record, Run, RunEnd

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Or it prints an address for each nested run between our tables.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # The harness gives a call a minute; with MLflow's own seven retries, a server that is down would use it up in silence.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}
"""What MLflow is told where the user has not said otherwise."""
AT_ONCE = 100
"""MLflow takes so many parameters in one call."""
STATUS = {"done": "FINISHED", "interrupted": "KILLED", "broken": "FAILED"}


class Tracker:
    """Follows one run.

    Args:
        run: The run as it begins.
        uri: Where MLflow keeps its runs.

    Raises:
        LipbenchError: mlflow is not installed.
    """

    def __init__(self, run: Run, uri: str) -> None:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise LipbenchError(
                "MLFLOW_TRACKING_URI is set, but mlflow is not installed: pip install 'lipbench[mlflow]', or write -p no:mlflow"
            ) from error
        self.client = MlflowClient(tracking_uri=uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"lipbench {run.suite}"
        experiment = self.client.get_experiment_by_name(name)
        self.experiment = experiment.experiment_id if experiment else self.client.create_experiment(name)
        self.run, self.parent = run, self._start(run.id, _tags(run), _run_params(run))
        self.jobs: dict[str, str] = {}
        """Job to the id of its MLflow run."""
        self.failed: set[str] = set()
        """MLflow runs of jobs of which a cell failed."""
        self.keys: dict[str, str] = {}
        """Label of a metric to its name in MLflow."""

    def log(self, record: Record) -> None:
        """Log a cell in the run of its job."""
        from mlflow.entities import Metric, RunTag

        job, key, now = self._job(record), self._key(record.metric), int(time.time() * 1000)
        numbers = {key: record.value, f"{key}.seconds": record.cost.get("seconds")}
        tags = []
        if record.status != "ok":
            self.failed.add(job)
            error = record.error or {}
            tags = [RunTag(f"failed.{key}", f"{error.get('class', record.status)}: {error.get('message', '')}")]
        metrics = [Metric(name, float(value), now, 0) for name, value in numbers.items() if value is not None]
        self.client.log_batch(job, metrics=metrics, tags=tags)

    def finish(self, end: RunEnd) -> None:
        """End the runs of the jobs and of the whole."""
        for job in self.jobs.values():
            self.client.set_terminated(job, "FAILED" if job in self.failed else "FINISHED")
        for name, value in (("computed", end.computed), ("failed", end.failed), ("seconds", end.seconds)):
            self.client.log_metric(self.parent, name, value)
        self.client.set_terminated(self.parent, STATUS[end.status])

    def _start(self, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        run_id: str = self.client.create_run(self.experiment, run_name=name, tags=dict(tags)).info.run_id
        listed = [Param(_name(key), value if isinstance(value, str) else json.dumps(value)) for key, value in params.items()]
        for start in range(0, len(listed), AT_ONCE):
            self.client.log_batch(run_id, params=listed[start : start + AT_ONCE])
        return run_id

    def _job(self, record: Record) -> str:
        params = {key: value for key, value in record.params.items() if key != "metric"}
        job = json.dumps([record.roles, params, record.seed], sort_keys=True)
        if job not in self.jobs:
            given = {f"{part}.{name}": value for part, values in params.items() for name, value in values.items()}
            self.jobs[job] = self._start(
                " · ".join([*record.roles.values(), f"seed {record.seed}"]),
                {"mlflow.parentRunId": self.parent, "lipbench.run": self.run.id},
                {**record.roles, "seed": record.seed, "device": record.device, **given},
            )
        return self.jobs[job]

    def _key(self, label: str) -> str:
        """MLflow has fewer signs than labels have; two labels must not become one name."""
        if label not in self.keys:
            name, taken, count = _name(label), set(self.keys.values()), 2
            key = name
            while key in taken:
                key, count = f"{name} {count}", count + 1
            self.keys[label] = key
        return self.keys[label]


def _name(words: str) -> str:
    """What MLflow takes as the name of a metric or a parameter.

    >>> _name("clever(p=2, samples=1/8)")
    'clever_p_2_ samples_1_8_'
    """
    return re.sub(r"[^\w.\- ]", "_", words)[:200]


def _tags(run: Run) -> dict[str, str]:
    git = run.facts.get("git") or {}
    tags = {"lipbench.run": run.id, "lipbench.command": " ".join(run.facts["command"]), "mlflow.source.name": "lipbench run"}
    return tags | ({"mlflow.source.git.commit": git["commit"], "lipbench.dirty": str(git["dirty"])} if git else {})


def _run_params(run: Run) -> dict[str, Any]:
    facts = run.facts
    versions = {name: facts["packages"][name] for name in ("torch", "numpy") if name in facts["packages"]}
    return {
        "suite": run.suite, "profile": run.profile or "", "device": run.device, "cells": run.cells, "reused": run.reused,
        "lipbench": facts["lipbench"], "python": facts["python"], "platform": facts["platform"], "processor": facts["processor"],
        **versions,
    }  # fmt: skip
