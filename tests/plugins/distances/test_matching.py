# SPDX-License-Identifier: Apache-2.0
"""Gradient matching: each distance is brought to 0, and what it does not see is left."""

from __future__ import annotations

import pytest
import torch
from distance_cases import CTX, compared
from lipbench_distances.base import Distance
from lipbench_distances.distances.by_moments import GaussianW2, GramLoss, MeanCovariance
from lipbench_distances.distances.transport import SlicedWasserstein, Wasserstein
from lipbench_distances.metrics.matching import GradientAtZero, Matching
from lipbench_distances.pairs.gaussians import Marron
from torch import Tensor

from lipbench.api import Context, NotFinite, Value


def matched(distance: Distance, steps: int = 500, rows: int = 100) -> Value:
    return Matching(rows=rows, steps=steps).compute(compared(Marron(), distance), CTX)


def test_the_gram_loss_leaves_the_split_of_mean_and_covariance_undone() -> None:
    left = matched(GramLoss())
    assert left.extras["loss"][-1] < 1e-15
    assert left.extras["gaussian_w2"] > 0.8
    assert left.extras["mean_error"] > 0.6


def test_the_gaussian_distance_matches_two_moments_and_leaves_the_rest() -> None:
    left = matched(GaussianW2())
    assert left.extras["mean_error"] < 1e-5
    assert left.extras["cov_error"] < 1e-4
    assert left.extras["gram_loss"] < 1e-8
    assert left.value > 0.5


def test_sliced_transport_comes_nearer_than_chance() -> None:
    left = matched(SlicedWasserstein(projections=30), steps=300)
    assert left.value < left.extras["baseline"] < left.extras["start"]


def test_exact_transport_leaves_next_to_nothing() -> None:
    assert matched(Wasserstein(), steps=200, rows=30).value < 0.2


def test_without_a_step_nothing_moves() -> None:
    left = matched(GramLoss(), steps=0)
    assert left.value == left.extras["start"]
    clouds = left.extras["clouds"]
    assert clouds["start"] == clouds["end"]
    assert len(clouds["target"]) == 100


def test_what_is_not_finite_is_said_with_its_step() -> None:
    class Fades(GramLoss):
        def loss(self, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
            return (x - x.detach()).abs().sqrt().sum()

    with pytest.raises(NotFinite, match="the gradient of step 0 is not finite"):
        matched(Fades(), steps=3)
    with pytest.raises(NotFinite, match="rows is not finite"):
        GradientAtZero().compute(compared(Marron(), Fades()), CTX)


@pytest.mark.parametrize(
    "distance", [GramLoss(), GaussianW2(), MeanCovariance(), Wasserstein()], ids=lambda d: type(d).__name__
)
def test_gradients_vanish_at_equal_samples_and_not_elsewhere(distance: Distance) -> None:
    value = GradientAtZero().compute(compared(Marron(), distance), CTX)
    assert value.value == pytest.approx(0, abs=1e-9)
    assert value.extras["few_rows"] > 0


def test_a_root_has_no_gradient_at_zero_so_the_loss_is_its_square() -> None:
    x = torch.zeros((3, 2), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(GaussianW2().between(x, x.detach(), CTX), x)
    assert bool(gradient.isnan().any())
    (gradient,) = torch.autograd.grad(GaussianW2().loss(x, x.detach(), CTX), x)
    assert bool((gradient == 0).all())
