# SPDX-License-Identifier: Apache-2.0
"""The conformance kit: does a component keep the contract of its kind? For the tests of plugins; see docs/testing.md."""

from lipbench.testing.datasets import check_dataset
from lipbench.testing.kit import Conformance, ConformanceError, Result
from lipbench.testing.methods import check_method
from lipbench.testing.metrics import check_metric
from lipbench.testing.models import check_model
from lipbench.testing.tasks import check_task, make_evidence

__all__ = [
    "Conformance",
    "ConformanceError",
    "Result",
    "check_dataset",
    "check_method",
    "check_metric",
    "check_model",
    "check_task",
    "make_evidence",
]
