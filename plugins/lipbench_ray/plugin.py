# SPDX-License-Identifier: Apache-2.0
"""What this plugin declares."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import ExecutorDeclaration, hookimpl


@hookimpl
def lipbench_executors() -> Iterable[ExecutorDeclaration]:
    """The executor that needs a Ray cluster, or starts one on this machine."""
    yield ExecutorDeclaration(
        name="ray",
        factory="lipbench_ray.executor:RayExecutor",
        summary="the machines of a Ray cluster; --address says which one",
    )
