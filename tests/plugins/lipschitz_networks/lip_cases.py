# SPDX-License-Identifier: Apache-2.0
"""Networks that are small enough for a test, made as a run makes them."""

from __future__ import annotations

from typing import Any

import torch
from lipbench_lipschitz_networks.models.mlp import LipMLP
from lipbench_lipschitz_networks.task import LipschitzNetwork, NetworkOnClasses

from lipbench.api import Context, Dataset, Network


def context(seed: int = 0) -> Context:
    return Context(scope="test", seed=seed)


def fitted(data: Dataset, **params: Any) -> LipMLP:
    """A network that was trained on the data, a few steps unless said otherwise."""
    network = LipMLP(**({"hidden": (16, 8), "norm": "bjorck", "steps": 40, "margin": 0.29} | params))
    network.build(data.spec(), context())
    network.fit(data, context())
    return network


def seen(network: Network, data: Dataset) -> NetworkOnClasses:
    """The evidence of the task."""
    task = LipschitzNetwork()
    return task.evidence(network, data, task.transported(data, context()), context())


def orthonormal_error(W: torch.Tensor) -> float:
    """How far the rows or columns of a matrix, whichever are fewer, are from orthonormal."""
    W = W.double()
    gram = W.mT @ W if W.shape[0] > W.shape[1] else W @ W.mT
    return float((gram - torch.eye(len(gram))).abs().max())
