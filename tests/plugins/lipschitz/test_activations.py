# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from lipbench_lipschitz.activations import (
    activation_of,
    activation_of_module,
    layer_norm_gain,
    log_softmax_gain,
    softmax_gain,
    sorting_gain,
)
from torch import Tensor, nn
from torch.func import grad, jacrev, vmap

from lipbench.api import NotApplicable

MODULES = [
    *(nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.LeakyReLU(-0.5), nn.PReLU(init=1.5), nn.ELU(), nn.ELU(2.0), nn.CELU(0.7)),
    *(nn.SELU(), nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish(), nn.Tanh(), nn.Sigmoid(), nn.LogSigmoid()),
    *(nn.Softplus(beta=3), nn.Softsign(), nn.Softshrink(), nn.Tanhshrink(), nn.Hardtanh(-2, 1)),
    *(nn.Hardsigmoid(), nn.Hardswish()),
]


@pytest.mark.parametrize("module", MODULES, ids=repr)
def test_slope_interval_holds_all_slopes_and_is_tight(module: nn.Module) -> None:
    found = activation_of_module(module)
    assert found is not None
    far, near = torch.tensor([-500.0, 500.0]), torch.linspace(-1e-3, 1e-3, 10_001)
    x = torch.cat([torch.linspace(-9, 9, 200_001), far, near]).double()
    module = module.double().requires_grad_(False)

    def value(t: Tensor) -> Tensor:
        return module(t.reshape(1)).sum()

    slopes = vmap(grad(value))(x)
    assert found.low - 1e-12 <= float(slopes.min()) <= found.low + 1e-3
    assert found.high - 1e-3 <= float(slopes.max()) <= found.high + 1e-7  # torch keeps 1/6 and 1/alpha in float32
    assert found.lipschitz == max(abs(found.low), abs(found.high))


@pytest.mark.parametrize(
    ("name", "arguments", "constant"),
    [
        ("relu", {}, 1.0),
        ("tanh", {}, 1.0),
        ("elu", {}, 1.0),
        ("softplus", {}, 1.0),
        ("sigmoid", {}, 0.25),
        ("gelu", {}, 1.128904),
        ("gelu", {"approximate": "tanh"}, 1.128993),
        ("silu", {}, 1.099839),
        ("mish", {}, 1.088498),
        ("hardswish", {}, 1.5),
        ("selu", {}, 1.758099),
    ],
)
def test_published_constants(name: str, arguments: dict[str, str], constant: float) -> None:
    found = activation_of(name, **arguments)
    assert found is not None
    assert found.lipschitz == pytest.approx(constant, abs=1e-6)


def test_gelu_constant_is_reached_at_root_two() -> None:
    slope = grad(F.gelu)(torch.tensor(math.sqrt(2), dtype=torch.float64))
    found = activation_of("gelu")
    assert found is not None
    assert 0 <= found.high - float(slope) < 1e-9


def test_in_place_name_and_positional_parameter() -> None:
    found = activation_of("leaky_relu_", 0.3)
    assert found is not None
    assert (found.name, found.low, found.high) == ("leaky_relu", 0.3, 1.0)


def test_unknown_function_is_none() -> None:
    assert activation_of("hardshrink") is None
    assert activation_of_module(nn.Linear(2, 2)) is None


class Overridden(nn.ReLU):
    def forward(self, input: Tensor) -> Tensor:
        return 5 * input


def test_subclass_with_its_own_forward_is_not_mistaken() -> None:
    assert activation_of_module(Overridden()) is None


def test_unbounded_celu_is_refused() -> None:
    with pytest.raises(NotApplicable, match="unbounded"):
        activation_of("celu", -1.0)


@pytest.mark.parametrize("threshold", [1.0, 19.0])
def test_softplus_that_jumps_early_is_refused(threshold: float) -> None:
    with pytest.raises(NotApplicable, match="jumps"):
        activation_of_module(nn.Softplus(threshold=threshold))
    with pytest.raises(NotApplicable, match="jumps"):
        activation_of("softplus", 1.0, threshold)
    assert activation_of("softplus", threshold=30.0) is not None


def test_module_with_a_forward_of_its_own_is_not_mistaken() -> None:
    module = nn.ReLU()
    module.forward = lambda x: 5 * x  # type: ignore[method-assign]
    assert activation_of_module(module) is None


def _norm(J: Tensor, order: str) -> float:
    return float(torch.linalg.matrix_norm(J, {"l2": 2, "l1": 1, "linf": math.inf}[order]).max())


@pytest.mark.parametrize("order", ["l1", "l2", "linf"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_softmax_constants_bound_random_jacobians(order: str, size: int) -> None:
    x = torch.randn((500, size), generator=torch.Generator().manual_seed(0)).double() * 4
    pairs: list[tuple[Callable[[Tensor], Tensor], float]] = [
        (lambda t: F.softmax(t, 0), softmax_gain(order)),
        (lambda t: F.log_softmax(t, 0), log_softmax_gain(size, order)),
    ]
    for function, constant in pairs:
        found = _norm(vmap(jacrev(function))(x), order)
        assert found <= constant + 1e-9
        assert size == 1 or found > 0.9 * constant


def test_layer_norm_constant_is_reached_at_constant_inputs() -> None:
    weight = torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64)
    x = torch.full((3,), 0.7, dtype=torch.float64)
    J = jacrev(lambda t: F.layer_norm(t, (3,), weight, None, 1e-3))(x)
    bound = layer_norm_gain(weight, 1e-3, "l2")
    assert 0.5 * bound < _norm(J, "l2") <= bound
    with pytest.raises(NotApplicable, match="l2 only"):
        layer_norm_gain(weight, 1e-3, "linf")


def test_sorting_activation_is_one_lipschitz() -> None:
    torchlip = pytest.importorskip("deel.torchlip")
    assert sorting_gain(torchlip.GroupSort2()) == 1.0
    assert sorting_gain(torchlip.MaxMin()) == 1.0
    assert sorting_gain(nn.ReLU()) is None
