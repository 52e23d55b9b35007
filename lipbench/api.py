# SPDX-License-Identifier: Apache-2.0
"""The whole public surface of lipbench: plugins import this module and nothing else of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

from lipbench.contract.components import (
    Component,
    Dataset,
    DataSpec,
    Format,
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
from lipbench.contract.functions import FunctionName
from lipbench.contract.leaving import leaving as _leaving
from lipbench.contract.runs import Run, RunEnd
from lipbench.contract.values import Column, Direction, Entry, Interval, Record, Status, Table, Value
from lipbench.contract.version import API_VERSION
from lipbench.execution.dispatch import Dispatch
from lipbench.execution.local import LocalExecutor
from lipbench.execution.worker import Worker
from lipbench.leaderboard.page import Board, Source

hookimpl = pluggy.HookimplMarker("lipbench")
"""Marks a function of a plugin module as an implementation of a hook in `lipbench.hookspecs`."""

if not TYPE_CHECKING:  # type checkers would take any name for one that is there
    __getattr__ = _leaving(__name__, {})  # none leaves now; see "What may change" in docs/plugins.md

__all__ = [
    "API_VERSION",
    "Board",
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
    "Format",
    "FunctionName",
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
    "Run",
    "RunEnd",
    "Source",
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
