# SPDX-License-Identifier: Apache-2.0
"""The inpainter of the comparison: what it learns, what it leaves alone, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from detector_toys import CTX, random_images
from lipbench_basics.datasets.digits import Digits
from lipbench_diffusion_ood.fill import FillIn
from lipbench_diffusion_ood.masks import checkerboard
from lipbench_diffusion_ood.models.autoencoder import Autoencoder
from lipbench_diffusion_ood.models.masked import MaskedAutoencoder
from lipbench_diffusion_ood.task import unit
from torch import Tensor

from lipbench.api import DataSpec, InvalidInput


@pytest.fixture(scope="module")
def trained() -> MaskedAutoencoder:
    data = Digits(image=True)
    model = MaskedAutoencoder(steps=150, batch_size=32)
    model.build(data.spec(), CTX)
    model.fit(data, CTX)
    return model


def digits() -> Tensor:
    return unit(Digits(image=True), "test", CTX)[:40]


def test_it_fills_in_better_than_the_mean_and_leaves_known_pixels_alone(trained: MaskedAutoencoder) -> None:
    x, lift = digits(), FillIn(cells=4, attempts=2)
    found = lift.lifted(trained, x, CTX)["reconstructions"]
    assert found.shape == (2, 40, 1, 8, 8)
    mean = unit(Digits(image=True), "train", CTX).mean(0)
    for attempt, swapped in enumerate((False, True)):
        known = checkerboard(8, 4, swapped=swapped)
        assert torch.equal(found[attempt][..., known], x[..., known])
        wrong = (found[attempt] - x)[..., ~known].square().mean()
        assert float(wrong) < 0.7 * float((mean - x)[..., ~known].square().mean())


def test_masked_pixels_are_not_read(trained: MaskedAutoencoder) -> None:
    x, known = digits(), checkerboard(8, 4)
    other = torch.where(known, x, 1 - x)
    one, two = (FillIn(cells=4, attempts=1).lifted(trained, z, CTX)["reconstructions"][0] for z in (x, other))
    torch.testing.assert_close(one[..., ~known], two[..., ~known])


@pytest.mark.parametrize("settings", [{"cells": 4}, {"mask": "random_patch", "patch": 2, "attempts": 3}, {"mask": "center"}])
def test_an_image_is_filled_in_the_same_in_any_batch(trained: MaskedAutoencoder, settings: dict[str, Any]) -> None:
    x, lift = digits()[:5], FillIn(**settings)
    whole = lift.lifted(trained, x, CTX)
    single = torch.cat([lift.lifted(trained, one, CTX)["reconstructions"] for one in x.split(1)], 1)
    torch.testing.assert_close(single, whole["reconstructions"], rtol=0, atol=1e-6)
    assert float(whole["evaluations"]) == lift.evaluations == settings.get("attempts", 2)
    changed = (lift.shown(trained, x, CTX) != x).float().mean()
    assert 0.05 < float(changed) < 0.6


def test_the_same_seed_gives_the_same_weights() -> None:
    states = []
    for _ in range(2):
        model = MaskedAutoencoder(channels=(4,), steps=5, batch_size=8)
        model.build(Digits(image=True).spec(), CTX)
        model.fit(Digits(image=True), CTX)
        states.append(model.state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_it_refuses(trained: MaskedAutoencoder) -> None:
    encoder = Autoencoder(steps=0)
    encoder.build(DataSpec(shape=(1, 8, 8), low=0.0, high=1.0), CTX)
    with pytest.raises(InvalidInput, match="write use: masked_autoencoder"):
        FillIn(cells=4).lifted(encoder, digits(), CTX)
    with pytest.raises(InvalidInput, match="write a dataset of the same shape"):
        FillIn(cells=4).lifted(trained, random_images(2, 1, 4, 4), CTX)
    with pytest.raises(InvalidInput, match="write cells: "):
        FillIn(cells=3).lifted(trained, digits(), CTX)
