# SPDX-License-Identifier: Apache-2.0
"""Where a metric of the detector does not apply."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from linear_map_cases import GIVEN, Lab, compute, prediction
from lipbench_linear_map.evidence import MappedEmbeddings
from lipbench_linear_map.features import MagnitudeSpectrum
from lipbench_linear_map.maps import ScoreRegression
from lipbench_linear_map.metrics.controls import (
    AurocSuccessOnly,
    PixelAuroc,
)
from lipbench_linear_map.metrics.mapping import R2, HeadAccuracy, MapMse

from lipbench.api import Metric, NotApplicable


def without(**changes: Any) -> MappedEmbeddings:
    return replace(GIVEN, **changes)


CONSTANT = replace(prediction(), true_clean=torch.ones(40, 5).double(), true_adversarial=torch.ones(40, 5).double())
NEVER = replace(GIVEN.source, guess_adversarial=GIVEN.source.labels)
ONCE = replace(
    GIVEN.source,
    guess_clean=GIVEN.source.labels,
    guess_adversarial=torch.where(torch.arange(40) == 3, GIVEN.source.labels + 1, GIVEN.source.labels),
)
LARGE = replace(GIVEN.source, pixel=(torch.empty(0).double(), torch.empty(0).double()))
REFUSED: dict[str, tuple[Metric, MappedEmbeddings, str]] = {
    "mse of scores": (MapMse(), without(prediction=None), "map_mse needs mapped embeddings, and this map predicts the detector"),
    "r2 of scores": (R2(), without(prediction=None), "r2 needs mapped embeddings"),
    "head of scores": (HeadAccuracy(), without(prediction=None), "head_accuracy needs mapped embeddings"),
    "head of a spectrum": (
        HeadAccuracy(), without(prediction=replace(prediction(), head=None)), "head_accuracy needs feature: embedding"
    ),
    "no variance": (R2(), without(prediction=CONSTANT), "R2 needs targets that vary"),
    "no success": (AurocSuccessOnly(), without(source=NEVER), "the attack succeeded on 0 images, 2 are needed"),
    "one success": (AurocSuccessOnly(), without(source=ONCE), "the attack succeeded on 1 images, 2 are needed"),
    "large images": (PixelAuroc(), without(source=LARGE), "pixel_auroc: these images are too large .* write by: zeros"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_metric_cannot_read_it_refuses_in_one_sentence(case: str) -> None:
    metric, given, words = REFUSED[case]
    with pytest.raises(NotApplicable, match=words) as caught:
        compute(metric, given)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_large_images_still_have_a_count_of_zeros() -> None:
    assert compute(PixelAuroc(by="zeros"), without(source=LARGE)).value == compute(PixelAuroc(by="zeros")).value


def test_what_a_task_without_prediction_or_head_gives_is_refused_too() -> None:
    lab = Lab()
    with pytest.raises(NotApplicable, match="leave it out here"):
        compute(MapMse(), lab.evidence(map=ScoreRegression()))
    with pytest.raises(NotApplicable, match="needs feature: embedding"):
        compute(HeadAccuracy(), lab.evidence(feature=MagnitudeSpectrum()))
