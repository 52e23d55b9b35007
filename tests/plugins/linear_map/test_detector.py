# SPDX-License-Identifier: Apache-2.0
"""The linear detector: scikit-learn's scores, closed forms for Gaussians, and awkward features."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lipbench_basics.statistics import auroc, hanley_mcneil
from lipbench_linear_map import detector as detector_module
from lipbench_linear_map.detector import train_detector
from lipbench_linear_map.maps import OLSAffine
from scipy.special import ndtr
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor

from lipbench.api import Context, InvalidInput, NotFinite


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("n", "d"), [(100, 8), (20, 50)])
def test_the_score_is_scikit_learns_decision_function(n: int, d: int) -> None:
    clean, adversarial = normal(n, d) + 5, normal(n // 2, d, seed=1) + 5.3
    clean[:, 2] = adversarial[:, 2] = 0.1
    pipeline = make_pipeline(StandardScaler(), LinearSVC(C=0.3, max_iter=20_000, random_state=0))
    x = torch.cat([clean, adversarial])
    pipeline.fit(x.numpy(), np.repeat([0, 1], [n, n // 2]))
    found = train_detector(clean, adversarial, C=0.3)
    assert found.weight.shape == (d, 1)
    assert found.bias.shape == (1,)
    expected = torch.from_numpy(pipeline.decision_function(x.numpy()))
    torch.testing.assert_close(found(x)[:, 0], expected, rtol=0, atol=1e-10)
    again = train_detector(clean, adversarial, C=0.3)
    assert torch.equal(found.weight, again.weight)
    assert torch.equal(found.bias, again.bias)


@pytest.mark.parametrize(("distance", "published"), [(0.5, 0.638), (1.0, 0.760), (2.0, 0.921)])
def test_gaussians_with_one_covariance_have_a_closed_form(distance: float, published: float) -> None:
    theory = float(ndtr(distance / math.sqrt(2)))
    assert theory == pytest.approx(published, abs=5e-4)
    n, mixing = 5000, normal(6, 6, seed=9)
    shift = torch.zeros(6, dtype=torch.float64)
    shift[0] = distance
    clean, adversarial = (normal(2 * n, 6, seed=s) for s in (1, 2))
    clean, adversarial = clean @ mixing, (adversarial + shift) @ mixing  # the Mahalanobis distance stays
    found = train_detector(clean[:n], adversarial[:n])
    value = auroc(found(clean[n:])[:, 0], found(adversarial[n:])[:, 0])
    assert abs(value - theory) < 4 * hanley_mcneil(theory, n, n)


@pytest.mark.parametrize(("tau", "published"), [(0.5, 0.897), (1.0, 0.841), (2.0, 0.736)])
def test_a_noisy_source_costs_what_the_closed_form_says(tau: float, published: float) -> None:
    n, d, distance = 4000, 6, 2.0
    theory = float(ndtr(distance / math.sqrt(2 * (1 + tau**2))))
    assert theory == pytest.approx(published, abs=5e-4)
    shift = torch.full((d,), distance / math.sqrt(d), dtype=torch.float64)
    y = torch.cat([normal(3 * n, d, seed=1), normal(3 * n, d, seed=2) + shift])
    x = y + tau * normal(6 * n, d, seed=3)
    part = torch.arange(6 * n) % 3
    adversarial = torch.arange(6 * n) >= 3 * n
    native = train_detector(y[(part == 0) & ~adversarial], y[(part == 0) & adversarial])
    ols = OLSAffine()
    mapping = ols.fit(x[part == 1], ols.factorise(x[part == 1]), y[part == 1], Context(scope="test"))
    for rows, score, expected in ((y, native, float(ndtr(distance / math.sqrt(2)))), (x, mapping.then(native), theory)):
        s = score(rows)[:, 0]
        value = auroc(s[(part == 2) & ~adversarial], s[(part == 2) & adversarial])
        assert abs(value - expected) < 4 * hanley_mcneil(expected, n, n)


def test_constant_features_say_nothing() -> None:
    same = torch.ones(10, 3, dtype=torch.float64)
    found = train_detector(same, same)
    assert float(found.weight.abs().max()) == 0
    assert float(found(same).abs().max()) < 1e-12


def test_a_solver_that_stops_early_is_used_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector_module, "_MOST_STEPS", 1)
    said: list[str] = []
    found = train_detector(normal(40, 60), normal(40, 60, seed=1), C=1e4, log=said.append)
    assert bool(torch.isfinite(found.weight).all())
    assert said == ["the detector did not converge in 1 steps; what it found by then is used"]
    train_detector(normal(40, 60), normal(40, 60, seed=1), C=1e4)  # nobody listens, nothing fails


def test_what_cannot_be_learned_from_is_refused() -> None:
    x = normal(5, 3)
    with pytest.raises(InvalidInput, match=r"found 5 clean and 0 adversarial"):
        train_detector(x, x[:0])
    with pytest.raises(InvalidInput, match=r"one width, found \(5, 3\) clean and \(5, 2\)"):
        train_detector(x, x[:, :2])
    with pytest.raises(NotFinite, match="NaN or infinite"):
        train_detector(x, x / 0)
