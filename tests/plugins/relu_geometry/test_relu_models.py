# SPDX-License-Identifier: Apache-2.0
"""Models of the suite: oracles, replicas trained together, and state dicts of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lipbench_relu_geometry.data import Quadratic
from lipbench_relu_geometry.engine.enumerate import enumerate_cells
from lipbench_relu_geometry.models.base import nets_of
from lipbench_relu_geometry.models.oracle import ReluOracle
from lipbench_relu_geometry.models.replicas import ReluReplicas
from lipbench_relu_geometry.models.saved import ReluSaved
from relu_nets import hexagon, normal_net, torch_net, without_biases
from torch import nn

from lipbench.api import Context, DataSpec, InvalidInput

CTX = Context(scope="test", seed=0)
PLANE = DataSpec(shape=(2,), low=-1.0, high=1.0, classes=2)


@pytest.mark.parametrize(
    ("oracle", "same"),
    [
        (ReluOracle(kind="normal", sizes=(2, 5, 5, 1), draw=8), normal_net((2, 5, 5, 1), 8)),
        (ReluOracle(kind="torch", sizes=(2, 10, 10, 1)), torch_net((2, 10, 10, 1), 0)),
        (ReluOracle(kind="no_biases"), without_biases()),
        (ReluOracle(kind="hexagon"), hexagon(0.02, 0.59)),
    ],
    ids=["normal", "torch", "no biases", "hexagon"],
)
def test_oracles_are_the_networks_of_their_recipes(oracle: ReluOracle, same: object) -> None:
    oracle.build(PLANE, CTX)
    for mine, theirs in zip(oracle.nets[0].weights, same.weights, strict=True):  # type: ignore[attr-defined]
        np.testing.assert_array_equal(mine, theirs)


def test_an_oracle_says_where_the_data_does_not_fit() -> None:
    with pytest.raises(InvalidInput, match="has 3 inputs"):
        ReluOracle(sizes=(3, 4, 1)).build(PLANE, CTX)


def test_replicas_learn_together_and_their_state_brings_them_back() -> None:
    data = Quadratic(count=400)
    model = ReluReplicas(hidden=(8, 8), replicas=6, epochs=40, batch_size=64, snapshots=3)
    model.build(data.spec(), CTX)
    before = model.nets
    model.fit(data, CTX)
    assert len(model.nets) == 6
    variance = data.value(data.split("train", CTX).inputs.astype(float)).var()
    assert float(model.errors.median()) < variance / 4
    assert any((a.weights[0] != b.weights[0]).any() for a, b in zip(before, model.nets, strict=True))
    assert [epoch for epoch, _ in model.past()] == [0, 1, 6, 40]
    again = ReluReplicas(hidden=(8, 8), replicas=6, epochs=40, batch_size=64, snapshots=3)
    again.build(data.spec(), CTX)
    again.load_state(model.state())
    for a, b in zip(model.nets, again.nets, strict=True):
        np.testing.assert_array_equal(a.weights[1], b.weights[1])
    np.testing.assert_array_equal(model.past()[1][1][2].weights[1], again.past()[1][1][2].weights[1])
    assert len({len(enumerate_cells(n)) for n in model.nets}) > 1


def test_replicas_are_the_same_on_every_run() -> None:
    data, found = Quadratic(count=100), []
    for _ in range(2):
        model = ReluReplicas(hidden=(4,), replicas=3, epochs=3)
        model.build(data.spec(), CTX)
        model.fit(data, CTX)
        found.append(model.state())
    assert all(torch.equal(found[0][k], found[1][k]) for k in found[0])


def test_a_plain_state_dict_loads_by_the_names_of_its_layers(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l1, self.l2, self.l3 = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.l3(self.l2(self.l1(x).relu()).relu())

    net, x = Net().eval(), torch.rand((10, 4))
    torch.save(net.state_dict(), tmp_path / "net.pt")
    model = ReluSaved(weights=str(tmp_path / "net.pt"), layers=("l1", "l2", "l3"))
    assert model.files() == [tmp_path / "net.pt"]
    model.build(DataSpec(shape=(2, 2), low=0.0, high=1.0, classes=2), CTX)
    np.testing.assert_allclose(nets_of(model, 4)[0](x.double().numpy()), net.double()(x.double()).detach().numpy(), atol=1e-12)
    torch.nn.init.normal_(net.double().l1.weight)  # numbers that no float32 has
    torch.save(net.state_dict(), tmp_path / "fine.pt")
    fine = ReluSaved(weights=str(tmp_path / "fine.pt"), layers=("l1", "l2", "l3"))
    fine.build(DataSpec(shape=(2, 2), low=0.0, high=1.0, classes=2), CTX)
    np.testing.assert_array_equal(nets_of(fine, 4)[0].weights[0], net.l1.weight.detach().numpy())
    assert fine.module(x.reshape(-1, 2, 2)).dtype == torch.float64
    with pytest.raises(InvalidInput, match=r"no matrix fc1.weight; layers in it: l1, l2, l3"):
        ReluSaved(weights=str(tmp_path / "net.pt"), layers=("fc1",)).build(PLANE, CTX)
    with pytest.raises(InvalidInput, match="takes 4 numbers, but 2 arrive"):
        ReluSaved(weights=str(tmp_path / "net.pt"), layers=("l1", "l2")).build(PLANE, CTX)
    with pytest.raises(InvalidInput, match="there is no file"):
        ReluSaved(weights="nowhere.pt", layers=("l1",)).files()
