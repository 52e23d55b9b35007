# SPDX-License-Identifier: Apache-2.0
"""The components keep the contract of their kinds."""

import sys

import numpy as np
import pytest
import torch
from lipbench_pytorch_ood.detectors import PytorchOod
from lipbench_pytorch_ood.task import Scores

from lipbench.api import NotApplicable
from lipbench.testing import check_method, check_metric, check_task

ROLES = {
    "network": {"use": "mlp", "hidden": [8], "epochs": 1},
    "data": "two_moons",
    "other": {"use": "uniform_noise", "shape": [2], "low": -3, "high": 3, "integers": False, "count": 32},
    "detector": "pytorch_ood",
}


@pytest.mark.parametrize("detector", ["EnergyBased", "MaxSoftmax"])
def test_detector(detector):
    network = torch.nn.Linear(2, 3).requires_grad_(False)
    rows = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
    check_method(
        "pytorch_ood",
        params={"detector": detector},
        inputs=lambda: rows.copy(),
        call=lambda method, given, ctx: method.scores(network, torch.from_numpy(given), 4),
    )


def test_energy_is_minus_the_log_of_the_sum_of_exponentials():
    logits = torch.tensor([[1.0, 2.0], [0.0, -3.0]])
    found = PytorchOod().scores(torch.nn.Identity(), logits, 1)
    np.testing.assert_allclose(found, -np.log(np.exp(logits.numpy()).sum(axis=1)), rtol=1e-6)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_ood", None)
    with pytest.raises(NotApplicable, match="pip install pytorch-ood"):
        PytorchOod().scores(torch.nn.Identity(), torch.zeros(1, 2), 1)


def test_task():
    check_task("ood", roles=ROLES, metrics=["pytorch_ood_auroc"])


def test_metric():
    inside = np.linspace(0, 1, 20, dtype=np.float32)
    check_metric(
        "pytorch_ood_auroc",
        evidence=lambda: Scores(inside.copy(), inside + 0.25),
        better=lambda: Scores(inside.copy(), inside + 0.5),
        bounds=(0, 1),
        unit="1",
    )
