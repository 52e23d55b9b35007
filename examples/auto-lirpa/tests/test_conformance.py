# SPDX-License-Identifier: Apache-2.0
"""The components keep the contract of their kinds."""

import sys

import numpy as np
import pytest
import torch
from lipbench_auto_lirpa.metric import Width
from lipbench_auto_lirpa.task import OnBoxes

from lipbench.api import Context, NotApplicable
from lipbench.testing import check_metric, check_task

ROLES = {"network": {"use": "mlp", "hidden": [8], "epochs": 1}, "data": "two_moons"}


def boxes(radius):
    module = torch.nn.Linear(2, 3).requires_grad_(False)
    module.bias.zero_()
    module.weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]]))
    return OnBoxes(module, np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32), radius)


@pytest.mark.parametrize("method", ["IBP", "CROWN"])
def test_the_bounds_of_a_linear_map_are_exact(method):
    value = Width(method=method).compute(boxes(0.25), Context(scope="test"))
    assert value.value == pytest.approx(2 * 0.25 * (3 + 0.5 + 4) / 3, rel=1e-5)


def test_task():
    check_task("boxes", roles=ROLES, metrics=["lirpa_width", {"use": "lirpa_width", "method": "IBP", "as": "interval"}])


def test_metric():
    check_metric("lirpa_width", evidence=lambda: boxes(0.25), better=lambda: boxes(0.125), unit="output")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "auto_LiRPA", None)
    with pytest.raises(NotApplicable, match="install a version that fits your torch"):
        Width().compute(boxes(0.25), Context(scope="test"))
