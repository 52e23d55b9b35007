# SPDX-License-Identifier: Apache-2.0
"""Few, equal, huge, tiny, many and broken rows: every distance is right or says what is missing."""

from __future__ import annotations

import math

import pytest
import torch
from distance_cases import CTX, random_rows
from lipbench_distances.base import Distance
from lipbench_distances.distances.by_kernels import Energy, KernelMMD
from lipbench_distances.distances.by_moments import Frechet, GaussianW2, GramLoss, MeanCovariance, MeanDifference
from lipbench_distances.distances.transport import Sinkhorn, SlicedWasserstein, Wasserstein
from torch import Tensor

from lipbench.api import InvalidInput

TRANSPORT: list[Distance] = [Wasserstein(order=1), Wasserstein(), Sinkhorn(), SlicedWasserstein(), SlicedWasserstein(order=1)]
OTHERS: list[Distance] = [GramLoss(), MeanCovariance(), MeanDifference(), GaussianW2(), Frechet(), KernelMMD(), KernelMMD(kernel="laplace"),
                          KernelMMD(bandwidth=None), KernelMMD(kernel="polynomial"), Energy(), Energy(squared=True)]  # fmt: skip
ALL = [*TRANSPORT, *OTHERS]
HOMOGENEOUS = [d for d in ALL if not isinstance(d, (KernelMMD, MeanCovariance))] + [
    KernelMMD(kernel="polynomial"),
    KernelMMD(bandwidth=None),
]


def name(distance: Distance) -> str:
    return "-".join([type(distance).__name__, *(str(v) for v in vars(distance).values())])


def between(distance: Distance, x: Tensor, y: Tensor) -> float:
    return float(distance.between(x, y, CTX))


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("distance", HOMOGENEOUS, ids=name)
def test_scale_is_a_factor_however_tiny_or_huge(distance: Distance, scale: float) -> None:
    x, y = random_rows(40, 3), random_rows(30, 3, seed=1, shift=1)
    assert between(distance, scale * x, scale * y) == pytest.approx(scale**distance.degree * between(distance, x, y), rel=1e-9)


@pytest.mark.parametrize("distance", TRANSPORT, ids=name)
def test_transport_is_the_same_far_from_the_origin(distance: Distance) -> None:
    x, y = random_rows(40, 3), random_rows(30, 3, seed=1, shift=1)
    assert between(distance, x + 1e7, y + 1e7) == pytest.approx(between(distance, x, y), rel=1e-5)


@pytest.mark.parametrize("distance", [Wasserstein(order=1), Wasserstein(), GaussianW2(), MeanDifference()], ids=name)
def test_single_rows_are_as_far_apart_as_they_are(distance: Distance) -> None:
    x, y = random_rows(1, 3), random_rows(1, 3, seed=1)
    apart = float(torch.linalg.vector_norm(x - y))
    assert between(distance, x, y) == pytest.approx(apart, rel=1e-12)
    assert between(distance, x.expand(7, 3), y.expand(5, 3)) == pytest.approx(apart, rel=1e-9)
    assert between(distance, x[:, :1], y[:, :1]) == pytest.approx(abs(float(x[0, 0] - y[0, 0])), rel=1e-12)


@pytest.mark.parametrize("distance", ALL, ids=name)
def test_repeated_rows_of_one_point_are_at_no_distance(distance: Distance) -> None:
    x = random_rows(1, 4)
    assert between(distance, x.expand(6, 4), x.expand(9, 4)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("distance", [d for d in ALL if not isinstance(d, Sinkhorn)], ids=name)
def test_numbers_of_rows_do_not_count_only_their_shares(distance: Distance) -> None:
    x, y = random_rows(12, 2), random_rows(9, 2, seed=1)
    if getattr(distance, "bandwidth", 1) is not None:
        assert between(distance, x.repeat(3, 1), y) == pytest.approx(between(distance, x, y), rel=1e-9)


@pytest.mark.parametrize("distance", ALL, ids=name)
def test_floats_of_any_width_and_integers_are_read_in_float64(distance: Distance) -> None:
    x, y = ((3 * random_rows(20 + 5 * s, 3, seed=s)).round() for s in (0, 1))
    expected = between(distance, x, y)
    for a, b in ((x.float(), y.float()), (x.long(), y.long()), (x.half(), y)):
        assert between(distance, a, b) == expected


@pytest.mark.parametrize("distance", ALL, ids=name)
def test_what_is_no_pair_of_samples_is_refused(distance: Distance) -> None:
    x = random_rows(5, 3)
    for a, b in ((x, x[:, :2]), (x[:0], x), (x, x[:, :0]), (x[:, 0], x[:, 0]), (x[None], x[None])):
        with pytest.raises(InvalidInput, match=r"two samples of shape \(rows, features\)"):
            distance.between(a, b, CTX)


@pytest.mark.parametrize("distance", ALL, ids=name)
def test_a_row_that_is_nan_leaves_no_number(distance: Distance) -> None:
    x, y = random_rows(6, 3), random_rows(8, 3, seed=1)
    broken = x.clone()
    broken[2, 1] = math.nan
    assert math.isnan(between(distance, broken, y))
    assert math.isnan(between(distance, y, broken))


def test_an_unbiased_estimate_needs_two_rows() -> None:
    with pytest.raises(InvalidInput, match="needs two rows of each sample; write estimator: v"):
        between(KernelMMD(kernel="cubic", estimator="u"), random_rows(1, 3), random_rows(4, 3))


@pytest.mark.parametrize(
    "distance", [Wasserstein(order=1), Wasserstein(), Sinkhorn(epsilon=1, steps=100, tolerance=1e-11)], ids=name
)
def test_without_a_matrix_of_all_pairs_values_and_gradients_are_the_same(
    distance: Distance, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = random_rows(40, 3), random_rows(30, 3, seed=1, shift=1)
    x.requires_grad_()

    def both() -> tuple[float, Tensor]:
        loss = distance.loss(x, y, CTX)
        return float(loss.detach()), torch.autograd.grad(loss, x)[0]

    whole, gradient = both()
    monkeypatch.setattr("lipbench_distances.distances.transport._DENSE", 10)
    monkeypatch.setattr("lipbench_distances.distances.transport._BATCH", 300)
    value, other = both()
    assert value == pytest.approx(whole, rel=1e-8)
    torch.testing.assert_close(other, gradient, rtol=1e-6, atol=1e-9)
    far = [z.detach() + 1e7 for z in (x, y)]
    assert float(distance.loss(*far, CTX)) == pytest.approx(whole, rel=1e-5)


def test_the_median_looks_at_some_rows_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lipbench_distances.distances.by_kernels._MEDIAN", 100)
    x, y = random_rows(300, 2), random_rows(300, 2, seed=1, shift=1)
    whole = float(torch.cdist(x, y).median())
    found, by_all = between(KernelMMD(bandwidth=None), x, y), between(KernelMMD(bandwidth=whole), x, y)
    assert found != by_all
    assert found == pytest.approx(by_all, rel=0.1)
