# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from exact_networks import CTX, matrix_network, on_region, relu_network, seeded_mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_lipschitz.balls import around, uniform_ball
from lipbench_lipschitz.estimators.clever import Clever, fit_end_point
from lipbench_lipschitz.spectral import jacobians, operator_norm
from scipy.stats import kstest, weibull_max
from torch import nn

from lipbench.api import NotApplicable


class HalfSquare(nn.Module):
    """||x||^2 / 2, whose gradient is x."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * x).sum(1, keepdim=True) / 2


def unit_vector(n: int) -> torch.Tensor:
    return torch.eye(n)[:1]


@pytest.mark.parametrize(("n", "tolerance", "sample_max"), [(2, 1e-3, 1.9998), (5, 4e-3, 1.9947), (20, 0.1, 1.9109)])
def test_half_square_in_a_ball_has_gradient_norm_two(n, tolerance, sample_max):
    evidence = on_region(HalfSquare(), n, low=-3, high=3, points=unit_vector(n), dtype=torch.float32)
    value = Clever(batches=500, samples=1024, radius=1.0).compute(evidence, CTX)
    assert value.value == pytest.approx(2, abs=tolerance)
    assert value.extras["sample_max"] == pytest.approx(sample_max, abs=tolerance)
    assert value.extras["sample_max"] <= 2 * (1 + 1e-6)
    assert value.value >= value.extras["sample_max"]
    assert value.extras["ks_p"] > 0.05
    assert (value.extras["kind"], value.direction, value.extras["region"]) == ("estimate", "none", "ball(1)")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_samples_are_the_value_without_a_fit(dtype):
    weight = torch.randn((3, 5), generator=torch.Generator().manual_seed(0))
    value = Clever(batches=8, samples=4).compute(on_region(matrix_network(weight), 5, dtype=dtype), CTX)
    assert value.value == pytest.approx(float(operator_norm(weight, "l2")), rel=1e-6)
    assert not value.extras["fitted"]
    assert value.extras["ks_p"] is None


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), shape=st.floats(1.2, 8), scale=st.floats(1e-3, 1e3))
def test_the_location_is_never_below_the_samples_and_scales_with_them(seed, shape, scale):
    maxima = weibull_max.rvs(shape, loc=5.0, scale=1.0, size=60, random_state=seed)
    fit, scaled = fit_end_point(maxima), fit_end_point(maxima * scale)
    assert fit.location >= maxima.max() == fit.sample_max
    assert scaled.location == pytest.approx(fit.location * scale, rel=1e-3)


def test_the_fit_finds_the_parameters_of_its_own_model():
    maxima = weibull_max.rvs(3.0, loc=5.0, scale=2.0, size=5_000, random_state=1)
    fit = fit_end_point(maxima)
    assert fit.location == pytest.approx(5.0, abs=0.2)
    assert fit.shape == pytest.approx(3.0, rel=0.2)
    assert fit.scale == pytest.approx(2.0, rel=0.2)
    assert fit.ks_p is not None
    assert fit.ks_p > 0.05


def test_no_other_fit_is_more_likely():
    maxima = weibull_max.rvs(3.0, loc=5.0, scale=1.0, size=50, random_state=2)
    fit = fit_end_point(maxima)
    other = weibull_max.fit(maxima, 3.0, loc=maxima.max() + 0.1, scale=maxima.std())
    ours = weibull_max.nnlf((fit.shape, fit.location, fit.scale), maxima)
    assert ours <= weibull_max.nnlf(other, maxima) + 1e-6


def test_an_atom_at_the_maximum_keeps_the_location_there_and_fails_the_test_of_fit():
    value = Clever(batches=50, samples=16).compute(on_region(relu_network((2, 8, 2)), 2), CTX)
    assert value.extras["fitted"]
    assert value.extras["ks_p"] < 1e-6
    assert 2.090107 - 1e-6 <= value.extras["sample_max"] <= value.value < 2.1


def test_the_margin_is_estimated_with_the_dual_norm():
    network = seeded_mlp((4, 10, 3), nn.Tanh())
    for norm, dual in (("l2", 2), ("linf", 1), ("l1", float("inf"))):
        evidence = on_region(network, 4, norm, radius=0.2, points=2)
        value = Clever(batches=20, samples=50, margin=True, centres=2).compute(evidence, CTX)
        J = jacobians(evidence.probe, evidence.points.double())
        out = evidence.probe(evidence.points)
        for centre in range(2):
            c, j = out[centre].topk(2).indices
            at_centre = float(torch.linalg.vector_norm(J[centre, c] - J[centre, j], dual))
            assert at_centre <= value.extras["centres"][centre] <= 2 * at_centre
            gap = float(out[centre, c] - out[centre, j])
            assert value.extras["score"][centre] == pytest.approx(min(gap / value.extras["centres"][centre], 0.2))
        assert value.value == max(value.extras["centres"])
        assert value.extras["quantity"] == "margin"


def test_reruns_agree_and_costs_are_counted():
    evidence = on_region(seeded_mlp((4, 10, 3), nn.Tanh()), 4, radius=0.5)
    estimator = Clever(batches=10, samples=20)
    first = estimator.compute(evidence, CTX)
    assert first == estimator.compute(evidence, CTX)
    assert (first.forwards, first.backwards) == (200, 600)


def test_what_clever_cannot_do_is_said():
    with pytest.raises(NotApplicable, match="margin: true needs a radius"):
        Clever(margin=True).compute(on_region(relu_network((2, 4, 2)), 2), CTX)
    with pytest.raises(NotApplicable, match="margin: true"):
        Clever().compute(on_region(matrix_network(torch.ones(70, 70)), 70, points=1), CTX)


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("l1", 1), ("linf", float("inf"))])
def test_balls_are_filled_uniformly(norm, order):
    x = uniform_ball(4000, 5, norm, torch.Generator().manual_seed(0))
    radius = torch.linalg.vector_norm(x.double(), order, dim=1).numpy()
    assert radius.max() <= 1 + 1e-6
    assert kstest(radius**5, "uniform").pvalue > 0.01  # the volume within r grows as r^n
    assert np.abs(x.mean(0).numpy()).max() < 0.05


def test_draws_around_centres_stay_in_the_box():
    evidence = on_region(relu_network((2, 4, 2)), 2, radius=0.5, points=3)
    x = around(evidence, evidence.points, 0.5, 100, torch.Generator().manual_seed(0))
    assert x.shape == (300, 2)
    assert float(x.abs().max()) <= 1
    assert float((x - evidence.points.repeat_interleave(100, 0)).norm(dim=1).max()) <= 0.5 + 1e-6


@pytest.mark.parametrize("radius", [None, 0.3])
def test_the_largest_draw_is_reported(radius):
    evidence = on_region(seeded_mlp((4, 10, 3), nn.Tanh()), 4, radius=radius, points=3)
    extras = Clever(batches=10, samples=20, centres=3).compute(evidence, CTX).extras
    at = torch.tensor([extras["witness"]["at"]], dtype=torch.float64)
    assert float(operator_norm(jacobians(evidence.probe, at), "l2")) == pytest.approx(extras["sample_max"], rel=1e-9)
    assert 0 <= extras["witness"]["batch"] < 10
    assert 0 <= extras["witness"]["sample"] < 20
    if radius is None:
        assert extras["witness"]["centre"] is None
    else:
        assert float((at - evidence.points[extras["witness"]["centre"]]).norm()) <= radius * (1 + 1e-6)
