# SPDX-License-Identifier: Apache-2.0
"""The oracle networks are what the published numbers were computed on."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lipbench_lipschitz.networks import FpStaircase, Linear, LipschitzMLP, RandomReLU, Scalar1d
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, Network

CTX = Context(scope="test")


def built(network: Network, *shape: int, unit: float = 1.0, seed: int = 0, classes: int | None = None) -> nn.Module:
    network.build(DataSpec(shape=shape, low=0, high=unit, unit=unit, classes=classes), Context(scope="test", seed=seed))
    return network.module


def norms(module: nn.Module) -> list[float]:
    layers = [m for m in module.modules() if isinstance(m, nn.Linear)]
    return [float(torch.linalg.matrix_norm(m.weight.detach().double(), 2)) for m in layers]


def line_search(f: nn.Module, x: float, y: float, dtype: torch.dtype, epsilon: float) -> list[float]:
    """The ratios of the published search, ties to the right."""

    def at(*values: Tensor) -> list[Tensor]:
        with torch.inference_mode():
            return list(f(torch.stack(values).reshape(-1, 1)).flatten())

    a, b = torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype)
    trace = []
    while b - a > epsilon:
        z = (a + b) / 2
        fa, fb, fz = at(a, b, z)
        a, b = (a, z) if (fz - fa).abs() / (z - a) > (fb - fz).abs() / (b - z) else (z, b)
        fa, fb = at(a, b)
        trace.append(float((fb - fa).abs().double() / (b - a).double()))
    return trace


def test_linear_is_one_affine_map_that_only_its_own_seed_moves() -> None:
    first, again, other = (built(Linear(outputs=4, seed=s), 2, 3, seed=i) for i, s in enumerate((0, 0, 1)))
    x = torch.rand(5, 2, 3)
    assert first(x).shape == (5, 4)
    assert torch.equal(first(x), again(x))
    assert not torch.equal(first(x), other(x))
    assert torch.allclose(first(x) + first(-x), 2 * first(torch.zeros(1, 2, 3)), atol=1e-5)
    assert norms(first)[0] > 0.5


def test_square_has_the_published_trace() -> None:
    trace = line_search(built(Scalar1d(name="square"), 1), 0.0, 1.0, torch.float64, 1e-3)
    assert trace == [2 - 2.0 ** -(i + 1) for i in range(10)]


def test_sine_climbs_to_ten() -> None:
    trace = line_search(built(Scalar1d(name="sine"), 1), 0.0, math.pi / 10, torch.float64, 1e-4)
    assert [round(k, 4) for k in trace[:3]] == [6.3662, 9.0032, 9.7450]
    assert trace[-1] == pytest.approx(10, abs=1e-5)


def test_needle_hides_its_tooth_from_the_line_search() -> None:
    needle = built(Scalar1d(name="needle"), 1)
    assert line_search(needle, 0.0, 1.0, torch.float64, 5e-5) == pytest.approx([1.0] * 15, abs=1e-9)
    rise = needle(torch.tensor([[0.2995], [0.2996]], dtype=torch.float64)).flatten()
    assert float(rise[1] - rise[0]) / 1e-4 == pytest.approx(11, rel=1e-9)


def test_staircase_plants_the_published_artefact() -> None:
    staircase = built(FpStaircase(), 1)
    assert line_search(staircase, 0.0, 1.0, torch.float32, 5e-5) == [1.0] * 10 + [2.0, 4.0, 8.0, 16.0, 32.0]
    pair = torch.tensor([[0.25], [0.25 + 2.0**-15]], dtype=torch.float64)
    heights = staircase(pair).flatten()
    assert float(heights[1] - heights[0]) / 2.0**-15 == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("sizes", "steepest", "product"),
    [
        ((2, 8, 2), 2.090107, 3.9949),
        ((2, 16, 2), 1.540327, 5.3235),
        ((2, 10, 10, 2), 0.958382, 9.1012),
        ((2, 12, 12, 12, 3), 2.298018, 21.189),
    ],
)
def test_random_relu_has_the_published_constants(sizes: tuple[int, ...], steepest: float, product: float) -> None:
    module = built(RandomReLU(sizes=sizes, seed=1), 2).double()
    assert math.prod(norms(module)) == pytest.approx(product, rel=2e-5)
    axis = torch.linspace(-1, 1, 200, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    slopes = torch.func.vmap(torch.func.jacrev(lambda x: module(x[None])[0]))(points)
    largest = float(torch.linalg.matrix_norm(slopes.detach(), 2).max())
    # A grid may miss a sliver of a region, but it can never exceed the exact value.
    assert largest <= steepest + 1e-6
    assert largest >= 0.97 * steepest


@pytest.mark.parametrize(("seed", "steepest"), [(1, 2.273804), (2, 2.025761), (3, 5.015591)])
def test_random_relu_has_the_published_l1_gradients(seed: int, steepest: float) -> None:
    module = built(RandomReLU(sizes=(2, 10, 10, 1), seed=seed), 2).double()
    axis = torch.linspace(-1, 1, 150, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis).requires_grad_(True)
    (slopes,) = torch.autograd.grad(module(points).sum(), points)
    largest = float(slopes.abs().sum(1).max())
    assert largest <= steepest + 1e-6
    assert largest >= 0.97 * steepest


def test_random_relu_does_not_move_with_the_suite() -> None:
    first, other = (built(RandomReLU(), 2, seed=s).state_dict() for s in (0, 1))
    assert all(torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (RandomReLU(), (64,), r"random_relu has 2 inputs, the data has 64 \(shape \(64,\)\)"),
        (Scalar1d(), (2, 2), r"scalar1d has 1 input, the data has 4"),
    ],
)
def test_data_with_other_inputs_are_refused(network: Network, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        built(network, *shape)


@pytest.mark.parametrize("unit", [1.0, 255.0])
@pytest.mark.parametrize("hidden", [(), (64, 64), (8, 20, 6, 4)])
def test_lipschitz_mlp_has_norm_one_per_unit(hidden: tuple[int, ...], unit: float) -> None:
    pytest.importorskip("deel.torchlip")
    module = built(LipschitzMLP(hidden=hidden), 64, unit=unit, classes=10)
    found = norms(module)
    assert len(found) == len(hidden) + 1
    assert math.prod(found) * unit == pytest.approx(1, abs=1e-5)
    assert math.prod(found) * unit <= 1
    assert {type(m).__name__ for m in module.children()} <= {"Flatten", "Linear", "GroupSort2"}
    weights = [m.weight.detach().double() for m in module.modules() if isinstance(m, nn.Linear)]
    for w in weights[1:]:
        gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        assert torch.allclose(gram, torch.eye(len(gram), dtype=torch.float64), atol=1e-5)


@pytest.fixture(scope="module")
def lipschitz_mlp() -> nn.Module:
    pytest.importorskip("deel.torchlip")
    return built(LipschitzMLP(hidden=(16, 16), outputs=3), 5).double()


@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-8, 2))
def test_no_pair_is_steeper_than_one(lipschitz_mlp: nn.Module, seed: int, exponent: int) -> None:
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(32, 5)))
    y = x + 10.0**exponent * torch.from_numpy(rng.normal(size=(32, 5)))
    with torch.inference_mode():
        ratios = torch.linalg.vector_norm(lipschitz_mlp(x) - lipschitz_mlp(y), dim=1) / torch.linalg.vector_norm(x - y, dim=1)
    assert float(ratios.max()) <= 1 + 1e-6


def test_lipschitz_mlp_follows_the_seed_and_spares_the_global_generator() -> None:
    pytest.importorskip("deel.torchlip")
    before = torch.get_rng_state()
    first, again, other = (built(LipschitzMLP(), 6, seed=s, classes=2).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["1.weight"], other["1.weight"])
    assert torch.equal(before, torch.get_rng_state())


def test_lipschitz_mlp_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="write outputs:"):
        built(LipschitzMLP(), 4)
    monkeypatch.setitem(sys.modules, "deel", None)
    with pytest.raises(InvalidInput, match=r"pip install 'lipbench\[lipschitz\]'"):
        built(LipschitzMLP(), 4, classes=2)
