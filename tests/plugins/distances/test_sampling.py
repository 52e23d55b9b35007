# SPDX-License-Identifier: Apache-2.0
"""Separation, power, noise and bias of samples, against what theory says of them."""

from __future__ import annotations

import pytest
import torch
from distance_cases import CTX, compared, source
from lipbench_distances.base import Distance, Distribution
from lipbench_distances.distances.by_kernels import KernelMMD
from lipbench_distances.distances.by_moments import GaussianW2, GramLoss, MeanCovariance
from lipbench_distances.distances.transport import SlicedWasserstein, Wasserstein
from lipbench_distances.metrics.sampling import Bias, NoiseFloor, Power, Separation
from lipbench_distances.metrics.values import PopulationDistance, SampleDistance
from lipbench_distances.pairs.gaussians import EqualGram, Marron, RandomGaussians
from lipbench_distances.pairs.moment_twins import SameMoments
from lipbench_distances.task import Compared
from torch import Tensor

from lipbench.api import Context, NotApplicable, NotFinite


def expected_gram_loss(p: Distribution, q: Distribution, n: int) -> float:
    """By Isserlis' theorem, for Gaussians of equal Gram matrix: the sum of the variances of all entries."""

    def variances(r: Distribution) -> Tensor:
        c, m, v = r.cov, r.mean, r.cov.diagonal()
        cross = torch.outer(m**2, v) + torch.outer(v, m**2) + 2 * torch.outer(m, m) * c
        return torch.outer(v, v) + c**2 + cross

    return float((variances(p) + variances(q)).sum()) / n


@pytest.mark.parametrize(("pair", "at_10_000"), [("XY", 0.0030375), ("WZ", 0.0018)])
def test_the_gram_loss_of_samples_is_noise_of_the_size_that_isserlis_gives(pair: str, at_10_000: float) -> None:
    p, q = (source(name) for name in pair)
    assert expected_gram_loss(p, q, 10_000) == pytest.approx(at_10_000, rel=1e-9)
    evidence = compared(Marron(first=pair[0], second=pair[1]), GramLoss())  # type: ignore[arg-type]
    for n in (100, 1000):
        found = evidence.repeated(n, 300).across
        error = float(found.std()) / 300**0.5
        assert float(found.mean()) == pytest.approx(expected_gram_loss(p, q, n), abs=4 * error)


def test_the_printed_losses_lie_within_the_band_of_samples() -> None:
    for pair, printed in (("XY", 0.00204134135224), ("WZ", 0.000885074960646)):
        evidence = compared(Marron(first=pair[0], second=pair[1]), GramLoss())  # type: ignore[arg-type]
        value = SampleDistance(rows=10_000, repeats=60).compute(evidence, CTX)
        assert value.interval is not None
        assert value.interval.low < printed < value.interval.high


@pytest.mark.parametrize(
    ("distance", "low", "high"),
    [(GramLoss(), 0.25, 0.75), (GaussianW2(), 1, 1), (MeanCovariance(), 0.99, 1), (SlicedWasserstein(), 1, 1)],
    ids=lambda v: type(v).__name__,
)
def test_only_the_gram_loss_is_blind_to_the_source_pair(distance: Distance, low: float, high: float) -> None:
    value = Separation(rows=200, repeats=30).compute(compared(Marron(), distance), CTX)
    assert low <= value.value <= high
    assert value.interval is not None
    assert value.interval.low <= value.value <= value.interval.high
    assert value.direction == "higher"


@pytest.mark.parametrize("distance", [GramLoss(), GaussianW2(), MeanCovariance()], ids=lambda d: type(d).__name__)
def test_second_moments_are_blind_to_signs_and_a_gaussian(distance: Distance) -> None:
    evidence = compared(SameMoments(), distance)
    assert 0.25 < Separation(rows=500, repeats=40).compute(evidence, CTX).value < 0.75
    assert Power(rows=500, repeats=40).compute(evidence, CTX).value < 0.3
    assert NoiseFloor(rows=500, repeats=40).compute(evidence, CTX).value == pytest.approx(1, abs=0.2)
    sliced = compared(SameMoments(), SlicedWasserstein())
    assert Separation(rows=500, repeats=10).compute(sliced, CTX).value == 1
    assert Power(rows=500, repeats=10).compute(sliced, CTX).value == 1


def test_a_pair_of_moderate_t_needs_more_rows() -> None:
    evidence = compared(EqualGram(d=5, t=0.3), GaussianW2())
    few, many = (Separation(rows=n, repeats=30).compute(evidence, CTX).value for n in (20, 2000))
    assert few < 0.95 < many


def test_the_unbiased_estimate_has_no_bias_and_the_others_a_positive_one() -> None:
    plain, unbiased = (
        Bias(rows=50, repeats=200).compute(compared(Marron(first="X", second="Z"), d), CTX)
        for d in (GramLoss(), KernelMMD(kernel="polynomial", estimator="u"))
    )
    assert unbiased.interval is not None
    assert unbiased.interval.low < 0 < unbiased.interval.high
    assert plain.value > unbiased.value
    assert plain.extras["truth"] == pytest.approx(9.75)


def test_exact_transport_is_biased_more_than_its_formula_on_moments() -> None:
    pair = RandomGaussians(d=8)
    exact, moments = (Bias(rows=50, repeats=20).compute(compared(pair, d), CTX) for d in (Wasserstein(), GaussianW2()))
    assert exact.extras["truth"] == pytest.approx(moments.extras["truth"])
    assert exact.value > moments.value > 0


def test_noise_is_rooted_to_the_degree_of_the_distance() -> None:
    plain, squared = (
        NoiseFloor(rows=50, repeats=20).compute(compared(Marron(), GaussianW2(squared=s)), CTX) for s in (False, True)
    )
    assert plain.value == pytest.approx(squared.value, rel=1e-6)


def test_repeats_are_drawn_once_and_are_the_same_for_every_distance() -> None:
    seen: list[Tensor] = []

    class Watch(GramLoss):
        def between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
            seen.append(x)
            return super().between(x, y, ctx)

    evidence = compared(Marron(), Watch())
    for metric in (Separation(rows=10, repeats=4), Power(rows=10, repeats=4), NoiseFloor(rows=10, repeats=4)):
        metric.compute(evidence, CTX)
    assert len(seen) == 12
    again = seen.copy()
    seen.clear()
    Separation(rows=10, repeats=4).compute(compared(Marron(), Watch()), CTX)
    assert all(bool((a == b).all()) for a, b in zip(again, seen, strict=True))
    seen.clear()
    Separation(rows=10, repeats=4).compute(compared(Marron(), Watch(), seed=1), CTX)
    assert not any(bool((a == b).all()) for a, b in zip(again, seen, strict=True))


def test_of_a_family_every_repeat_sees_another_member() -> None:
    evidence = compared(EqualGram(d=4), GaussianW2())
    truths = [GaussianW2().population(*evidence.member(i)) for i in range(6)]
    assert len(set(truths)) == 6
    value = Bias(rows=4000, repeats=6).compute(evidence, CTX)
    assert value.extras["truth"] == pytest.approx(sum(truths) / 6)
    # Of its own member each sample is near, while the members are far from each other.
    assert value.extras["spread"] < 0.2 * float(torch.tensor(truths).std())
    fixed = compared(Marron(), GaussianW2())
    assert fixed.member(0) is fixed.member(1) is fixed.distributions


def test_a_distance_that_is_nan_fails_with_its_count() -> None:
    class Broken(GramLoss):
        def between(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
            return x.sum() * torch.nan

    with pytest.raises(NotFinite, match="12 of 12 distances of 10 rows are NaN"):
        Separation(rows=10, repeats=4).compute(compared(Marron(), Broken()), CTX)


def test_the_distance_of_the_distributions_must_be_known() -> None:
    def value(evidence: Compared) -> float:
        return PopulationDistance().compute(evidence, CTX).value

    assert value(compared(Marron(first="W", second="Z"), GaussianW2(squared=True))) == pytest.approx(6)
    with pytest.raises(NotApplicable, match="no formula is known for the SlicedWasserstein"):
        value(compared(Marron(), SlicedWasserstein()))
