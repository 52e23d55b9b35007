# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from bounded_networks import he_weights, largest_over_vertices, measure, mlp, norm2
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_lipschitz.estimators.product import SpectralProduct
from lipbench_lipschitz.estimators.seqlip import SeqLip
from torch import nn

from lipbench.api import NotApplicable

ORACLES = {(2, 8, 2): 2.0901, (2, 16, 2): 1.9503, (2, 10, 10, 2): 5.1733, (2, 12, 12, 12, 3): 12.3725}


@pytest.mark.parametrize(("sizes", "expected"), ORACLES.items())
def test_oracle_values(sizes: tuple[int, ...], expected: float) -> None:
    found = measure(SeqLip(), mlp(he_weights(sizes)), sizes[:1])
    assert found.value == pytest.approx(expected, abs=6e-5)
    assert found.extras["certified"] is True
    assert len(found.extras["factors"]) == len(sizes) - 2


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_exact_for_one_hidden_layer(n: int, h: int, m: int, seed: int) -> None:
    weights = he_weights((n, h, m), seed)
    exact = largest_over_vertices(weights)
    assert exact <= measure(SeqLip(), mlp(weights), (n,)).value <= exact * (1 + 1e-6) + 1e-12


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_never_above_the_product_by_more_than_rounding(seed: int) -> None:
    network = mlp(he_weights((3, 5, 4, 2), seed))
    assert measure(SeqLip(), network, (3,)).value <= measure(SpectralProduct(), network, (3,)).value * (1 + 1e-9)


def test_negative_slopes_are_vertices_too() -> None:
    weights = he_weights((3, 4, 2))
    low, high = -0.1289041452, 1.1289041452
    exact = largest_over_vertices(weights, low, high)
    assert measure(SeqLip(), mlp(weights, nn.GELU), (3,)).value == pytest.approx(exact, rel=1e-9)


def test_last_activation_counts() -> None:
    weights = he_weights((3, 4, 2))
    network = nn.Sequential(mlp(weights), nn.Sigmoid())
    plain = measure(SeqLip(), mlp(weights), (3,)).value
    found = measure(SeqLip(), network, (3,)).value
    assert 0.25 * plain <= found <= 0.25 * measure(SpectralProduct(), mlp(weights), (3,)).value * (1 + 1e-9)


def test_linear_map_and_width_one() -> None:
    W = he_weights((5, 3))[0]
    assert measure(SeqLip(), mlp([W]), (5,)).value == pytest.approx(norm2(W), rel=1e-10)
    first, second = he_weights((3, 1, 2))
    assert measure(SeqLip(), mlp([first, second]), (3,)).value == pytest.approx(norm2(first) * norm2(second), rel=1e-10)


def test_rescaling_of_layers_and_neurons_leaves_it() -> None:
    first, second = he_weights((6, 4, 3), 3)
    D = np.array([10, 0.1, 1, 3])
    for weights in ([first, second], [3 * first, second / 3], [D[:, None] * first, second / D]):
        assert measure(SeqLip(), mlp(weights), (6,)).value == pytest.approx(2.115726, abs=1e-6)


def test_wide_layers_and_other_norms_are_refused() -> None:
    with pytest.raises(NotApplicable, match="use schur"):
        measure(SeqLip(width=4), mlp(he_weights((2, 5, 2))), (2,))
    with pytest.raises(NotApplicable, match="norm: l2"):
        measure(SeqLip(), mlp(he_weights((2, 5, 2))), (2,), "linf")
