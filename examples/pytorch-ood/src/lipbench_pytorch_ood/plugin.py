# SPDX-License-Identifier: Apache-2.0
"""What the plugin declares; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import Component, hookimpl

lipbench_api = 1


@hookimpl
def lipbench_components() -> Iterable[Component]:
    """A task, the detectors that fill its role, and a metric."""
    package = "lipbench_pytorch_ood"
    yield Component(kind="task", name="ood", factory=f"{package}.task:OutOfDistribution", summary="score rows by a detector")
    yield Component(
        kind="method", name="pytorch_ood", factory=f"{package}.detectors:PytorchOod", summary="detectors of pytorch-ood"
    )
    yield Component(
        kind="metric", name="pytorch_ood_auroc", factory=f"{package}.metric:Auroc", summary="area under the ROC curve"
    )
