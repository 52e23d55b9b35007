# SPDX-License-Identifier: Apache-2.0
"""The contract between the core and its plugins, in full."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from lipbench.contract.components import Component, Format, Report
from lipbench.contract.execution import ExecutorDeclaration
from lipbench.contract.runs import Run, RunEnd
from lipbench.contract.values import Record

hookspec = pluggy.HookspecMarker("lipbench")


@hookspec
def lipbench_components() -> Iterable[Component]:
    """The components that this plugin has. Called once, right after the plugin is loaded; must not import torch."""
    raise AssertionError("a hook specification is never called")


@hookspec
def lipbench_reports() -> Iterable[Report]:
    """The audits, tables and plots that this plugin makes of records. Called once; must not import torch."""
    raise AssertionError("a hook specification is never called")


@hookspec
def lipbench_executors() -> Iterable[ExecutorDeclaration]:
    """The executors that this plugin has. Called once; must import neither torch nor what the executor runs on."""
    raise AssertionError("a hook specification is never called")


@hookspec
def lipbench_formats() -> Iterable[Format]:
    """The formats of leaderboards that this plugin has. Called once; must not import torch."""
    raise AssertionError("a hook specification is never called")


@hookspec
def lipbench_run_started(run: Run) -> bool | None:
    """A run is about to compute its first cell. A run that finds everything recorded calls none of these three hooks.

    False says that the plugin wants to hear nothing more of this run.

    They are called in a thread that belongs to the plugin, one call after the other, and an implementation may leave out
    parameters. One that raises or does not return is named on stderr once and called no more; the run goes on without it.
    What it is given is its own copy.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def lipbench_record_written(run: Run, record: Record) -> None:
    """A record is on the disk; called for each, in their order."""
    raise AssertionError("a hook specification is never called")


@hookspec
def lipbench_run_finished(run: Run, end: RunEnd) -> None:
    """The run is over, for whichever reason but a kill."""
    raise AssertionError("a hook specification is never called")
