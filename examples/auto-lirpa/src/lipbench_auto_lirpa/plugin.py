# SPDX-License-Identifier: Apache-2.0
"""What the plugin declares; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import Component, hookimpl

lipbench_api = 1


@hookimpl
def lipbench_components() -> Iterable[Component]:
    """A task, and a metric with the bounds."""
    package = "lipbench_auto_lirpa"
    yield Component(kind="task", name="boxes", factory=f"{package}.task:Boxes", summary="a network on boxes around points")
    yield Component(kind="metric", name="lirpa_width", factory=f"{package}.metric:Width", summary="width of certified bounds")
