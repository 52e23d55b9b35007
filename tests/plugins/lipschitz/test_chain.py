# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from lipbench_lipschitz.chain import Activation, Chain, Dense, dense_chain, layers, rounding_slack
from torch import Tensor, nn

from lipbench.api import NotApplicable, NotFinite


class Units(nn.Module):
    """(x / 255 - mean) / std, as image networks begin."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x / 255 - self.mean) / self.std


class Functional(nn.Module):
    """The same kind of network written with functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(x.size(0), -1)
        x = F.leaky_relu(self.first(x), 0.2)
        x = F.dropout(x, 0.5, self.training)
        return torch.tanh(-F.linear(x, self.second.weight, self.second.bias))


def _image_network() -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    norm.weight.data.normal_()
    return nn.Sequential(
        *(Units(), nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3, stride=2), norm, nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular", groups=2), nn.SiLU(), nn.Flatten(), nn.Dropout()),
        *(nn.Linear(16, 5), nn.Identity(), nn.Linear(5, 4, bias=False)),
    ).eval()


def _run(chain: Chain, x: Tensor) -> Tensor:
    h = x.flatten(1)
    for step in chain:
        if isinstance(step, Dense):
            h = h @ step.weight.mT + step.bias
        else:
            assert step.function is not None
            h = step.function(h)
    return h


@pytest.mark.parametrize(
    ("make", "shape", "kinds"),
    [
        (_image_network, (3, 8, 8), ["dense", "gelu", "dense", "silu", "dense"]),
        (Functional, (2, 3), ["dense", "leaky_relu", "dense", "tanh"]),
        (lambda: nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU6()), (4,), ["dense", "relu", "dense", "relu", "dense", "relu6"]),
        (lambda: nn.Flatten(), (2, 2), ["dense"]),
    ],
)
def test_chain_computes_what_the_network_computes(make: object, shape: tuple[int, ...], kinds: list[str]) -> None:
    torch.manual_seed(1)
    module = make().eval().requires_grad_(False)  # type: ignore[operator]
    chain = dense_chain(module, shape)
    x = torch.randn((7, *shape), dtype=torch.float64) * 50
    assert [s.name if isinstance(s, Activation) else "dense" for s in chain] == kinds
    assert torch.allclose(_run(chain, x), module.double()(x).flatten(1), rtol=1e-10, atol=1e-10)
    assert all(s.weight.dtype == torch.float64 for s in chain if isinstance(s, Dense))


def test_stored_matrices_are_exact_and_merged_ones_carry_a_small_error() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).requires_grad_(False)
    chain = dense_chain(plain, (6,))
    assert rounding_slack(chain) == 0.0
    assert isinstance(chain[0], Dense)
    assert torch.equal(chain[0].weight, plain[1].weight.double())
    merged = dense_chain(_image_network(), (3, 8, 8))
    errors = [s.rounding for s in merged if isinstance(s, Dense)]
    assert all(0 < e < 1e-10 for e in errors)
    assert 0 < rounding_slack(merged) < 1e-9


def test_error_of_a_merged_matrix_covers_the_true_one() -> None:
    scale = 1 / 3.0
    network = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)).requires_grad_(False)
    for layer in network:
        layer.weight.fill_(scale)
    (step,) = dense_chain(network, (3,))
    assert isinstance(step, Dense)
    w = int(float(network[0].weight[0, 0]) * 2**40)  # exact: a float32 times a power of two
    exact = 3 * w * w  # times 2^-80
    error = abs(int(float(step.weight[0, 0]) * 2**100) - exact * 2**20) / 2**100
    assert error * 3 <= step.rounding  # nine equal entries: Frobenius norm 3 * error


def test_layers_appends_an_identity_after_a_last_activation() -> None:
    dense, activations = layers(dense_chain(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), (3,)))
    assert len(dense) == 2
    assert len(activations) == 1
    assert torch.equal(dense[1].weight, torch.eye(2, dtype=torch.float64))


class Residual(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(x)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Residual(), "spectral_product"),
        (nn.Sequential(nn.Linear(4, 4), nn.Softmax(1)), "plain chain"),
        (Branching(), "cannot be read"),
        (nn.GRUCell(4, 4), "GRUCell|cannot be read|input"),
    ],
)
def test_other_networks_are_refused(module: nn.Module, words: str) -> None:
    with pytest.raises(NotApplicable, match=words):
        dense_chain(module, (4,))


def test_too_large_matrices_are_refused() -> None:
    with pytest.raises(NotApplicable, match="exceeds the limit of 10"):
        dense_chain(nn.Linear(4, 3), (4,), max_entries=10)
    with pytest.raises(NotApplicable, match="exceeds"):
        dense_chain(nn.Conv2d(3, 8, 3), (3, 64, 64))


def test_broken_weights_are_named() -> None:
    network = nn.Linear(2, 2)
    network.weight.data[0, 0] = float("nan")
    with pytest.raises(NotFinite, match="NaN"):
        dense_chain(network, (2,))


def test_wide_flat_input_needs_no_identity() -> None:
    chain = dense_chain(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2)), (3, 64, 64))
    assert isinstance(chain[0], Dense)
    assert chain[0].weight.shape == (2, 3 * 64 * 64)


def test_the_network_is_left_as_it_was() -> None:
    network = _image_network().train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    dense_chain(network, (3, 8, 8))
    assert network.training
    assert all(torch.equal(v, before[k]) and v.dtype == before[k].dtype for k, v in network.state_dict().items())
