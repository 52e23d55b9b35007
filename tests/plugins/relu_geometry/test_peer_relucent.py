# SPDX-License-Identifier: Apache-2.0
"""The same sets of cells as the library relucent, which shares no code and no solver with this one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lipbench_relu_geometry.engine.enumerate import enumerate_cells
from lipbench_relu_geometry.engine.network import ReluNet
from relu_nets import keys, normal_net, torch_net
from torch import nn

relucent = pytest.importorskip("relucent")


def module(net: ReluNet) -> nn.Sequential:
    """The network as torch knows it, in float64."""
    layers: list[nn.Module] = []
    for w, b in zip(net.weights, net.biases, strict=True):
        layer = nn.Linear(w.shape[1], w.shape[0]).double()
        layer.weight.data, layer.bias.data = torch.from_numpy(w.copy()), torch.from_numpy(b.copy())
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "net",
    [torch_net((2, 10, 10, 1), 0), torch_net((3, 6, 6, 1), 1), normal_net((4, 5, 5, 1), 6), normal_net((5, 6, 4, 1), 0)],
    ids=["203", "230", "232", "five inputs"],
)
def test_the_peer_finds_the_same_cells(net: ReluNet) -> None:
    peer = relucent.Complex(module(net))
    peer.bfs(nworkers=1, verbose=0)
    theirs = np.array([np.asarray(p.ss_np).ravel() > 0 for p in peer])
    assert keys(theirs) == keys(enumerate_cells(net).bits())
