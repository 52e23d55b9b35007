# SPDX-License-Identifier: Apache-2.0
"""The whole public surface of lipbench: plugins import this module and nothing else of it."""

from __future__ import annotations

import pluggy

from lipbench.contract.components import (
    Component,
    Dataset,
    DataSpec,
    Kind,
    Method,
    Metric,
    Model,
    Network,
    Report,
    Split,
    Stage,
    Task,
)
from lipbench.contract.context import Checkpoint, Context, data_root, stable_seed
from lipbench.contract.errors import InvalidInput, LipbenchError, NotApplicable, NotFinite
from lipbench.contract.execution import Emit, Event, Executor, ExecutorDeclaration, ExecutorSetup, Resources, Work
from lipbench.contract.values import Column, Direction, Entry, Interval, Record, Status, Table, Value
from lipbench.execution.dispatch import Dispatch
from lipbench.execution.local import LocalExecutor
from lipbench.execution.worker import Worker

API_VERSION = 1
"""Version of this surface; it changes when a plugin written for it could break."""

hookimpl = pluggy.HookimplMarker("lipbench")
"""Marks a function of a plugin module as an implementation of a hook in `lipbench.hookspecs`."""

__all__ = [
    "API_VERSION",
    "Checkpoint",
    "Column",
    "Component",
    "Context",
    "DataSpec",
    "Dataset",
    "Direction",
    "Dispatch",
    "Emit",
    "Entry",
    "Event",
    "Executor",
    "ExecutorDeclaration",
    "ExecutorSetup",
    "Interval",
    "InvalidInput",
    "Kind",
    "LipbenchError",
    "LocalExecutor",
    "Method",
    "Metric",
    "Model",
    "Network",
    "NotApplicable",
    "NotFinite",
    "Record",
    "Report",
    "Resources",
    "Split",
    "Stage",
    "Status",
    "Table",
    "Task",
    "Value",
    "Work",
    "Worker",
    "data_root",
    "hookimpl",
    "stable_seed",
]
