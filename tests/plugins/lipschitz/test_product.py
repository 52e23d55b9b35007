# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from bounded_networks import he_weights, largest_over_vertices, measure, mlp, norm2
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_lipschitz.estimators.product import SpectralProduct
from torch import nn

from lipbench.api import NotApplicable

PRODUCTS = {(2, 8, 2): 3.9949, (2, 16, 2): 5.3235, (2, 10, 10, 2): 9.1012, (2, 12, 12, 12, 3): 21.189}
ALL = ["spectral", "frobenius", "abs"]


@pytest.mark.parametrize(("sizes", "expected"), PRODUCTS.items())
def test_oracle_products(sizes: tuple[int, ...], expected: float) -> None:
    weights = he_weights(sizes)
    found = measure(SpectralProduct(), mlp(weights), sizes[:1])
    exact = np.prod([norm2(w) for w in weights])
    assert found.value == pytest.approx(expected, abs=1e-3)
    assert exact <= found.value <= exact * (1 + 1e-11)
    assert found.extras["kind"] == "upper"
    assert found.extras["scope"] == "global"
    assert found.extras["certified"] is True
    assert found.forwards == found.backwards == 0


@pytest.mark.parametrize("norms", ALL)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_above_the_exact_constant(norms: str, n: int, h: int, m: int, seed: int) -> None:
    weights = he_weights((n, h, m), seed)
    found = measure(SpectralProduct(norms=norms), mlp(weights), (n,)).value  # type: ignore[arg-type]
    assert found >= largest_over_vertices(weights)


@pytest.mark.parametrize("norms", ALL)
def test_linear_map(norms: str) -> None:
    W = np.array([[3.0, 0.0], [0.0, 4.0]])
    found = measure(SpectralProduct(norms=norms), mlp([W]), (2,)).value  # type: ignore[arg-type]
    assert found == pytest.approx(5.0 if norms == "frobenius" else 4.0, rel=1e-12)


def test_absolute_weights_by_hand() -> None:
    weights = [np.array([[1.0, -1.0], [1.0, 1.0]]), np.array([[2.0, -1.0]])]
    expected = norm2(np.abs(weights[1]) @ np.abs(weights[0])) * 0.25
    assert measure(SpectralProduct(norms="abs"), mlp(weights, nn.Sigmoid), (2,)).value == pytest.approx(expected)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("norms", ["spectral", "abs"])
def test_other_norms_bound_every_vertex(norm: str, norms: str) -> None:
    first, second = he_weights((3, 4, 2))
    order = 1 if norm == "l1" else np.inf
    exact = max(np.linalg.norm(second @ np.diag(s) @ first, order) for s in np.ndindex(2, 2, 2, 2))
    found = measure(SpectralProduct(norms=norms), mlp([first, second]), (3,), norm).value  # type: ignore[arg-type]
    sums = [np.linalg.norm(w, order) for w in (first, second)]
    assert exact <= found <= np.prod(sums) * (1 + 1e-12)


def test_frobenius_is_for_l2_only() -> None:
    with pytest.raises(NotApplicable, match="l2"):
        measure(SpectralProduct(norms="frobenius"), mlp([np.eye(2)]), (2,), "linf")


def test_rescaled_layers_leave_it_and_rescaled_neurons_do_not() -> None:
    first, second = he_weights((6, 4, 3), 3)
    D = np.array([10, 0.1, 1, 3])
    found = [
        measure(SpectralProduct(), mlp(weights), (6,)).value
        for weights in ([first, second], [3 * first, second / 3], [D[:, None] * first, second / D])
    ]
    assert found == pytest.approx([3.931603, 3.931603, 176.7], rel=2e-4)


def test_network_that_is_one_lipschitz_by_construction() -> None:
    torchlip = pytest.importorskip("deel.torchlip")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(torchlip.SpectralLinear(8, 16), torchlip.GroupSort2(), torchlip.SpectralLinear(16, 4))
    found = measure(SpectralProduct(), network, (8,)).value
    assert found == pytest.approx(1.0, abs=1e-4)


def test_frobenius_norm_of_a_convolution_counts_every_place() -> None:
    conv = nn.Conv2d(1, 1, 1, bias=False)
    conv.weight.data.fill_(2.0)
    assert measure(SpectralProduct(norms="frobenius"), conv, (1, 3, 3)).value == pytest.approx(6.0)
    assert measure(SpectralProduct(), conv, (1, 3, 3)).value == pytest.approx(2.0)


def test_infinite_constant_is_refused() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 0.0

    from lipbench_lipschitz.graph import network_bound
    from lipbench_lipschitz.operator_norms import check_finite

    with pytest.raises(NotApplicable, match="not finite"):
        check_finite(network_bound(Broken(), (2,), "l2")[0], "the product bound")
