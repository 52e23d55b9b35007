# SPDX-License-Identifier: Apache-2.0
"""Follows runs where MLFLOW_TRACKING_URI is set; elsewhere mlflow is not even imported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lipbench.api import Record, Run, RunEnd, hookimpl

if TYPE_CHECKING:
    from lipbench_mlflow.tracker import Tracker

_trackers: dict[str, Tracker] = {}


@hookimpl
def lipbench_run_started(run: Run) -> bool:
    """Begin an MLflow run, or want to hear nothing."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return False
    from lipbench_mlflow.tracker import Tracker

    _trackers[run.id] = Tracker(run, uri)
    return True


@hookimpl
def lipbench_record_written(run: Run, record: Record) -> None:
    """Log a cell."""
    _trackers[run.id].log(record)


@hookimpl
def lipbench_run_finished(run: Run, end: RunEnd) -> None:
    """End the MLflow run."""
    _trackers.pop(run.id).finish(end)
