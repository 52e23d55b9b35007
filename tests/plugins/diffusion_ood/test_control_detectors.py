# SPDX-License-Identifier: Apache-2.0
"""Controls without a network: principal components and mean intensity."""

from __future__ import annotations

import pytest
import torch
from detector_toys import CTX, SIDE, auroc, random_images
from lipbench_diffusion_ood.base import Detector
from lipbench_diffusion_ood.detectors.common import CALIBRATION_IMAGES, calibration_images
from lipbench_diffusion_ood.detectors.controls import MeanIntensity, PrincipalComponents
from torch import Tensor

from lipbench.api import Context, InvalidInput, NotFinite


def run(detector: Detector, train: Tensor, x: Tensor) -> Tensor:
    return detector.score(x, None, detector.calibrate(train, {}, CTX), None, CTX).scores


@pytest.mark.parametrize("components", [1, 5, 40])
def test_error_of_the_training_images_is_the_sum_of_the_discarded_eigenvalues(components: int) -> None:
    train = random_images(300, 1, SIDE, SIDE) ** 2
    rows = train.flatten(1).double()
    values = torch.linalg.eigvalsh(torch.cov(rows.T, correction=0))
    found = run(PrincipalComponents(components=components), train, train)
    assert float(found.mean()) == pytest.approx(float(values[: 64 - components].sum()) / 64, rel=1e-9)


def test_projection_forgives_what_lies_in_the_plane_of_the_training_images() -> None:
    draw = torch.Generator().manual_seed(0)
    plane = torch.randn(3, 64, generator=draw)
    train = (torch.randn(100, 3, generator=draw) @ plane).view(-1, 1, SIDE, SIDE)
    inside = (5 * torch.randn(10, 3, generator=draw) @ plane).view(-1, 1, SIDE, SIDE)
    detector = PrincipalComponents(components=3)
    assert float(run(detector, train, inside).max()) < 1e-8
    assert float(run(detector, train, inside + random_images(10, 1, SIDE, SIDE)).min()) > 1e-2


def test_mean_intensity_is_two_sided() -> None:
    train = 0.4 + 0.2 * random_images(200, 1, SIDE, SIDE)
    x = torch.stack([torch.full((1, SIDE, SIDE), v) for v in (0.2, 0.5, 0.8)])
    scored = MeanIntensity().score(x, None, MeanIntensity().calibrate(train, {}, CTX), None, CTX)
    torch.testing.assert_close(scored.scores, torch.tensor([0.3, 0.0, 0.3], dtype=torch.float64), rtol=0, atol=2e-3)
    torch.testing.assert_close(scored.extras["mean_intensity"], torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64))
    assert auroc(run(MeanIntensity(), train, train), run(MeanIntensity(), train, train + 0.2)) == 1


@pytest.mark.parametrize("detector", [PrincipalComponents(components=4), MeanIntensity()])
def test_scores_of_an_image_alone_and_among_others(detector: Detector) -> None:
    train, x = random_images(50, 3, 4, 4), random_images(7, 3, 4, 4, seed=1)
    whole = run(detector, train, x)
    assert whole.dtype == torch.float64
    torch.testing.assert_close(torch.cat([run(detector, train, x[i : i + 1]) for i in range(7)]), whole, rtol=1e-12, atol=1e-14)
    assert torch.equal(run(detector, train, x), whole)
    assert detector.reads is None
    with pytest.raises(NotFinite, match="image 2 is not finite"):
        run(detector, train, torch.cat([x[:2], x[:1] * torch.nan]))


def test_calibration_takes_a_seeded_thousand() -> None:
    train = torch.arange(1500.0).view(-1, 1, 1, 1)
    chosen = calibration_images(train, CTX)
    assert len(chosen) == len(chosen.unique()) == CALIBRATION_IMAGES
    assert torch.equal(chosen, calibration_images(train, CTX))
    assert not torch.equal(chosen, calibration_images(train, Context(scope="test", seed=1)))
    with pytest.raises(InvalidInput, match="at least two"):
        calibration_images(train[:1], CTX)


def test_too_many_components_and_other_shapes_are_refused() -> None:
    train = random_images(20, 1, 4, 4)
    with pytest.raises(InvalidInput, match="write fewer than 16"):
        PrincipalComponents(components=16).calibrate(train, None, CTX)
    with pytest.raises(InvalidInput, match="16 values, found"):
        run(PrincipalComponents(components=2), train, random_images(2, 1, 5, 5))
