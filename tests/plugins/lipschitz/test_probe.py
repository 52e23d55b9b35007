# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from lipbench_lipschitz.probe import Probe, duplicate
from lipbench_lipschitz.spectral import jacobians
from torch import Tensor, nn

from lipbench.api import NotFinite

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


class Written(nn.Module):
    """Writes into its input by a method; of its layers, one value is read again after it was overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.relu = nn.Linear(4, 4), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x.mul_(2.0))
        return self.relu(h) + h


def _chain() -> nn.Module:
    return nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 5), nn.ELU(inplace=True), nn.Linear(5, 3))


def _image() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(2, 6, 3), nn.SiLU(), nn.Conv2d(6, 6, 3, groups=6), nn.BatchNorm2d(6), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(24, 3), nn.Softmax(1)),
    )


NETWORKS = {"chain": (_chain, (4,)), "written": (Written, (4,)), "image": (_image, (2, 8, 8))}


def _made(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    return make().eval(), shape


def _inputs(shape: tuple[int, ...], count: int = 9) -> tuple[Tensor, Tensor]:
    x, u = torch.randn((2, count, *shape), generator=torch.Generator().manual_seed(1))
    return x, u


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_product_with_a_direction_is_the_jacobian_times_it(name: str, dtype: torch.dtype) -> None:
    module, shape = _made(name)
    probe = Probe(module, shape, dtype)
    probe.chunk = 4
    x, u = (t.to(dtype) for t in _inputs(shape))
    value, product = probe.jvp(x, u)
    assert probe.meter.forwards == 2 * len(x)
    assert probe.meter.backwards == 0
    assert not value.requires_grad
    assert not product.requires_grad
    exact = Probe(module, shape, torch.float64)
    J = jacobians(exact, x.double())
    expected = torch.einsum("bmn,bn->bm", J, u.double().flatten(1))
    slack = {torch.float16: 1e-2, torch.bfloat16: 8e-2, torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    assert torch.allclose(value.double(), exact(x.double()), rtol=slack, atol=slack)
    assert torch.allclose(product.double(), expected, rtol=slack, atol=2 * slack)


def test_product_is_the_same_inside_inference_mode() -> None:
    module, shape = _made("image")
    probe = Probe(module, shape, torch.float32)
    x, u = _inputs(shape)
    outside = probe.jvp(x, u)
    with torch.inference_mode():
        x, u = x.clone(), u.clone()
        inside = probe.jvp(x, u)
    assert all(torch.equal(a, b) for a, b in zip(inside, outside, strict=True))


def test_both_products_agree() -> None:
    module, shape = _made("image")
    probe = Probe(module, shape, torch.float64)
    x, u = (t.double() for t in _inputs(shape))
    v = torch.randn(len(x), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    left, right = (probe.jvp(x, u)[1] * v).sum(1), (u * probe.vjp(x, v)).flatten(1).sum(1)
    assert torch.allclose(left, right, rtol=1e-10, atol=1e-12)


def test_output_that_does_not_depend_on_the_input_has_no_slope() -> None:
    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach() * 2

    class Affine(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x + 1

    x, u = _inputs((4,))
    assert not Probe(Detached(), (4,), torch.float32).jvp(x, u)[1].any()
    assert torch.equal(Probe(Affine(), (4,), torch.float32).jvp(x, u)[1], 2 * u)


def test_product_that_is_not_finite_is_named() -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp_min(0.0).sqrt()

    x = torch.ones(3, 2)
    x[1] = 0.0
    with pytest.raises(NotFinite, match="input row 1 of 3"):
        Probe(Root(), (2,), torch.float32).jvp(x, torch.ones(3, 2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_input_is_overwritten_and_the_function_stays(name: str, dtype: torch.dtype) -> None:
    module, shape = _made(name)
    before = copy.deepcopy(module)
    probe = Probe(module, shape, dtype)
    x, u = (t.to(dtype) for t in _inputs(shape))
    kept = x.clone()
    value = probe(x)
    probe.jvp(x, u)
    probe.vjp(x, value)
    jacobians(probe, x)
    assert torch.equal(x, kept)
    plain = copy.deepcopy(before).to(dtype)
    assert torch.allclose(value, plain(kept.clone()).detach().flatten(1), rtol=1e-2, atol=1e-2)
    assert getattr(module.get_submodule("relu" if name == "written" else "0"), "inplace", True)


def test_plain_chains_stay_plain() -> None:
    module, shape = _made("chain")
    assert type(Probe(module, shape, torch.float32).module) is nn.Sequential


def test_copy_of_a_network_that_keeps_results_with_gradient() -> None:
    class Keeper(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            self.last = F.linear(input, self.weight, self.bias)
            return self.last

    module = Keeper(3, 2)
    module(torch.ones(1, 3))
    copied = duplicate(module)
    assert torch.equal(copied.last, module.last)
    assert not copied.last.requires_grad
    assert copied.weight is not module.weight
    assert Probe(module, (3,), torch.float64)(torch.ones(1, 3)).shape == (1, 2)
