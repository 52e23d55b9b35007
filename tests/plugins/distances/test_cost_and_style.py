# SPDX-License-Identifier: Apache-2.0
"""Cost at the source's size, the source's pictures, and a style transfer."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pytest
import torch
from distance_cases import CTX, compared
from lipbench_distances.distances.by_moments import GaussianW2, GramLoss
from lipbench_distances.distances.transport import Wasserstein
from lipbench_distances.metrics.cost import SOURCE_ROWS, Cost, _power_law
from lipbench_distances.metrics.shared_moments import SharedMoments
from lipbench_distances.metrics.style import StyleTransfer
from lipbench_distances.pairs.gaussians import Marron, RandomGaussians
from lipbench_distances.pairs.photographs import Photographs
from PIL import Image

from lipbench.api import NotApplicable


def decoded(text: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture.convert("RGB"))


def test_the_source_counts_64_numbers_for_each_distance_and_a_matrix_has_one() -> None:
    value = Cost(budget=1e-9).compute(compared(Marron(), Wasserstein()), CTX)
    assert SOURCE_ROWS == 224 * 224
    assert value.extras["matrix_gb"] == pytest.approx(10.07, abs=0.005)
    assert 64 * value.extras["matrix_gb"] == pytest.approx(644.5, abs=0.05)
    assert value.extras["cubed_rows"] == pytest.approx(126.3, abs=0.05)
    assert Cost(budget=1e-9).compute(compared(Marron(), GramLoss()), CTX).extras["matrix_gb"] == 0


def test_a_budget_that_is_spent_leaves_the_rest_to_a_power_law() -> None:
    value = Cost(budget=1e-9).compute(compared(Marron(), GramLoss()), CTX)
    assert value.extras["sizes"] == [64, 128]
    assert value.group == ""
    last, exponent = value.extras["seconds"][-1], value.extras["exponent"]
    assert value.value == pytest.approx(last * (SOURCE_ROWS / 128) ** exponent)


def test_the_size_that_is_asked_for_is_measured_where_there_is_time() -> None:
    value = Cost(budget=1e9, rows=300).compute(compared(RandomGaussians(d=3), GramLoss()), CTX)
    assert value.extras["sizes"] == [64, 128, 300]
    assert value.value == value.extras["seconds"][-1]
    assert value.group


def test_a_power_law_is_met_exactly_and_noise_widens_its_interval() -> None:
    sizes = [256, 512, 1024, 2048, 4096]
    exact = [2e-9 * n**2.5 for n in sizes]
    value, power, low, high = _power_law(sizes, exact, SOURCE_ROWS)
    assert (value, power) == pytest.approx((2e-9 * SOURCE_ROWS**2.5, 2.5))
    assert low == pytest.approx(high)
    noisy = [s * f for s, f in zip(exact, (1.1, 0.9, 1.2, 0.9, 1.0), strict=True)]
    value, power, low, high = _power_law(sizes, noisy, SOURCE_ROWS)
    assert low < 0.7 * value < 1.4 * value < high
    assert low < 2e-9 * SOURCE_ROWS**2.5 < high
    assert _power_law(sizes[:2], exact[:2], 1024)[3] == math.inf


def test_mosaics_are_the_first_samples_as_colours() -> None:
    value = SharedMoments(rows=500).compute(compared(Marron(first="W", second="Z"), GramLoss()), CTX)
    assert value.value == 0
    picture = decoded(value.extras["mosaic"])
    assert picture.shape == (20, 41, 3)
    assert (picture[:, :20] == 255).all(), "W is the point (1, 1, 1)"
    right = picture[:, 21:]
    assert (right[..., 0] == right[..., 1]).all(), "features of Z are one number"
    assert right.min() == 0
    entries = [value.extras[f"second_{i}"] for i in ("11", "12", "13", "22", "23", "33")]
    assert entries == pytest.approx([entries[0]] * 6)
    assert [value.extras[f"first_{i}"] for i in ("11", "23")] == [1, 1]


def test_features_other_than_three_have_no_mosaic() -> None:
    extras = SharedMoments(rows=50).compute(compared(RandomGaussians(d=4), GramLoss()), CTX).extras
    assert set(extras) == {"mean_difference", "covariance_difference"}


@pytest.mark.parametrize("distance", [GramLoss(), GaussianW2()], ids=lambda d: type(d).__name__)
def test_a_style_transfer_brings_its_own_loss_down_and_the_judge_too(distance: GramLoss) -> None:
    evidence = compared(Photographs(size=32), distance)
    value = StyleTransfer(layers=(1, 3), steps=20).compute(evidence, CTX)
    assert value.extras["loss"][0] == pytest.approx(1)
    assert value.extras["loss"][-1] < 0.7
    assert 0 < value.value < 1
    pictures = {name: decoded(text) for name, text in value.extras["pictures"].items()}
    assert {p.shape for p in pictures.values()} == {(32, 32, 3)}
    assert not (pictures["image"] == pictures["content"]).all()
    again = StyleTransfer(layers=(1, 3), steps=20).compute(evidence, CTX)
    assert again.value == value.value


def test_a_style_transfer_needs_photographs() -> None:
    with pytest.raises(NotApplicable, match="write pair: photographs"):
        StyleTransfer().compute(compared(Marron(), GramLoss()), CTX)


def test_features_do_not_train_the_network() -> None:
    from lipbench_distances.features import Features, photograph

    features = Features([1], 32, CTX)
    image = photograph("china", 32).requires_grad_()
    features(image)[0].sum().backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())
    assert all(p.grad is None for p in features.parameters())
    assert torch.isfinite(image.grad).all()
