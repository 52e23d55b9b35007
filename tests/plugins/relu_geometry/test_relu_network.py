# SPDX-License-Identifier: Apache-2.0
"""Reading networks, bit vectors, and the affine maps of cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lipbench_relu_geometry.engine.network import net_of, read
from relu_nets import normal_net
from torch import nn

from lipbench.api import InvalidInput, NotApplicable, NotFinite


def _module() -> nn.Sequential:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(7)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    inner = nn.Sequential(nn.Linear(6, 7), norm, nn.ReLU())
    return nn.Sequential(nn.Flatten(), inner, nn.Dropout(0.5), nn.Linear(7, 5, bias=False), nn.ReLU(), nn.Linear(5, 2)).eval()


def test_a_sequential_is_read_with_its_batch_normalisation_folded() -> None:
    module = _module()
    x = torch.randn((40, 2, 3))
    net = read(module, 6)
    assert net.widths == (7, 5)
    with torch.inference_mode():
        expected = module.double()(x.double()).numpy()
    np.testing.assert_allclose(net(x.double().flatten(1).numpy()), expected, atol=1e-12)


def test_the_bits_are_those_of_the_units_and_zero_is_off() -> None:
    net = net_of([(np.array([[1.0], [-1.0], [0.0]]), np.array([0.0, 0.0, 1.0])), (np.ones((1, 3)), np.zeros(1))])
    assert net.bits(np.array([[0.0], [2.0]])).tolist() == [[0, 0, 1], [1, 0, 1]]


def test_a_cell_contains_its_points_and_its_map_is_the_network() -> None:
    net = normal_net((6, 9, 9, 9, 4), 0)
    x = np.random.default_rng(1).standard_normal((1000, 6))
    cell = net.cells(net.bits(x))
    inside = (cell.rows @ x[:, :, None])[:, :, 0] - cell.bounds
    assert inside.max() <= 1e-12
    assert np.abs((cell.slope @ x[:, :, None])[:, :, 0] + cell.offset - net(x)).max() <= 1e-12


def test_a_plane_through_a_network_is_the_network_there() -> None:
    net, r = normal_net((6, 9, 4), 0), np.random.default_rng(2)
    origin, ways, t = r.standard_normal(6), r.standard_normal((2, 6)), r.standard_normal((20, 2))
    np.testing.assert_allclose(net.on_plane(origin, ways)(t), net(origin + t @ ways), atol=1e-12)


def test_a_relu_at_the_end_and_two_in_a_row_are_read() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.ReLU(), nn.Linear(4, 2), nn.ReLU()).double()
    net, x = read(module, 3), torch.randn((30, 3), dtype=torch.float64)
    assert net.widths == (4, 2)
    np.testing.assert_allclose(net(x.numpy()), module(x).detach().numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 1)), "GELU is not read here"),
        (nn.Sequential(nn.Conv1d(1, 1, 1)), "Conv1d is not read here"),
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), "eval()"),
        (nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)), "eval()"),
    ],
    ids=["gelu", "convolution", "training batch norm", "training dropout"],
)
def test_what_is_not_piecewise_affine_is_refused_in_a_sentence(module: nn.Module, words: str) -> None:
    with pytest.raises(NotApplicable, match=words.replace("(", r"\(").replace(")", r"\)")):
        read(module, 3)


class _Residual(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


class _Squared(nn.ReLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) ** 2


class _Named(nn.Linear):
    """Computes what its base does."""


def test_a_subclass_is_read_only_where_it_computes_what_its_base_does() -> None:
    for part in (_Residual(nn.Linear(3, 3)), _Squared(), nn.Sequential(nn.Linear(3, 3), _Squared())):
        with pytest.raises(NotApplicable, match="is not read here"):
            read(nn.Sequential(part, nn.Linear(3, 1)), 3)
    mine, x = nn.Sequential(_Named(3, 2)).double(), torch.randn((5, 3), dtype=torch.float64)
    np.testing.assert_allclose(read(mine, 3)(x.numpy()), mine(x).detach().numpy(), atol=1e-12)


def test_shapes_and_values_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidInput, match="takes 3 numbers"):
        read(nn.Sequential(nn.Linear(3, 4)), 5)
    with pytest.raises(InvalidInput, match="layer 2"):
        net_of([(np.ones((2, 2)), np.ones(2)), (np.ones((1, 3)), np.ones(1))])
    with pytest.raises(NotFinite, match="layer 1"):
        net_of([(np.full((2, 2), np.nan), np.ones(2))])
