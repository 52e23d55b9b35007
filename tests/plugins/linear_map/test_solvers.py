# SPDX-License-Identifier: Apache-2.0
"""Least squares by both routes, against numpy and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_linear_map import rows as rows_module
from lipbench_linear_map.rows import Rows, means
from lipbench_linear_map.solvers import Route, factorise, memory_bytes, route_of, solve, through_origin
from torch import Tensor

from lipbench.api import InvalidInput, NotFinite

ROUTES: tuple[Route, ...] = ("svd", "gram")


def data(n: int, p: int, q: int, seed: int = 0, mean: float = 3.0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn((n, p), generator=g, dtype=torch.float64)
    return x + mean * torch.randn(p, generator=g, dtype=torch.float64), torch.randn(
        (n, q), generator=g, dtype=torch.float64
    ) + 1


def reference(x: Tensor, y: Tensor, *, affine: bool) -> Tensor:
    if affine:
        x, y = x - x.mean(0), y - y.mean(0)
    return torch.from_numpy(np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[0])


def both(x: Tensor, y: Tensor, route: Route) -> tuple[Tensor, Tensor, Tensor]:
    factor = factorise(x, route=route)
    weight, bias = solve(x, factor, y)
    return weight, bias, through_origin(x, factor, weight, y.mean(0))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("n", "p"), [(60, 12), (12, 60), (40, 38), (38, 40), (2, 5)])
def test_both_routes_give_numpys_least_squares_with_and_without_a_bias(route: Route, n: int, p: int) -> None:
    x, y = data(n, p, 7)
    weight, bias, centred = both(x, y, route)
    torch.testing.assert_close(weight, reference(x, y, affine=True), rtol=0, atol=1e-11)
    torch.testing.assert_close(bias, y.mean(0) - x.mean(0) @ weight, rtol=0, atol=1e-12)
    torch.testing.assert_close(centred, reference(x, y, affine=False), rtol=0, atol=1e-10)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("n", "p"), [(60, 12), (12, 60)])
def test_the_smallest_weight_where_columns_are_dead_constant_or_repeated(route: Route, n: int, p: int) -> None:
    x, y = data(n, p, 3)
    x[:, 0], x[:, 1], x[:, 2] = 0.0, 2.5, -0.75
    x[:, 5] = x[:, 4]
    weight, _, centred = both(x, y, route)
    torch.testing.assert_close(weight, reference(x, y, affine=True), rtol=0, atol=1e-9)
    torch.testing.assert_close(centred, reference(x, y, affine=False), rtol=0, atol=1e-9)
    assert weight[:3].abs().max() == 0
    assert centred[0].abs().max() == 0
    torch.testing.assert_close(weight[4], weight[5], rtol=0, atol=1e-9)


@pytest.mark.parametrize("route", ROUTES)
def test_rows_that_are_all_alike_give_the_mean(route: Route) -> None:
    x, y = torch.full((5, 3), 0.1, dtype=torch.float64), data(5, 3, 2)[1]
    weight, bias, centred = both(x, y, route)
    assert weight.abs().max() == 0
    torch.testing.assert_close(bias, y.mean(0))
    torch.testing.assert_close(centred, reference(x, y, affine=False), rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 30), p=st.integers(1, 30), seed=st.integers(0, 10**6), mean=st.sampled_from([0.0, 1.0, 30.0]))
def test_property_residuals_are_orthogonal_to_the_rows(n: int, p: int, seed: int, mean: float) -> None:
    x, y = data(n, p, 2, seed, mean)
    for route in ROUTES:
        weight, bias, centred = both(x, y, route)
        scale = float(x.norm() * y.norm()) * (1 + float(centred.norm()))
        assert float(((x - x.mean(0)).T @ (x @ weight + bias - y)).abs().max()) < 1e-9 * scale
        assert float((x.T @ (x @ centred - y)).abs().max()) < 1e-9 * scale


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("n", "p"), [(60, 12), (12, 60)])
def test_weights_count_rows_more_than_once(route: Route, n: int, p: int) -> None:
    x, y = data(n, p, 3)
    counts = torch.ones(n, dtype=torch.float64)
    counts[: n // 3] = 3
    twice = torch.arange(n).repeat_interleave(counts.long())
    weight, bias = solve(x, factorise(x, weights=counts, route=route), y, counts)
    expected, expected_bias = solve(x[twice], factorise(x[twice], route=route), y[twice])
    torch.testing.assert_close(weight, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(bias, expected_bias, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dual", [False, True])
def test_blocks_and_panels_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch, dual: bool) -> None:
    x, y = data(*((20, 90) if dual else (90, 20)), 4)
    x[:, 3] = 1.0
    whole = both(x, y, "gram")
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 8 * 90 * 7)
    monkeypatch.setattr(rows_module, "_PANEL", 6)
    for found, expected in zip(both(x, y, "gram"), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("route", ROUTES)
def test_float32_rows_count_as_the_numbers_they_are(route: Route) -> None:
    x, y = data(50, 8, 3)
    narrow = x.float()
    for found, expected in zip(both(narrow, y, route), both(narrow.double(), y, route), strict=True):
        assert torch.equal(found, expected)


def conditioned(condition: float) -> tuple[Tensor, Tensor, Tensor]:
    """Centred rows with singular values from 1 to 1 / condition, and targets that a known weight gives without error."""
    x = data(120, 20, 1, mean=0)[0]
    u, _, vh = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    x = u * torch.logspace(0, -math.log10(condition), 20, dtype=torch.float64) @ vh
    truth = data(20, 5, 1, seed=1, mean=0)[0]
    return x, x @ truth, truth


@pytest.mark.parametrize(
    ("condition", "svd", "gram"), [(1e2, 1e-13, 1e-13), (1e4, 1e-11, 1e-11), (1e5, 1e-10, 1e-10), (1e6, 1e-9, 1e-8)]
)
def test_digits_that_the_gram_route_keeps(condition: float, svd: float, gram: float) -> None:
    x, y, truth = conditioned(condition)
    for route, tolerance in (("svd", svd), ("gram", gram)):
        weight, _ = solve(x, factorise(x, route=route), y)  # type: ignore[arg-type]
        assert float((weight - truth).norm() / truth.norm()) < tolerance


def test_the_gram_route_refuses_cholesky_and_drops_what_it_cannot_tell_from_zero() -> None:
    x, y, truth = conditioned(1e9)
    fine, coarse = factorise(x, route="svd"), factorise(x, route="gram")
    assert "cholesky_columns" not in coarse
    assert len(coarse["s"]) < 20
    assert float((solve(x, fine, y)[0] - truth).norm() / truth.norm()) < 1e-5
    weight, bias = solve(x, coarse, y)
    assert float((x @ weight + bias - y).norm() / y.norm()) < 1e-5  # what is dropped hardly matters to predictions
    assert float(weight.norm()) < 2 * float(truth.norm())


def test_the_rank_is_numpys_where_qr_cannot_be_certain() -> None:
    x, y, _ = conditioned(1e20)
    factor = factorise(x, route="svd")
    assert len(factor["s"]) == np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[2]


def test_factors_are_contiguous_and_the_same_on_rerun() -> None:
    for n, p in ((40, 8), (8, 40)):
        for route in ROUTES:
            for spectrum in (False, True):
                x = data(n, p, 1)[0]
                one, two = (factorise(x, route=route, spectrum=spectrum) for _ in range(2))
                assert all(t.is_contiguous() for t in one.values())
                assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_route_depends_on_size_alone() -> None:
    assert route_of(800, 512) == "svd"
    assert route_of(33_333, 2048) == "svd"
    assert route_of(33_333, 25_088) == "gram"
    assert route_of(1_000_000, 512) == "gram"


def test_the_largest_published_map_fits_in_24_gib() -> None:
    n, p, q = 33_333, 25_088, 2048
    inputs = 4 * n * (p + q)
    assert memory_bytes(n, p, q) + 2 * inputs < 24 * 2**30  # float64 rows
    assert memory_bytes(n, p, q, collinear=True) + inputs < 24 * 2**30  # float32 rows
    assert memory_bytes(16_667, p, q) + 2 * inputs < 24 * 2**30
    assert memory_bytes(n, p, q) >= 8 * 2 * p * p  # the Gram matrix beside its factor


def test_means_of_constant_columns_are_exact() -> None:
    x = torch.full((1000, 3), 0.1, dtype=torch.float64)
    x[:, 1] = 1e8 / 3
    assert torch.equal(means(x), x[0])
    assert Rows(x=x, live=torch.arange(3), mean=means(x)).block().abs().max() == 0


def test_what_is_not_finite_is_refused() -> None:
    x, y = data(20, 4, 2)
    x[3, 2] = math.nan
    with pytest.raises(NotFinite, match="column 2 of 4"):
        factorise(x)
    x[3, 2] = math.inf
    with pytest.raises(NotFinite, match="column 2 of 4"):
        factorise(x)
    x, y = data(20, 4, 2)
    y[0, 1] = math.nan
    with pytest.raises(NotFinite, match="column 1 of 2"):
        solve(x, factorise(x), y)


def test_a_factorisation_of_other_rows_is_refused() -> None:
    x, y = data(20, 4, 2)
    with pytest.raises(InvalidInput, match="4 columns, the source rows have 3"):
        solve(x[:, :3], factorise(x), y)
