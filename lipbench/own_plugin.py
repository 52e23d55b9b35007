# SPDX-License-Identifier: Apache-2.0
"""What the core declares by the hooks that plugins use."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from lipbench.contract.components import Format
from lipbench.contract.execution import ExecutorDeclaration

hookimpl = pluggy.HookimplMarker("lipbench")


@hookimpl
def lipbench_executors() -> Iterable[ExecutorDeclaration]:
    """The executor that needs nothing but this machine."""
    yield ExecutorDeclaration(
        name="local",
        factory="lipbench.execution.local:LocalExecutor",
        summary="processes on this machine, on its GPUs or cores",
    )


@hookimpl
def lipbench_formats() -> Iterable[Format]:
    """The formats that come with lipbench."""
    for name, module, summary in (
        ("text", "terminal", "plain text, as on a terminal"),
        ("md", "markdown", "Markdown as GitHub reads it"),
        ("csv", "csv_", "one row a line, numbers in full"),
        ("json", "json_", "for programs, numbers in full"),
        ("latex", "latex", "tables with booktabs rules for a paper"),
        ("html", "html", "one page that shows where every number comes from"),
    ):
        yield Format(name=name, factory=f"lipbench.leaderboard.render.{module}:render", summary=summary)
