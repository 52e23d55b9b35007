# SPDX-License-Identifier: Apache-2.0
"""The contract between the core and its plugins, in full."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from lipbench.contract.components import Component, Report
from lipbench.contract.execution import ExecutorDeclaration

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
