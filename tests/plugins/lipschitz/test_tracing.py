# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from lipbench_lipschitz.chain import Dense, dense_chain
from lipbench_lipschitz.graph import network_bound
from lipbench_lipschitz.rounding import chain_of
from lipbench_lipschitz.tracing import has_hooks, read_network
from torch import Tensor, nn

from lipbench.api import NotApplicable

P = {"l2": 2.0, "l1": 1.0, "linf": float("inf")}


class Body(nn.Module):
    """Two linear layers and what a function makes of them."""

    def __init__(self, f: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.relu = nn.ReLU(inplace=True)
        self.register_buffer("wide", torch.full((100,), -5.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self, x)


def _add_in_place(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    out = h
    out += m.b(h)
    return out + h


def _multiply_in_place(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    return h.mul_(10.0) + h


def _activate_in_place(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    return m.b(m.relu(h)) + h


def _activate_unseen(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    F.relu(h, inplace=True)
    return h


def _through_a_view(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    h.view(-1, 2, 2).mul_(3.0)
    return m.b(h)


def _mixing_rows(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    return h - h.mean(0, keepdim=True)


def _network(f: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(0)
    return Body(f).eval().requires_grad_(False)


def _true_norm(module: nn.Module, shape: tuple[int, ...], order: str) -> float:
    """Largest ratio over random pairs in float64."""
    exact = copy.deepcopy(module).double()
    x, y = torch.randn((2, 200, *shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gap = (exact(x) - exact(y)).flatten(1).norm(P[order], dim=1)
    return float((gap / (x - y).flatten(1).norm(P[order], dim=1)).max())


@pytest.mark.parametrize(
    "f", [_add_in_place, _multiply_in_place, _activate_in_place, _activate_unseen, _through_a_view, _mixing_rows]
)
def test_changes_in_place_and_mixed_rows_are_refused(f: Callable[[Any, Tensor], Tensor]) -> None:
    with pytest.raises(NotApplicable, match="more than its trace shows"):
        read_network(_network(f), (4,))


def _harmless(m: Any, x: Tensor) -> Tensor:
    h = m.relu(m.a(x))
    h += m.b(h)
    return h


def _with_input_overwritten(m: Any, x: Tensor) -> Tensor:
    x = x.mul_(2.0)
    return m.relu(x).sub_(1.0)


@pytest.mark.parametrize("f", [_harmless, _with_input_overwritten])
@pytest.mark.parametrize("order", P)
def test_in_place_operations_whose_old_value_nobody_reads_are_read(f: Callable[[Any, Tensor], Tensor], order: str) -> None:
    module = _network(f)

    class Pure(nn.Module):  # the comparison must not overwrite its own points
        def forward(self, x: Tensor) -> Tensor:
            return module.double()(x.clone())

    bound, _ = network_bound(module, (4,), order)
    assert 0 < _true_norm(Pure(), (4,), order) <= bound


def _hooked(kind: str) -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)).eval().requires_grad_(False)
    if kind == "forward":
        module[1].register_forward_hook(lambda m, i, o: 10 * o)
    elif kind == "before":
        module[1].register_forward_pre_hook(lambda m, i: (i[0] + 1,))
    elif kind == "whole":
        module.register_forward_hook(lambda m, i, o: 10 * o)
    elif kind == "replaced":
        module[1].forward = lambda x: 10 * x
    elif kind == "dead":  # the change does not reach the output
        module[2].weight.zero_()
        module[1].register_forward_hook(lambda m, i, o: 10 * o)
    return module


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("forward", "layer 1 .ReLU."),
        ("before", "layer 1 .ReLU."),
        ("whole", "more than its trace"),
        ("replaced", "ReLU"),
        ("dead", "layer 1 .ReLU."),
    ],
)
def test_hooks_that_change_values_are_refused(kind: str, words: str) -> None:
    module = _hooked(kind)
    assert has_hooks(module)
    with pytest.raises(NotApplicable, match=words):
        read_network(module, (4,))
    assert chain_of(copy.deepcopy(module).double(), (4,)) is None


def test_hooks_on_every_module_are_seen() -> None:
    module = _hooked("none")
    assert not has_hooks(module)
    handle = nn.modules.module.register_module_forward_hook(lambda m, i, o: 2 * o if isinstance(m, nn.Linear) else None)
    try:
        assert has_hooks(module)
        with pytest.raises(NotApplicable, match=r"layer 0 .Linear."):
            read_network(module, (4,))
    finally:
        handle.remove()


def test_hooks_that_only_look_are_allowed_and_stay() -> None:
    module, seen = _hooked("none"), list[int]()
    plain, _ = network_bound(module, (4,), "l2")
    module[1].register_forward_hook(lambda m, i, o: seen.append(len(o)))
    assert network_bound(module, (4,), "l2")[0] == plain
    seen.clear()
    module(torch.zeros(5, 4))
    assert seen == [5]


def test_hooks_of_a_container_are_part_of_the_trace() -> None:
    module = nn.Sequential(nn.Sequential(nn.Linear(4, 4, bias=False))).requires_grad_(False)
    plain, _ = network_bound(module, (4,), "l2")
    module[0].register_forward_hook(lambda m, i, o: 10 * o)
    assert network_bound(module, (4,), "l2")[0] == pytest.approx(10 * plain)


def _old(name: str, *, grown: bool) -> nn.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch advises against both
        module = nn.Sequential(getattr(nn.utils, name)(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 2)).eval()
    if grown:
        module(torch.zeros(1, 4))  # leaves a weight that carries a gradient, which deepcopy refuses
    return module


@pytest.mark.parametrize("grown", [False, True])
@pytest.mark.parametrize("name", ["spectral_norm", "weight_norm"])
def test_weights_made_by_old_hooks_are_read_in_float64(name: str, grown: bool) -> None:
    module = _old(name, grown=grown)
    first = dense_chain(module, (4,))[0]
    assert isinstance(first, Dense)
    assert first.weight.dtype == torch.float64
    module(torch.zeros(1, 4))  # only a forward makes the weight
    assert torch.allclose(first.weight.float(), module[0].weight, rtol=1e-5)
    reference = _old(name, grown=False).requires_grad_(False).double()
    reference(torch.zeros(1, 4, dtype=torch.float64))
    assert torch.allclose(first.weight, reference[0].weight, rtol=1e-14)


@pytest.mark.parametrize("name", ["spectral_norm", "weight_norm", "orthogonal"])
def test_parametrized_weights_are_read(name: str) -> None:
    torch.manual_seed(0)
    layer = getattr(nn.utils.parametrizations, name)(nn.Linear(4, 4))
    first = dense_chain(nn.Sequential(layer, nn.ReLU()).eval(), (4,))[0]
    assert isinstance(first, Dense)
    assert torch.allclose(first.weight.float(), layer.eval().weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "f",
    [
        lambda m, x: m.b(m.a(x).half().to(x.dtype)),
        lambda m, x: m.b(m.a(x).to(torch.bfloat16).to(x.dtype)),
        lambda m, x: F.softmax(m.a(x), 1, dtype=torch.float16),
    ],
)
def test_rounding_below_float32_is_refused(f: Callable[[Any, Tensor], Tensor]) -> None:
    with pytest.raises(NotApplicable, match=r"rounds to b?float16"):
        read_network(_network(f), (4,))


@pytest.mark.parametrize(
    "f",
    [lambda m, x: m.b(m.a(x).to(x.dtype)), lambda m, x: m.b(m.a(x)).float(), lambda m, x: m.b(m.a(x)) * m.wide[:4].to(x.dtype)],
)
def test_casts_to_a_real_precision_are_read(f: Callable[[Any, Tensor], Tensor]) -> None:
    module = _network(f)
    assert 0 < _true_norm(module, (4,), "l2") <= network_bound(module, (4,), "l2")[0]


def test_network_that_does_not_run_in_float64_is_refused() -> None:
    with pytest.raises(NotApplicable, match="float64"):
        read_network(_network(lambda m, x: m.a(x.float())), (4,))


@pytest.mark.parametrize(
    "f",
    [
        lambda m, x: x[:, :1].clamp(min=m.wide),
        lambda m, x: torch.max(x[:, :1], m.wide),
        lambda m, x: x[:, :1] + m.wide,
    ],
)
def test_repetition_by_broadcasting_is_refused(f: Callable[[Any, Tensor], Tensor]) -> None:
    with pytest.raises(NotApplicable, match="broadcasting"):
        read_network(_network(f), (4,))


def test_weights_that_are_not_finite_do_not_pass_for_a_difference() -> None:
    module = _hooked("none")
    module[0].weight[0, 0] = float("nan")
    assert len(read_network(module, (4,))) == 4


def test_a_layer_used_twice_is_read_twice() -> None:
    module = _network(lambda m, x: m.a(m.relu(m.a(m.relu(x)))))
    assert [s.layer for s in read_network(module, (4,))] == ["", "relu", "a", "relu", "a"]
