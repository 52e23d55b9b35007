# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lipbench_lipschitz import operator_norms
from lipbench_lipschitz.operator_norms import (
    Kernel,
    conv_norm,
    dense_conv,
    gram_iteration,
    is_positive_definite,
    matrix_norm,
    spectral_norm,
)
from torch import Tensor

from lipbench.api import NotFinite

ORDER = {"l2": 2, "l1": 1, "linf": math.inf}


def _normal(*size: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=size))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6), st.sampled_from([1e-150, 1e-6, 1.0, 1e30]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_spectral_norm_is_just_above_the_true_one(m: int, n: int, seed: int, scale: float, deficient: bool) -> None:
    W = _normal(m, n, seed=seed) * scale
    if deficient:
        W = W[:, :1] @ W[:1]  # rank one
    true = np.linalg.norm(W.numpy(), 2)
    found = spectral_norm(W)
    assert true * (1 - 1e-15) <= found <= true * (1 + 1e-12)


def test_spectral_norm_of_a_wide_matrix_uses_an_iterative_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_norms, "DENSE_SIDE", 10)
    W = _normal(40, 30)
    true = np.linalg.norm(W.numpy(), 2)
    assert true <= spectral_norm(W) <= true * (1 + 1e-8)


def test_a_bad_guess_costs_tightness_and_not_validity(monkeypatch: pytest.MonkeyPatch) -> None:
    W = _normal(9, 7)
    true = np.linalg.norm(W.numpy(), 2)
    monkeypatch.setattr(operator_norms, "_guess", lambda G: 0.5 * true**2)
    assert spectral_norm(W) >= true


def test_spectral_norm_of_zero_and_of_nan() -> None:
    assert spectral_norm(torch.zeros(3, 2)) == 0.0
    with pytest.raises(NotFinite, match="NaN"):
        spectral_norm(torch.tensor([[1.0, math.nan]]))


@pytest.mark.parametrize("order", ["l1", "linf"])
def test_sums_bound_the_matrix_norm(order: str) -> None:
    W = _normal(5, 8)
    true = float(torch.linalg.matrix_norm(W, ORDER[order]))
    assert true <= matrix_norm(W, order) <= true * (1 + 1e-12)


def test_positive_definite_only_with_room_for_rounding() -> None:
    A = torch.eye(4, dtype=torch.float64)
    assert is_positive_definite(A)
    assert not is_positive_definite(A, error=1.1)
    A[3, 3] = 1e-17  # positive, but not provably so in float64
    assert not is_positive_definite(A)
    assert not is_positive_definite(torch.full((2, 2), math.nan, dtype=torch.float64))


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_gram_iteration_falls_to_the_largest_singular_value(m: int, n: int, seed: int) -> None:
    W = _normal(m, n, seed=seed)
    true = np.linalg.norm(W.numpy(), 2)
    bounds = gram_iteration(W, 10).tolist()
    assert bounds[0] == pytest.approx(float(torch.linalg.matrix_norm(W)))
    assert all(a >= b * (1 - 1e-12) for a, b in itertools.pairwise(bounds))
    assert true <= bounds[-1] <= true * min(m, n) ** (1 / 2**10) * (1 + 1e-12)


def test_gram_iteration_first_steps_by_hand() -> None:
    W = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))
    expected = [5**0.5, 17**0.25, 257 ** (1 / 8), 65537 ** (1 / 16)]
    assert gram_iteration(W, 3).tolist() == pytest.approx(expected, rel=1e-12)


def test_gram_iteration_takes_batches_zeros_and_huge_scales() -> None:
    W = torch.stack([_normal(3, 4), torch.zeros(3, 4).double(), _normal(3, 4) * 1e100])
    found = gram_iteration(W, 30)[-1]
    true = torch.linalg.matrix_norm(W, 2)
    assert found[1] == 0.0
    assert found.tolist() == pytest.approx(true.tolist(), rel=1e-8)


@st.composite
def kernels(draw: st.DrawFn) -> Kernel:
    """Small convolutions in one or two dimensions, of any stride, padding, dilation and grouping."""
    dims = draw(st.integers(1, 2))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    outputs, inputs = groups * draw(st.integers(1, 3)), draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=dims, max_size=dims)))

    sizes, taps, dilation = each(1, 7), each(1, 4), each(1, 2)
    padding: tuple[int, ...] | str = each(0, 3)
    stride = each(1, 3)
    if draw(st.booleans()) and all(s == 1 for s in stride):
        padding = draw(st.sampled_from(["same", "valid"]))
    pads = {"valid": (0,) * dims, "same": (8,) * dims}[padding] if isinstance(padding, str) else padding
    assume(all(n + 2 * p > d * (k - 1) for n, p, d, k in zip(sizes, pads, dilation, taps, strict=True)))
    weight = _normal(outputs, inputs, *taps, seed=draw(st.integers(0, 10**6)))
    return Kernel(weight=weight, size=sizes, stride=stride, padding=padding, dilation=dilation, groups=groups)


@given(kernels(), st.sampled_from(["l2", "l1", "linf"]), st.sampled_from([0, 2**20]))
@settings(max_examples=120, deadline=None)
def test_convolution_bound_is_above_the_norm_of_its_matrix(kernel: Kernel, order: str, dense: int) -> None:
    before = operator_norms.DENSE_CONV
    operator_norms.DENSE_CONV = dense  # 0 forces the Fourier bound
    try:
        found = conv_norm(kernel, order)
    finally:
        operator_norms.DENSE_CONV = before
    true = float(torch.linalg.matrix_norm(dense_conv(kernel), ORDER[order]))
    assert true <= found * (1 + 1e-13)
    if order == "l2" and dense and kernel.weight[0, 0].numel() > 1:
        assert found <= true * (1 + 1e-10)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_torus_bound_is_close_for_large_images(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = _normal(4, 3, 3, 3)
    kernel = Kernel(weight=weight, size=(15, 15), stride=(stride,) * 2, padding=(1, 1), dilation=(1, 1), groups=1)
    true = float(torch.linalg.matrix_norm(dense_conv(kernel), 2))
    monkeypatch.setattr(operator_norms, "DENSE_CONV", 0)
    assert true <= conv_norm(kernel, "l2") <= 1.05 * true


def test_gram_iteration_serves_wide_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(weight=_normal(6, 5, 3, 3), size=(6, 6), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1)
    monkeypatch.setattr(operator_norms, "DENSE_CONV", 0)
    exact = conv_norm(kernel, "l2")
    monkeypatch.setattr(operator_norms, "SVD_SIDE", 1)
    assert exact * (1 - 1e-12) <= conv_norm(kernel, "l2") <= exact * 1.001


def test_one_pixel_kernel_is_a_matrix_and_patches_do_not_overlap() -> None:
    one = Kernel(weight=_normal(5, 4, 1, 1), size=(200, 200), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    assert conv_norm(one, "l2") == pytest.approx(np.linalg.norm(one.weight.flatten(1).numpy(), 2), rel=1e-10)
    patch = Kernel(weight=_normal(5, 3, 8, 8), size=(64, 64), stride=(8, 8), padding=(0, 0), dilation=(1, 1), groups=1)
    assert conv_norm(patch, "l2") == pytest.approx(np.linalg.norm(patch.weight.flatten(1).numpy(), 2), rel=1e-10)


def test_depthwise_norm_is_that_of_the_largest_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = _normal(3, 1, 3, 3)
    monkeypatch.setattr(operator_norms, "DENSE_CONV", 0)

    def norm(w: Tensor) -> float:
        kernel = Kernel(weight=w, size=(9, 9), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=len(w))
        return conv_norm(kernel, "l2")

    assert norm(weight) == pytest.approx(max(norm(weight[i : i + 1]) for i in range(3)), rel=1e-12)


def test_dense_conv_is_the_convolution() -> None:
    kernel = Kernel(weight=_normal(4, 2, 3, 2), size=(5, 6), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=1)
    x = _normal(1, 2, 5, 6, seed=1)
    expected = F.conv2d(x, kernel.weight, None, (2, 1), (1, 0), (1, 2)).flatten()
    assert torch.allclose(dense_conv(kernel) @ x.flatten(), expected, atol=1e-12)


def test_infinite_kernel_is_refused() -> None:
    weight = torch.full((1, 1, 3, 3), math.inf, dtype=torch.float64)
    kernel = Kernel(weight=weight, size=(4, 4), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    with pytest.raises(NotFinite, match="infinite"):
        conv_norm(kernel, "l2")
