# SPDX-License-Identifier: Apache-2.0
"""The Gaussian field: its moments are the stated ones."""

from __future__ import annotations

import numpy as np
import pytest
from lipbench_basics.datasets.gaussfield import GaussField, field_covariance, image_moments

from lipbench.api import Context, InvalidInput

CTX, OTHER = Context(scope="test", seed=0), Context(scope="test", seed=1)


def checkerboard(patches: int) -> np.ndarray:
    """(64,) bool, every other of patches x patches squares of an 8x8 image."""
    place = np.arange(8) // (8 // patches)
    return ((place[:, None] + place) % 2 == 1).ravel()


def test_covariance_entries_by_hand() -> None:
    covariance = field_covariance(3)
    assert covariance.dtype == np.float64
    assert np.array_equal(covariance, covariance.T)
    assert covariance[0, 0] == 1 + 1e-6
    assert covariance[0, 1] == covariance[0, 3] == pytest.approx(np.exp(-1 / 3), rel=1e-15)
    assert covariance[0, 4] == pytest.approx(np.exp(-(2**0.5) / 3), rel=1e-15)
    assert np.linalg.eigvalsh(covariance).min() > 1e-6


@pytest.mark.parametrize(("patches", "trace"), [(2, 18.47), (4, 11.61), (8, 8.78)])
def test_what_a_mask_leaves_unknown(patches: int, trace: float) -> None:
    covariance, masked = field_covariance(8), checkerboard(patches)
    cross = covariance[np.ix_(masked, ~masked)]
    left = covariance[np.ix_(masked, masked)] - cross @ np.linalg.solve(covariance[np.ix_(~masked, ~masked)], cross.T)
    assert np.trace(left) == pytest.approx(trace, abs=0.005)


@pytest.mark.parametrize(("kind", "scale"), [("field", 1.0), ("field", 0.3), ("field", 1.5), ("white", 1.0)])
def test_samples_have_the_stated_moments(kind: str, scale: float) -> None:
    data = GaussField(kind=kind, scale=scale, size=6, train=20_000)
    images = data.split("train", CTX).inputs.reshape(20_000, -1).astype(np.float64)
    mean, covariance = image_moments(6, scale, kind)
    sd = np.sqrt(np.diag(covariance))
    assert np.abs((images.mean(axis=0) - mean) / sd).max() < 5 / 20_000**0.5
    # var(s_ij) = (S_ii S_jj + S_ij^2) / n for a Gaussian
    error = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / 20_000)
    assert np.abs((np.cov(images.T) - covariance) / error).max() < 5
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), (images - mean).T)
    assert (whitened**2).mean() == pytest.approx(1, abs=5 * (2 / whitened.size) ** 0.5)


def test_splits_keep_to_the_spec_and_are_fixed_and_disjoint() -> None:
    data = GaussField(train=300, test=100, scale=2.0)
    spec, train, test = data.spec(), data.split("train", CTX), data.split("test", CTX)
    assert train.inputs.shape == (300, *spec.shape) == (300, 1, 8, 8)
    assert test.inputs.shape == (100, 1, 8, 8)
    assert train.targets is None
    assert train.inputs.dtype == np.float32
    assert spec.low <= train.inputs.min() < 0.2 < 0.8 < train.inputs.max() <= spec.high
    assert np.array_equal(train.inputs, data.split("train", OTHER).inputs)
    assert np.array_equal(train.inputs[:40], GaussField(train=40, scale=2.0).split("train", CTX).inputs)
    assert not np.array_equal(train.inputs[:100], test.inputs)
    with pytest.raises(InvalidInput, match="no split 'validation'"):
        data.split("validation", CTX)


def test_kinds_and_scales_are_independent_draws() -> None:
    base = GaussField(test=400).split("test", CTX).inputs.ravel()
    for other in (GaussField(test=400, scale=1.5), GaussField(test=400, kind="white")):
        assert abs(np.corrcoef(base, other.split("test", CTX).inputs.ravel())[0, 1]) < 0.05
