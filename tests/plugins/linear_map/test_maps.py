# SPDX-License-Identifier: Apache-2.0
"""The maps: closed forms, identities and orders that hold whatever the data, and agreement with scikit-learn."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_basics.statistics import auroc, r2
from lipbench_linear_map.detector import train_detector
from lipbench_linear_map.maps import (
    L21,
    OLS,
    Affine,
    Identity,
    LinearMap,
    OLSAffine,
    Procrustes,
    RandomMap,
    RidgeCV,
    ScoreRegression,
    Shuffled,
)
from lipbench_linear_map.maps.robust import errors, summed
from lipbench_linear_map.solvers import factorise
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import RidgeCV as SklearnRidgeCV
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from lipbench.api import Context, InvalidInput

CTX = Context(scope="test")
ALL: tuple[LinearMap, ...] = (
    OLS(),
    OLSAffine(),
    RidgeCV(),
    L21(),
    Procrustes(),
    ScoreRegression(),
    Identity(),
    RandomMap(),
    Shuffled(),
)


def mse(y: Tensor, yhat: Tensor) -> tuple[float, float]:
    """By element and by row."""
    row = float((yhat - y).square().sum()) / len(y)
    return row / y.shape[1], row


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fitted(method: LinearMap, x: Tensor, y: Tensor, ctx: Context = CTX) -> Affine:
    return method.fit(x, method.factorise(x), y, ctx)


def training_error(method: LinearMap, x: Tensor, y: Tensor) -> float:
    return mse(y, fitted(method, x, y)(x))[1]


def close(found: Any, expected: Any, atol: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


# Exact recovery, the map to itself, and the normal equations


def test_an_exactly_linear_target_is_recovered() -> None:
    x, truth = normal(200, 20), normal(20, 30, seed=1)
    for method in (OLS(), OLSAffine()):
        found = fitted(method, x, x @ truth)
        close(found.weight, truth, 5e-14)
        assert mse(x @ truth, found(x))[0] < 1e-27


def test_the_map_of_a_space_to_itself_is_the_identity_and_keeps_the_auroc() -> None:
    x = normal(100, 10) + 2
    found = fitted(OLS(), x, x)
    close(found.weight, torch.eye(10, dtype=torch.float64), 1e-13)
    w = normal(10, 1, seed=3)
    assert mse(x, found(x))[0] < 1e-27
    native, mapped = (x @ w)[:, 0], (found(x) @ w)[:, 0]
    assert auroc(mapped[:50], mapped[50:]) == auroc(native[:50], native[50:])


def test_a_dead_unit_maps_to_nothing_and_changes_no_prediction() -> None:
    x = normal(100, 10)
    x[:, 4] = 0
    for method in (OLS(), OLSAffine()):
        found = fitted(method, x, x)
        assert found.weight[4, 4] == 0
        close(found(x), x, 1e-13)


def test_with_fewer_rows_than_columns_the_map_to_itself_is_a_projector() -> None:
    x = normal(12, 30)
    weight = fitted(OLS(), x, x).weight
    close(weight @ weight, weight, 1e-12)
    assert float(weight.trace()) == pytest.approx(12, abs=1e-10)


def test_normal_equations_and_means() -> None:
    x, y = normal(200, 20) + 1, normal(200, 30, seed=1) - 2
    without, affine = fitted(OLS(), x, y), fitted(OLSAffine(), x, y)
    close(x.T @ (without(x) - y), torch.zeros(20, 30, dtype=torch.float64), 2e-12)
    assert without.bias.abs().max() == 0
    close(affine(x).mean(0), y.mean(0), 1e-13)
    assert float((without(x).mean(0) - y.mean(0)).abs().max()) > 1e-3


def test_explained_variance_is_the_variance_of_the_predictions() -> None:
    x, y = normal(100, 12), normal(100, 7, seed=1)
    y[:, :3] += x[:, :3]
    predicted = fitted(OLSAffine(), x, y)(x)
    share = float(predicted.var(0, correction=0).sum() / y.var(0, correction=0).sum())
    assert r2(y, predicted) == pytest.approx(share, abs=1e-13)


def test_least_squares_is_scikit_learns() -> None:
    for n, p in ((60, 20), (20, 60)):
        x, y = normal(n, p) + 5, normal(n, 4, seed=1)
        theirs = LinearRegression().fit(x.numpy(), y.numpy())
        found = fitted(OLSAffine(), x, y)
        close(found.weight, torch.from_numpy(theirs.coef_.T.copy()), 1e-12)
        close(found.bias, torch.from_numpy(theirs.intercept_), 1e-11)


# Maps and detectors


def test_a_detector_of_mapped_rows_is_a_detector_of_source_rows() -> None:
    x, mapping = normal(50, 8), Affine(weight=normal(8, 5, seed=1), bias=normal(5, seed=2))
    detector = Affine(weight=normal(5, 1, seed=3), bias=normal(1, seed=4))
    pulled = mapping.then(detector)
    assert pulled.weight.shape == (8, 1)
    close(pulled(x), detector(mapping(x)), 1e-13)
    with pytest.raises(InvalidInput, match="5 columns cannot go before one from 8"):
        mapping.then(mapping)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("n", "p"), [(80, 10), (30, 60)])
def test_regression_of_scores_is_the_map_followed_by_the_detector(affine: bool, n: int, p: int) -> None:
    x, y = normal(n, p) + 1, normal(n, 12, seed=1)
    w = normal(12, 1, seed=2)
    ols = OLS(affine=affine)
    whole = fitted(ols, x, y).weight @ w
    # One factorisation serves both.
    close(ScoreRegression(affine=affine).fit(x, ols.factorise(x), y @ w, CTX).weight, whole, 1e-13)


def test_regression_of_scores_agrees_through_scaler_and_bias() -> None:
    clean, shift = normal(300, 12, seed=1), 0.6 * normal(12, seed=2)
    y = torch.cat([clean, clean + shift]) * torch.logspace(-2, 2, 12, dtype=torch.float64) + 3
    x = y @ normal(12, 20, seed=3) / 10 + normal(600, 20, seed=4)
    detector = train_detector(y[:300], y[300:])
    ols = OLSAffine()
    factor = ols.factorise(x)
    through = ols.fit(x, factor, y, CTX).then(detector)(x)[:, 0]
    direct = ScoreRegression().fit(x, factor, detector(y), CTX)(x)[:, 0]
    close(direct, through, 2e-9 * float(through.abs().max()))
    assert auroc(direct[:300], direct[300:]) == auroc(through[:300], through[300:])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), affine=st.booleans())
def test_property_predictions_do_not_depend_on_the_coordinates_of_the_source(seed: int, affine: bool) -> None:
    x, y, new = normal(60, 8, seed=seed) + 1, normal(60, 5, seed=seed + 1), normal(20, 8, seed=seed + 2)
    u, _, vh = torch.linalg.svd(normal(8, 8, seed=seed + 3))
    mixing = u * torch.linspace(1, 10, 8, dtype=torch.float64) @ vh  # invertible, condition 10
    method = OLS(affine=affine)
    close(fitted(method, x @ mixing, y)(new @ mixing), fitted(method, x, y)(new), 1e-12)


def test_ridge_depends_on_the_scale_of_directions_but_not_of_columns() -> None:
    x, new = normal(60, 8), normal(20, 8, seed=2)
    y = x @ normal(8, 5, seed=5) + normal(60, 5, seed=1)
    ridge = RidgeCV(strengths=(0.3,))
    plain = fitted(ridge, x, y)(new)
    scales = torch.logspace(-2, 2, 8, dtype=torch.float64)
    close(fitted(ridge, x * scales, y)(new * scales), plain, 1e-12)
    mixing = normal(8, 8, seed=3)
    assert float((fitted(ridge, x @ mixing, y)(new @ mixing) - plain).abs().max()) > 0.05


# How well least squares predicts


@pytest.mark.parametrize(
    ("n", "p", "published"),
    [(200, 50, 0.01336), (100, 50, 0.0202), (100, 80, 0.0521), (100, 95, 0.2475), (80, 100, 0.2521), (100, 200, 0.5201)],
)
def test_out_of_sample_error_has_its_peak_where_rows_equal_columns(n: int, p: int, published: float) -> None:
    noise, trials, outputs = 0.1, 120, 4
    more, fewer = max(n, p), min(n, p)
    theory = max(0, 1 - n / p) + noise**2 * (1 + fewer / (more - fewer - 1))
    assert theory == pytest.approx(published, rel=5e-3)
    found = []
    for seed in range(trials):
        truth = normal(p, outputs, seed=3 * seed)
        truth = truth / truth.norm(dim=0)
        x = normal(n, p, seed=3 * seed + 1)
        weight = fitted(OLS(), x, x @ truth + noise * normal(n, outputs, seed=3 * seed + 2)).weight
        # The expected error on a new Gaussian row, so that only the fits are random.
        found.append(noise**2 + float((weight - truth).square().sum()) / outputs)
    error = np.std(found, ddof=1) / math.sqrt(trials)
    assert abs(np.mean(found) - theory) < 4 * error  # four standard errors of the mean of the trials
    assert error < 0.1 * theory


def test_the_rank_of_the_source_bounds_what_can_be_predicted() -> None:
    y = normal(100, 12) * torch.linspace(3, 1, 12, dtype=torch.float64)
    u, s, _ = torch.linalg.svd(y, full_matrices=False)
    floor = float(s[5:].square().sum()) / 100
    predicted = fitted(OLS(), normal(100, 5, seed=1), y)(normal(100, 5, seed=1))
    assert int(torch.linalg.matrix_rank(predicted)) == 5
    assert mse(y, predicted)[1] > floor
    best = u[:, :5] @ normal(5, 5, seed=2)
    assert training_error(OLS(), best, y) == pytest.approx(floor, rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(12, 60), p=st.integers(1, 12))
def test_property_no_affine_map_beats_least_squares_on_its_own_rows(seed: int, n: int, p: int) -> None:
    x, y = normal(n, p, seed=seed) + 1, normal(n, p, seed=seed + 1)
    least = training_error(OLSAffine(), x, y)
    for method in (OLS(), RidgeCV(), L21(steps=5), Procrustes(), Identity(), RandomMap(), Shuffled()):
        assert training_error(method, x, y) >= least * (1 - 1e-12)
    assert training_error(Identity(), x, y) >= training_error(Procrustes(), x, y) * (1 - 1e-12)


def test_a_detour_loses_and_loses_nothing_where_it_is_exact() -> None:
    a, b, c = normal(80, 10), normal(80, 8, seed=1), normal(80, 6, seed=2)
    ols = OLSAffine()

    def detour(b: Tensor) -> float:
        return mse(c, fitted(ols, a, b).then(fitted(ols, b, c))(a))[1]

    assert training_error(ols, a, c) < detour(b)
    assert detour(a @ normal(10, 10, seed=3)) == pytest.approx(training_error(ols, a, c), rel=1e-12)


# Ridge


@pytest.mark.parametrize(("n", "p", "noise"), [(80, 20, 1.0), (30, 60, 1.0), (30, 60, 0.01), (40, 39, 0.3), (40, 40, 3.0)])
@pytest.mark.parametrize("route", ["svd", "gram"])
def test_ridge_is_scikit_learns(n: int, p: int, noise: float, route: Any) -> None:
    x = normal(n, p) * torch.linspace(0.1, 5, p, dtype=torch.float64) + 2
    x[:, 3] = 7.5
    y = x @ normal(p, 4, seed=1) / p + noise * normal(n, 4, seed=2)
    strengths = tuple(10.0 ** np.arange(-4, 2.5, 0.5))
    scaler = StandardScaler().fit(x.numpy())
    theirs = SklearnRidgeCV(alphas=[n * s for s in strengths]).fit(scaler.transform(x.numpy()), y.numpy())
    factor = factorise(x, standardise=True, spectrum=True, route=route)
    said: list[str] = []
    found = RidgeCV(strengths=strengths).fit(x, factor, y, Context(scope="test", report=said.append))
    new = normal(10, p, seed=3)
    new[:, 3] = 7.5
    expected = theirs.predict(scaler.transform(new.numpy()))
    close(found(new), torch.from_numpy(expected), 1e-8)
    assert said == [f"ridge strength {theirs.alpha_ / n:g} of 13 candidates"]
    assert found.weight[3].abs().max() == 0


def test_ridge_has_no_peak_where_rows_equal_columns() -> None:
    truth = normal(50, 5, seed=1) / 50**0.5

    def error(method: LinearMap, n: int) -> float:
        x = normal(n, 50, seed=2)
        found = fitted(method, x, x @ truth + 0.3 * normal(n, 5, seed=3))
        return float((found.weight - truth).square().sum())

    assert error(OLSAffine(), 52) > 20 * error(OLSAffine(), 400)
    assert error(RidgeCV(), 52) < error(RidgeCV(), 20)
    assert error(RidgeCV(), 52) < 0.2 * error(OLSAffine(), 52)


# Outliers, rotations, null maps


def test_the_unsquared_norm_ignores_outliers() -> None:
    x, truth = normal(200, 20), normal(20, 30, seed=1)
    y = x @ truth + 1e-3 * normal(200, 30, seed=2)
    y[:20] += 50
    squared = float((fitted(OLSAffine(), x, y).weight - truth).abs().max())
    robust = float((fitted(L21(), x, y).weight - truth).abs().max())
    assert squared > 1
    assert robust < 1.5e-3


def test_the_sum_of_errors_never_rises_and_ends_at_a_minimum() -> None:
    x, y = normal(80, 6), normal(80, 3, seed=1)
    y[:8] += 10
    factor = L21().factorise(x)
    sums = [summed(errors(L21(steps=k, tolerance=0).fit(x, factor, y, CTX), x, y)) for k in range(1, 12)]
    assert all(b <= a for a, b in pairwise(sums))
    said: list[str] = []
    found = L21(tolerance=1e-12, steps=500).fit(x, factor, y, Context(scope="test", log=said.append))
    assert said == []
    residual = found(x) - y
    units = residual / residual.norm(dim=1, keepdim=True)
    design = torch.cat([x, torch.ones(80, 1, dtype=torch.float64)], dim=1)
    close(design.T @ units, torch.zeros(7, 3, dtype=torch.float64), 1e-4)  # the gradient of the sum is zero there


def test_an_exact_fit_stays_exact_and_a_limit_is_said() -> None:
    x, truth = normal(30, 5), normal(5, 3, seed=1)
    close(fitted(L21(), x, x @ truth).weight, truth, 1e-12)
    said: list[str] = []
    L21(steps=1, tolerance=0).fit(x, L21().factorise(x), normal(30, 3, seed=2), Context(scope="test", log=said.append))
    assert said[0].startswith("l21 did not converge in 1 steps")


@pytest.mark.parametrize(("p", "q"), [(6, 6), (4, 7), (7, 4)])
def test_procrustes_is_orthogonal_and_finds_a_rotation(p: int, q: int) -> None:
    x = normal(50, p) * torch.linspace(1, 3, p, dtype=torch.float64) + 1
    turn = torch.linalg.qr(normal(max(p, q), max(p, q), seed=1)).Q[:p, :q]
    found = fitted(Procrustes(), x, x @ turn + 2)
    product = found.weight @ found.weight.T if p <= q else found.weight.T @ found.weight
    close(product, torch.eye(min(p, q), dtype=torch.float64), 1e-13)
    if p <= q:
        close(found.weight, turn, 1e-12)
        close(found(x), x @ turn + 2, 1e-12)


def test_null_maps_learn_the_mean_alone_and_follow_the_seed() -> None:
    x, y = normal(60, 5) + 1, 3 * normal(60, 8, seed=1) + 2
    for method in (Identity(), RandomMap(), Shuffled()):
        close(fitted(method, x, y)(x).mean(0), y.mean(0), 1e-12)
    close(fitted(Identity(), x, y).weight, torch.eye(5, 8, dtype=torch.float64), 0)
    variance = fitted(RandomMap(), x, y)(x).var(0).sum()
    close(variance, y.var(0).sum(), 1e-10)
    for method in (RandomMap(), Shuffled()):
        again, other = fitted(method, x, y), fitted(method, x, y, Context(scope="test", seed=1))
        assert torch.equal(again.weight, fitted(method, x, y).weight)
        assert not torch.equal(again.weight, other.weight)


def test_a_random_map_of_constant_rows_is_the_mean() -> None:
    found = fitted(RandomMap(), torch.ones(4, 3, dtype=torch.float64), normal(4, 2))
    assert found.weight.abs().max() == 0


def test_null_maps_spread_far_more_than_the_standard_error_of_one_auroc() -> None:
    """One fixed direction, not fresh noise: sd near 0.05 to 0.1 here, not 0.0204."""
    shift = 0.8 * normal(10, seed=1) / 10**0.5
    clean, adversarial = normal(400, 10, seed=2), normal(400, 10, seed=3) + shift
    x = torch.cat([clean, adversarial])
    w = normal(10, 1, seed=4)
    values = []
    for seed in range(60):
        s = fitted(RandomMap(), x, x, Context(scope="test", seed=seed)).then(Affine(weight=w, bias=w[0] * 0))(x)[:, 0]
        values.append(auroc(s[:400], s[400:]))
    spread = float(np.std(values, ddof=1))
    assert abs(np.mean(values) - 0.5) < 4 * spread / 60**0.5
    assert spread > 2 * 0.0204


@pytest.mark.parametrize("method", ALL, ids=lambda m: type(m).__name__)
def test_rows_that_are_no_pairs_are_refused(method: LinearMap) -> None:
    x = normal(10, 3)
    with pytest.raises(InvalidInput, match=r"\(10, 3\) and \(9, 1\)"):
        method.fit(x, method.factorise(x), normal(9, 1), CTX)
    with pytest.raises(InvalidInput, match="at least two pairs of rows, found 1"):
        method.fit(x[:1], method.factorise(x), normal(1, 1), CTX)
