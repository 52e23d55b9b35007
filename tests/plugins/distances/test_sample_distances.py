# SPDX-License-Identifier: Apache-2.0
"""Distances that read rows, against scipy, scikit-learn, torchmetrics, POT and closed forms."""

from __future__ import annotations

import math
import sys

import numpy as np
import ot
import pytest
import torch
from distance_cases import CTX, compared, random_rows, rng
from lipbench_distances.base import Distance
from lipbench_distances.distances.by_kernels import Energy, KernelMMD
from lipbench_distances.distances.by_moments import GaussianW2, GramLoss, MeanCovariance
from lipbench_distances.distances.transport import Sinkhorn, SlicedWasserstein, Wasserstein
from lipbench_distances.pairs.gaussians import RandomGaussians, gaussian
from lipbench_distances.pairs.moment_twins import SameMoments
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance, wasserstein_distance
from sklearn.metrics.pairwise import laplacian_kernel, polynomial_kernel, rbf_kernel
from torchmetrics.image.kid import poly_mmd

from lipbench.api import InvalidInput

ALL: list[Distance] = [
    GramLoss(), MeanCovariance(), GaussianW2(), Wasserstein(order=1), Wasserstein(), Sinkhorn(), SlicedWasserstein(),
    SlicedWasserstein(order=1), KernelMMD(), KernelMMD(kernel="laplace"), KernelMMD(bandwidth=None),
    KernelMMD(kernel="cubic", estimator="u"), Energy(), Energy(squared=True),
]  # fmt: skip
NAMES = [f"{type(d).__name__}{i}" for i, d in enumerate(ALL)]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ot", None)
    x = random_rows(5, 2)
    with pytest.raises(InvalidInput, match=r"POT: pip install 'lipbench\[transport\]'"):
        Wasserstein().between(x, x, CTX)


@pytest.mark.parametrize("order", [1, 2])
def test_exact_transport_is_the_best_assignment(order: int) -> None:
    x, y = random_rows(60, 3), random_rows(60, 3, seed=1, shift=1)
    cost = cdist(x, y) ** order
    best = cost[linear_sum_assignment(cost)].mean() ** (1 / order)
    assert float(Wasserstein(order=order).between(x, y, CTX)) == pytest.approx(best, rel=1e-9)  # type: ignore[arg-type]


def test_exact_transport_of_unequal_numbers_of_rows_on_a_line() -> None:
    x, y = random_rows(40, 1), random_rows(70, 1, seed=1, shift=1)
    expected = wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert float(Wasserstein(order=1).between(x, y, CTX)) == pytest.approx(expected, rel=1e-9)
    assert float(SlicedWasserstein(order=1).between(x, y, CTX)) == pytest.approx(expected, rel=1e-9)


def test_the_energy_distance_is_that_of_scipy_on_a_line() -> None:
    x, y = random_rows(40, 1), random_rows(70, 1, seed=1, shift=1)
    expected = energy_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert float(Energy().between(x, y, CTX)) == pytest.approx(expected, rel=1e-9)
    assert float(Energy(squared=True).between(x, y, CTX)) == pytest.approx(expected**2, rel=1e-9)


@pytest.mark.parametrize(("rows", "others"), [(60, 60), (60, 45)])
@pytest.mark.parametrize("order", [1, 2])
def test_sliced_transport_is_that_of_pot(order: int, rows: int, others: int) -> None:
    x, y = random_rows(rows, 4), random_rows(others, 4, seed=1, shift=1)
    sliced = SlicedWasserstein(order=order)  # type: ignore[arg-type]
    theirs = ot.sliced_wasserstein_distance(x, y, p=order, projections=sliced._lines(x, CTX))
    assert float(sliced.between(x, y, CTX)) == pytest.approx(float(theirs), rel=1e-9)


def test_the_sinkhorn_divergence_is_that_of_pot() -> None:
    x, y = random_rows(40, 3), random_rows(50, 3, seed=1, shift=1)
    pooled = torch.cat([x, y])
    weight = 0.5 * cdist(pooled, pooled, "sqeuclidean").mean()
    mine = Sinkhorn(epsilon=0.5, steps=5000, tolerance=1e-9).between(x, y, CTX)
    theirs = ot.solve_sample(x, y, reg=weight, tol=1e-9, max_iter=5000, debias=True).value
    assert float(mine) == pytest.approx(float(theirs), rel=1e-6)


def test_a_weight_that_is_too_small_for_the_kernel_is_solved_by_logarithms() -> None:
    x, y = random_rows(20, 2), random_rows(20, 2, seed=1, shift=1)
    small = float(Sinkhorn(epsilon=1e-3, steps=3000).between(x, y, CTX))
    assert small == pytest.approx(float(Wasserstein().loss(x, y, CTX)), rel=0.05)


def test_kernels_are_those_of_scikit_learn() -> None:
    x, y = random_rows(30, 3), random_rows(40, 3, seed=1, shift=1)
    s = 1.5
    kernels = {
        "gaussian": lambda a, b: rbf_kernel(a, b, gamma=1 / (2 * s**2)),
        "polynomial": lambda a, b: polynomial_kernel(a, b, degree=2, gamma=1, coef0=0),
        "cubic": lambda a, b: polynomial_kernel(a, b, degree=3, gamma=1 / 3, coef0=1),
    }
    for name, k in kernels.items():
        square = k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).mean()
        mine = KernelMMD(kernel=name, bandwidth=s, squared=True).between(x, y, CTX)  # type: ignore[arg-type]
        assert float(mine) == pytest.approx(square, rel=1e-9), name
    # scikit-learn's Laplace kernel reads the l1 norm, ours the l2 norm; on a line they are one.
    x, y = x[:, :1], y[:, :1]
    square = sum(w * laplacian_kernel(a, b, gamma=1 / s).mean() for w, a, b in ((1, x, x), (1, y, y), (-2, x, y)))
    mine = KernelMMD(kernel="laplace", bandwidth=s, squared=True).between(x, y, CTX)
    assert float(mine) == pytest.approx(square, rel=1e-9)


def test_the_unbiased_cubic_mmd_is_the_kernel_inception_distance() -> None:
    x, y = random_rows(50, 6), random_rows(50, 6, seed=1, shift=0.3)
    mine = KernelMMD(kernel="cubic", estimator="u").between(x, y, CTX)
    assert float(mine) == pytest.approx(float(poly_mmd(x, y, degree=3, gamma=None, coef=1.0)), rel=1e-9)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = random_rows(50, 3), random_rows(40, 3, seed=1)
    some = [KernelMMD(), KernelMMD(kernel="cubic", estimator="u"), Energy()]
    whole = [float(d.between(x, y, CTX)) for d in some]
    monkeypatch.setattr("lipbench_distances.distances.by_kernels._BLOCK", 7)
    assert [float(d.between(x, y, CTX)) for d in some] == pytest.approx(whole, rel=1e-12)


def test_the_gaussian_mmd_of_gaussians_has_a_closed_form() -> None:
    """On a line by numerical integration of k(x, y) p(x) p(y)."""
    one, other = (gaussian(torch.tensor([m], dtype=torch.float64), torch.tensor([[v]], dtype=torch.float64)) for m, v in ((0.0, 1.0), (1.0, 0.25)))  # fmt: skip
    grid = np.linspace(-9, 9, 1801)
    weight = grid[1] - grid[0]
    p, q = (np.exp(-((grid - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v) * weight for m, v in ((0.0, 1.0), (1.0, 0.25)))
    kernel = np.exp(-((grid[:, None] - grid) ** 2) / 2)
    square = (p - q) @ kernel @ (p - q)
    assert KernelMMD(squared=True).population(one, other) == pytest.approx(square, rel=1e-6)


def test_exact_transport_of_gaussians_tends_to_its_closed_form() -> None:
    p, q = RandomGaussians(d=2).pick(rng(3))
    far = gaussian(q.mean + 20, q.cov)
    found = compared(RandomGaussians(d=2), Wasserstein()).value(p.draw(800, rng(1)), far.draw(800, rng(2)))
    assert found == pytest.approx(Wasserstein().population(p, far), rel=0.02)
    assert Wasserstein(order=1).population(p, far) is None


@pytest.mark.parametrize("distance", ALL, ids=NAMES)
def test_equal_samples_are_at_no_distance(distance: Distance) -> None:
    x = random_rows(30, 3)
    value = float(distance.between(x, x.flip(0), CTX))
    if getattr(distance, "estimator", "v") == "u":
        assert value < 0, "without the rows themselves the mean within is less than that across"
    else:
        assert value == pytest.approx(0, abs=1e-6)


# Bandwidth and weight of the others follow the samples, and their gradients hold them fixed.
FIXED = [d for d in ALL if not isinstance(d, Sinkhorn) and getattr(d, "bandwidth", 1) is not None]


@pytest.mark.parametrize("distance", FIXED, ids=lambda d: type(d).__name__)
def test_losses_have_the_gradient_of_their_differences(distance: Distance) -> None:
    x, y = random_rows(12, 2), random_rows(12, 2, seed=1, shift=0.5)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(distance.loss(x, y, CTX), x)
    way = random_rows(12, 2, seed=2)
    step = 1e-5
    ends = [float(distance.loss((x + s * step * way).detach(), y, CTX)) for s in (1, -1)]
    assert float((gradient * way).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("distance", ALL, ids=NAMES)
def test_gradients_are_finite_where_samples_agree_and_where_ranks_are_low(distance: Distance) -> None:
    same = random_rows(10, 5)
    few, many = random_rows(2, 5), random_rows(10, 5, seed=1)
    flat = torch.cat([many[:, :1], many[:, :1], torch.ones((10, 3), dtype=torch.float64)], 1)
    for x, y in ((same, same), (few, many), (flat, many), (flat, flat)):
        moved = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(distance.loss(moved, y, CTX), moved)
        assert bool(gradient.isfinite().all())


def test_the_gaussian_distance_of_moments_is_below_exact_transport() -> None:
    """Gelbrich's bound, on samples of no Gaussian."""
    for seed in range(20):
        x, y = random_rows(40, 3, seed=seed), random_rows(40, 3, seed=seed + 100, shift=0.2)
        assert float(GaussianW2().between(x, y, CTX)) <= float(Wasserstein().between(x, y, CTX)) + 1e-9


def test_two_samples_of_one_distribution_are_further_apart_in_exact_transport_than_in_its_formula() -> None:
    x, again = (
        gaussian(torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)).draw(200, rng(i)) for i in (0, 1)
    )
    exact, formula = (float(d.between(x, again, CTX)) for d in (Wasserstein(), GaussianW2()))
    assert exact > 2 * formula


def test_signs_and_a_gaussian_of_equal_moments_are_apart_in_exact_transport_alone() -> None:
    signs, normal = SameMoments(d=1).pick(rng())
    assert GaussianW2().population(signs, normal) == pytest.approx(0, abs=1e-7)
    assert GramLoss().population(signs, normal) == pytest.approx(0, abs=1e-30)
    n = 4000
    x, y = signs.draw(n, rng(1)), normal.draw(n, rng(2))
    truth = math.sqrt(2 - 2 * math.sqrt(2 / math.pi))
    # Half the signs are not exactly half of n, which costs more than anything else.
    assert float(SlicedWasserstein().between(x, y, CTX)) == pytest.approx(truth, abs=0.03)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(
    "distance",
    [
        Wasserstein(order=1),
        Wasserstein(),
        GaussianW2(),
        GaussianW2(form="source"),
        MeanCovariance(),
        Energy(),
        SlicedWasserstein(),
    ],
)
def test_samples_that_are_not_finite_have_no_distance(distance: Distance, bad: float) -> None:
    x, y = random_rows(6, 3), random_rows(6, 3, seed=1)
    x[2, 1] = bad
    for a, b in ((x, y), (y, x)):
        assert not math.isfinite(float(distance.between(a, b, CTX)))
        assert not math.isfinite(float(distance.loss(a, b, CTX)))
