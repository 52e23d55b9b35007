# SPDX-License-Identifier: Apache-2.0
"""Distances of means and covariances, against closed forms, POT, torchmetrics and the defects of the published formula."""

from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import torch
from distance_cases import CTX, normal, random_rows, rng, source
from hypothesis import given
from hypothesis import strategies as st
from lipbench_distances.base import Distribution
from lipbench_distances.distances.by_kernels import KernelMMD
from lipbench_distances.distances.by_moments import Frechet, GaussianW2, GramLoss, MeanCovariance, MeanDifference
from lipbench_distances.moments import gaussian_w2_published, moments
from lipbench_distances.pairs.gaussians import RandomGaussians, gaussian
from scipy.linalg import sqrtm
from torchmetrics.image.fid import _compute_fid

W2, SQUARED, PUBLISHED = GaussianW2(), GaussianW2(squared=True), GaussianW2(form="source")
ROUNDING = 1e-12

# W2^2 in closed form: eigenvalues of C_X C_Y are 0 and (9 -+ sqrt 5) / 8; one point mass leaves traces alone.
EXACT = {
    "XY": 13 / 2 - 2 * math.sqrt(9 / 4 + math.sqrt(19) / 2),
    "WZ": 6.0,
    "XW": 6.5,
    "YW": 5.5,
}


@pytest.mark.parametrize("pair", EXACT)
def test_closed_forms_of_the_source_pairs(pair: str) -> None:
    assert SQUARED.population(source(pair[0]), source(pair[1])) == pytest.approx(EXACT[pair], abs=ROUNDING)


@pytest.mark.parametrize(
    ("pair", "w2", "gram"),
    [
        ("XY", 1.513521898094788, 0), ("WZ", 2.449489742783178, 0), ("YZ", 1.963224054695595, 9.75),
        ("XZ", 1.916134879191392, 9.75), ("XW", 2.549509756796392, 9.75), ("YW", 2.345207879911715, 9.75),
    ],
)  # fmt: skip
def test_all_pairs_of_the_source(pair: str, w2: float, gram: float) -> None:
    p, q = (source(name) for name in pair)
    assert W2.population(p, q) == pytest.approx(w2, abs=1e-10)
    assert GramLoss().population(p, q) == pytest.approx(gram, abs=5e-32)


@pytest.mark.parametrize("name", "XYWZ")
def test_a_distribution_is_at_no_distance_from_itself(name: str) -> None:
    p = source(name)
    assert SQUARED.population(p, p) == pytest.approx(0, abs=ROUNDING)
    assert W2.population(p, p) == pytest.approx(0, abs=2e-7)


def test_the_published_formula_is_right_by_its_rounding_and_wrong_about_itself() -> None:
    x, y = source("X"), source("Y")
    found = PUBLISHED.population(x, y)
    assert found == pytest.approx(1.5135220191046239, abs=1e-9)
    assert found != pytest.approx(math.sqrt(EXACT["XY"]), abs=1e-8)
    assert found == pytest.approx(math.sqrt(EXACT["XY"]), abs=1e-6)
    assert math.isnan(PUBLISHED.population(y, y) or 0.0)


def test_the_published_formula_rounds_small_eigenvalues_away() -> None:
    """N(0, sqrt(4.9e-6) I) in 512 dimensions against itself: each eigenvalue of C C becomes 0, and 2 tr C is left."""
    d = 512
    cov = math.sqrt(4.9e-6) * torch.eye(d, dtype=torch.float64)
    p = Distribution(mean=torch.zeros(d, dtype=torch.float64), cov=cov, gaussian=True, draw=lambda n, g: cov[:n])
    assert PUBLISHED.population(p, p) == pytest.approx(math.sqrt(2 * d * math.sqrt(4.9e-6)), abs=1e-9)
    assert PUBLISHED.population(p, p) == pytest.approx(1.5056, abs=1e-4)
    assert SQUARED.population(p, p) == pytest.approx(0, abs=ROUNDING)


def test_the_published_formula_is_not_scale_invariant_and_the_stable_one_is() -> None:
    p, q = RandomGaussians(d=6).pick(rng())
    small = [gaussian(1e-3 * r.mean, 1e-6 * r.cov) for r in (p, q)]
    assert W2.population(*small) == pytest.approx(1e-3 * W2.population(p, q), rel=1e-9)
    assert PUBLISHED.population(*small) != pytest.approx(1e-3 * (PUBLISHED.population(p, q) or 0.0), rel=1e-3)


def test_rank_deficient_covariances_of_high_dimension_stay_real() -> None:
    d, rank = 512, 200
    a, b = (rng(i).standard_normal((rank, d)) for i in (0, 1))
    one, other = (torch.from_numpy(z.T @ z / rank) for z in (a, b))
    assert bool(torch.linalg.eigvals(one @ other).imag.any()), "the product has complex eigenvalues by rounding"
    nothing = torch.zeros(d, dtype=torch.float64)
    p, q = (Distribution(mean=nothing, cov=c, gaussian=True, draw=lambda n, g: nothing) for c in (one, other))
    exact = np.trace(a.T @ a / rank) + np.trace(b.T @ b / rank) - 2 * np.linalg.norm(a @ b.T / rank, "nuc")
    assert SQUARED.population(p, q) == pytest.approx(exact, rel=1e-10)


def test_conjugate_eigenvalues_leave_the_published_formula_real() -> None:
    # A product of two covariances has such eigenvalues by rounding alone; a rotation shows what is done with them.
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    nothing, one = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    found = gaussian_w2_published(nothing, turn + 2 * one, nothing, one)
    assert not bool(found.isnan())


def test_the_published_formula_has_no_gradient_of_the_overlap() -> None:
    x, y = random_rows(50, 3).requires_grad_(), random_rows(50, 3, seed=1, shift=1)
    (published,) = torch.autograd.grad(PUBLISHED.loss(x, y, CTX), x)
    mean, cov = moments(x)
    (rest,) = torch.autograd.grad((mean - y.mean(0)).square().sum() + cov.trace(), x)
    torch.testing.assert_close(published, rest)
    (stable,) = torch.autograd.grad(W2.loss(x, y, CTX), x)
    assert not torch.allclose(stable, rest, rtol=0.1)


@pytest.mark.parametrize("d", [1, 3, 16])
def test_pot_agrees(d: int) -> None:
    p, q = RandomGaussians(d=d).pick(rng(d))
    theirs = ot.gaussian.bures_wasserstein_distance(p.mean, q.mean, p.cov, q.cov)
    assert W2.population(p, q) == pytest.approx(float(theirs), rel=1e-7)


def test_pot_agrees_on_the_degenerate_pair_of_the_source() -> None:
    x, y = source("X"), source("Y")
    theirs = ot.gaussian.bures_wasserstein_distance(*(t.numpy() for t in (x.mean, y.mean, x.cov, y.cov)))
    assert W2.population(x, y) == pytest.approx(float(theirs), abs=1e-7)


def test_the_square_root_of_scipy_agrees() -> None:
    p, q = RandomGaussians(d=6).pick(rng())
    one, other = p.cov.numpy(), q.cov.numpy()
    half = sqrtm(one)
    square = ((p.mean - q.mean).numpy() ** 2).sum() + np.trace(one + other - 2 * sqrtm(half @ other @ half).real)
    assert SQUARED.population(p, q) == pytest.approx(square, rel=1e-9)


def test_the_source_checks_squares_on_one_triple_that_passes() -> None:
    xy, yz, xz = (W2.population(source(a), source(b)) for a, b in ("XY", "YZ", "XZ"))
    assert (xy**2 + yz**2, xz**2) == pytest.approx((6.145, 3.672), abs=5e-4)
    assert (xz, xy + yz) == pytest.approx((1.9161, 3.4767), abs=5e-5)


def test_the_squared_distance_of_samples_is_the_frechet_inception_distance() -> None:
    x, y = random_rows(200, 8), random_rows(150, 8, seed=1, shift=0.5)
    theirs = _compute_fid(*moments(x), *moments(y))
    assert float(Frechet().between(x, y, CTX)) == pytest.approx(float(theirs), rel=1e-6)


def test_one_dimension_and_commuting_covariances() -> None:
    assert W2.population(normal([1], [[4]]), normal([3], [[1]])) == pytest.approx(math.sqrt(5))
    p, q = normal([0, 0], [[1, 0], [0, 4]]), normal([0, 0], [[9, 0], [0, 1]])
    assert W2.population(p, q) == pytest.approx(math.sqrt(5))


def test_special_cases() -> None:
    p, q = RandomGaussians(d=4).pick(rng())
    assert W2.population(p, gaussian(q.mean, p.cov)) == pytest.approx(MeanDifference().population(p, q), rel=1e-7)
    point = gaussian(q.mean, torch.zeros_like(q.cov))
    assert SQUARED.population(p, point) == pytest.approx(MeanDifference().population(p, q) ** 2 + float(p.cov.trace()))
    s = 1.7
    assert SQUARED.population(p, gaussian(p.mean, s**2 * p.cov)) == pytest.approx((1 - s) ** 2 * float(p.cov.trace()))


@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 10))
def test_invariances(seed: int, scale: float) -> None:
    d = 3
    p, q = RandomGaussians(d=d).pick(rng(seed))
    turn = torch.linalg.qr(torch.from_numpy(rng(seed + 1).standard_normal((d, d)))).Q
    shift = torch.ones(d, dtype=torch.float64)
    turned = [gaussian(turn @ r.mean, turn @ r.cov @ turn.mT) for r in (p, q)]
    moved = [gaussian(r.mean + shift, r.cov) for r in (p, q)]
    scaled = [gaussian(scale * r.mean, scale**2 * r.cov) for r in (p, q)]
    w2, gram = W2.population(p, q), GramLoss().population(p, q) or 0.0
    assert W2.population(*turned) == pytest.approx(w2, rel=1e-6)
    assert W2.population(*moved) == pytest.approx(w2, rel=1e-6)
    assert W2.population(*scaled) == pytest.approx(scale * w2, rel=1e-6)
    assert GramLoss().population(*turned) == pytest.approx(gram, rel=1e-9)
    assert GramLoss().population(*scaled) == pytest.approx(scale**4 * gram, rel=1e-9)


def test_the_gram_loss_changes_under_a_translation_of_both() -> None:
    p, q = RandomGaussians(d=3).pick(rng())
    moved = [gaussian(r.mean + 1, r.cov) for r in (p, q)]
    assert GramLoss().population(*moved) != pytest.approx(GramLoss().population(p, q), rel=0.01)


def test_the_optimal_map_of_pot_costs_the_squared_distance() -> None:
    p, q = RandomGaussians(d=5).pick(rng())
    s, shift = ot.gaussian.bures_wasserstein_mapping(p.mean, q.mean, p.cov, q.cov)
    torch.testing.assert_close(s @ p.cov @ s, q.cov, rtol=0, atol=1e-10)
    torch.testing.assert_close(p.mean @ s + shift.flatten(), q.mean)
    rest = torch.eye(5, dtype=torch.float64) - s
    cost = float((p.cov @ rest @ rest).trace() + (p.mean - q.mean).square().sum())
    assert cost == pytest.approx(SQUARED.population(p, q), rel=1e-9)


def test_the_gram_loss_is_a_squared_mmd_of_the_squared_product() -> None:
    x, y = random_rows(60, 4), random_rows(80, 4, seed=1)
    loss = float(GramLoss().between(x, y, CTX))
    kernel = KernelMMD(kernel="polynomial", squared=True)
    assert float(kernel.between(x, y, CTX)) == pytest.approx(loss, rel=1e-11)
    by_hand = ((x @ x.T) ** 2).mean() + ((y @ y.T) ** 2).mean() - 2 * ((x @ y.T) ** 2).mean()
    assert loss == pytest.approx(float(by_hand), rel=1e-11)


def test_the_convention_of_gatys_is_that_of_his_paper() -> None:
    x, y = random_rows(60, 4), random_rows(60, 4, seed=1)
    n, d = x.shape
    by_hand = ((x.T @ x - y.T @ y) ** 2).sum() / (4 * d**2 * n**2)
    assert float(GramLoss(normalise="gatys").between(x, y, CTX)) == pytest.approx(float(by_hand), rel=1e-12)
    assert GramLoss(normalise="gatys").population(source("X"), source("Z")) is None


def test_mean_and_covariance_tell_the_source_pairs_apart_as_well() -> None:
    assert MeanCovariance().population(source("X"), source("Y")) > 1
    assert MeanCovariance().population(source("W"), source("Z")) == pytest.approx(math.sqrt(3 + 9))


@pytest.mark.parametrize("distance", [GramLoss(), GramLoss(squared=False), MeanCovariance(), MeanDifference(), W2, Frechet()])
def test_samples_are_distributions_of_their_own_moments(distance: GramLoss) -> None:
    x, y = random_rows(40, 3), random_rows(50, 3, seed=1)
    one, other = (gaussian(*moments(z)) for z in (x, y))
    assert float(distance.between(x, y, CTX)) == pytest.approx(distance.population(one, other), rel=1e-9)
