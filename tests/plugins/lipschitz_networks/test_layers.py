# SPDX-License-Identifier: Apache-2.0
"""Layers: gradients kept, constants of pooling, export, the bound."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lip_cases import context
from lipbench_lipschitz_networks.layers import (
    L2NormPool2d,
    activation,
    dense,
    layer_norm,
    plain,
    product_bound,
    seeded,
    torchlip,
)
from lipbench_lipschitz_networks.metrics.steepness import jacobian_norms
from lipbench_lipschitz_networks.models.conv import LipConv
from lipbench_lipschitz_networks.models.mlp import LipMLP
from lipbench_lipschitz_networks.models.single import LipLayer
from torch import nn
from torch.func import jacrev

from lipbench.api import DataSpec, InvalidInput


@pytest.mark.parametrize("name", ["fullsort", "groupsort2", "crelu"])
def test_sorting_keeps_norms_and_gradients(name: str) -> None:
    x = torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    act = activation(name)
    J = jacrev(lambda v: act(v[None])[0])(x)
    assert torch.equal(J.mT @ J, torch.eye(6, dtype=torch.float64))
    assert torch.allclose(act(x[None]).norm(), x.norm())


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6), st.permutations(range(6)))
@settings(max_examples=30, deadline=None)
def test_a_full_sort_forgets_the_order_and_is_idempotent(values: list[float], order: list[int]) -> None:
    x = torch.tensor([values])
    act = activation("fullsort")
    assert torch.equal(act(x), act(x[:, order]))
    assert torch.equal(act(act(x)), act(x))


def test_crelu_is_max_and_min_against_zero() -> None:
    assert activation("crelu")(torch.tensor([[1.0, -2.0]])).tolist() == [[1, 0, 0, 2]]


SOME = {
    "avg": 0.5,
    "scaled_avg": 1.0,
    "max": 1.0,
    "l2norm": 1.0,
    "global_avg": 1 / 6,
    "scaled_global_avg": 1.0,
    "flatten": 1.0,
    "relu": 1.0,
}


@pytest.mark.parametrize(("of", "constant"), SOME.items())
def test_constants_of_layers(of: str, constant: float) -> None:
    module = LipLayer(of=of).make(DataSpec(shape=(1, 6, 6), low=-1, high=1), context())
    assert product_bound(module, (1, 6, 6))[0] == pytest.approx(constant)
    x = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    outputs = module(x.float()).shape[1]
    assert float(jacobian_norms(module.double(), x, outputs).max()) == pytest.approx(constant, abs=1e-6)


@pytest.mark.parametrize(("window", "stride", "constant"), [(2, 1, 2), (3, 1, 3), (3, 2, 2), (3, 3, 1)])
def test_overlapping_max_pooling(window: int, stride: int, constant: float) -> None:
    module = LipLayer(of="max", window=window, stride=stride).make(DataSpec(shape=(1, 9, 9), low=0, high=1), context())
    assert product_bound(module, (1, 9, 9))[0] == constant
    peak = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    peak[..., 4, 4] = 1  # all windows that see it copy it
    f = module.double()
    reached = float((f(peak) - f(0 * peak)).norm())
    assert reached <= constant + 1e-12
    assert reached == constant or stride == 2 or window == 3


def test_l2_pooling_is_that_of_deel_torchlip_and_has_a_gradient_at_zero() -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(L2NormPool2d(2)(x), torchlip().ScaledL2NormPool2d(2)(x), atol=1e-5)
    zero = torch.zeros(1, 1, 2, 2, requires_grad=True)
    L2NormPool2d(2)(zero).sum().backward()
    assert zero.grad is not None
    assert bool(zero.grad.isfinite().all())


def test_frobenius_is_spectral_for_one_output_and_looser_for_several() -> None:
    with seeded(context()):
        one, several = (dense(9, n, "frobenius", bias=True, k=1.0, niter=(3, 15)) for n in (1, 4))
    for layer, least in ((one, 1.0), (several, 0.5)):
        norm = layer_norm(plain(nn.Sequential(layer))[0], (9,))
        assert least - 1e-6 <= norm <= 1 + 1e-6
    assert float(torch.linalg.matrix_norm(one.weight.detach(), 2)) == pytest.approx(1)


@pytest.mark.parametrize("norm", ["bjorck", "torchlip"])
def test_each_layer_has_its_share_of_k(norm: str) -> None:
    network = LipMLP(hidden=(6, 6), norm=norm, k=0.5)
    network.build(DataSpec(shape=(4,), low=0, high=1), context())
    bound, factors = product_bound(network.module, (4,))
    assert bound == pytest.approx(0.5, rel=1e-5)
    assert [f for _, f in factors] == pytest.approx([0.5 ** (1 / 3)] * 3, rel=1e-5)


def test_parameters_are_those_that_the_source_prints() -> None:
    for inputs, hidden, learned in ((4096, (128, 64, 32), 534785), (2, (256, 128, 64), 41985), (784, (128, 64, 32), 110849)):
        widths = (inputs, *hidden, 1)
        layers = [dense(a, b, "none", bias=True, k=1.0, niter=(3, 15)) for a, b in itertools.pairwise(widths)]
        assert sum(p.numel() for m in layers for p in m.parameters()) == learned


def test_exporting_keeps_the_function_and_can_be_repeated() -> None:
    network = LipConv(channels=(4, 4), hidden=(6,), norm="bjorck", conv_bound="deel")
    network.build(DataSpec(shape=(1, 8, 8), low=0, high=1, classes=10), context())
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    once = network.constrained(x)
    assert float((network.module(x) - once).abs().max().detach()) < 1e-6
    assert torch.equal(plain(network.module)(x), network.module(x))
    assert {type(m).__name__ for m in network.module} == {"Conv2d", "GroupSort2", "L2NormPool2d", "Flatten", "Linear"}


def test_the_scale_of_inputs_counts() -> None:
    network = LipConv(channels=(4,), hidden=(), mean=0.1, std=0.25, norm="torchlip")
    network.build(DataSpec(shape=(1, 4, 4), low=0, high=1, classes=3), context())
    bound, factors = product_bound(network.module, (1, 4, 4))
    assert factors[0] == ("Rescale", 4.0)
    assert bound <= 4 + 1e-4


def test_layers_of_deel_torchlip_have_no_other_bound() -> None:
    with pytest.raises(InvalidInput, match="norm: bjorck"):
        LipConv(norm="torchlip", conv_bound="deel")


def test_images_must_be_halved() -> None:
    with pytest.raises(InvalidInput, match="multiples of 4"):
        LipConv(channels=(4, 4)).build(DataSpec(shape=(1, 6, 6), low=0, high=1, classes=2), context())


def test_the_bound_is_never_below_a_measured_gradient() -> None:
    network = LipMLP(hidden=(8, 8), norm="none", act="crelu")
    network.build(DataSpec(shape=(3,), low=0, high=1), context())
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bound = product_bound(network.module, (3,))[0]
    norms = jacobian_norms(network.module.double(), x, 1)
    assert math.isfinite(bound)
    assert float(norms.max()) <= bound
