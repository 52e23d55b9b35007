# SPDX-License-Identifier: Apache-2.0
"""What the core declares by the hooks that plugins use."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

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
