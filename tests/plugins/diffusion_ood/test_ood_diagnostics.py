# SPDX-License-Identifier: Apache-2.0
"""Metrics behind an AUROC: pairs of classes, drift of the score, and what the diffusion model learned."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from lipbench_diffusion_ood.compression import compressed_bits
from lipbench_diffusion_ood.detectors.controls import MeanIntensity
from lipbench_diffusion_ood.diagnostics import ClassPairs, ScoreDrift
from lipbench_diffusion_ood.lifts import Inpaint, NoLift
from lipbench_diffusion_ood.models.none import NoBackbone
from lipbench_diffusion_ood.models.unet import DiffusionUNet
from lipbench_diffusion_ood.pictures import DenoisingLoss
from lipbench_diffusion_ood.task import unit
from ood_cases import CTX, SIDE, Lab, evidence, field_images
from PIL import Image
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from lipbench.api import NotApplicable


def test_pairs_of_classes_are_each_their_own_auroc() -> None:
    made = evidence()
    value = ClassPairs().compute(made, CTX)
    table = value.extras["auroc"]
    assert (value.extras["inside_classes"], value.extras["outside_classes"]) == ([0, 1, 2], [0, 1])
    for i in range(3):
        for j in range(2):
            a, b = made.inside[made.inside_labels == i], made.outside[made.outside_labels == j]
            truth = np.r_[np.zeros(len(a)), np.ones(len(b))]
            assert table[i][j] == pytest.approx(roc_auc_score(truth, torch.cat([a, b]).numpy()), abs=1e-4)
    assert value.value == pytest.approx(min(map(min, table)), abs=1e-4)


def test_ties_between_classes_count_half() -> None:
    made = evidence(inside=torch.ones(60, dtype=torch.float64), outside=torch.ones(50, dtype=torch.float64))
    assert ClassPairs().compute(made, CTX).value == 0.5


def test_small_classes_and_missing_labels() -> None:
    labels = torch.zeros(60, dtype=torch.int64)
    labels[:4] = 1
    assert ClassPairs().compute(evidence(inside_labels=labels), CTX).extras["inside_classes"] == [0]
    with pytest.raises(NotApplicable, match="no class has 61 images"):
        ClassPairs(least=61).compute(evidence(), CTX)
    with pytest.raises(NotApplicable, match="has no labels"):
        ClassPairs().compute(evidence(outside_labels=None), CTX)


@pytest.mark.parametrize("trait", ["intensity", "complexity"])
def test_drift_is_the_rank_correlation_with_its_interval(trait: str) -> None:
    made = evidence()
    column = ["intensity", "complexity"].index(trait)
    value = ScoreDrift(trait=trait).compute(made, CTX)
    assert value.value == pytest.approx(spearmanr(made.inside, made.inside_traits[:, column]).statistic)
    assert value.extras["outside"] == pytest.approx(spearmanr(made.outside, made.outside_traits[:, column]).statistic)
    assert value.interval is not None
    assert value.interval.low < value.value < value.interval.high


def test_the_interval_of_drift_covers() -> None:
    """Of two normal variables with correlation .5, Spearman's rho is 6/pi asin(.25); 95 % of intervals hold it."""
    draw, truth, hits = np.random.default_rng(0), 6 / np.pi * np.arcsin(0.25), 0
    for _ in range(300):
        z = draw.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=60)
        traits = torch.from_numpy(np.c_[z[:, 1], z[:, 1]])
        ends = ScoreDrift().compute(evidence(inside=torch.from_numpy(z[:, 0]), inside_traits=traits), CTX).interval
        assert ends is not None
        hits += ends.low <= truth <= ends.high
    assert 0.91 <= hits / 300 <= 0.985


def test_a_score_that_is_the_brightness_drifts_fully() -> None:
    found = Lab().evidence(detector=MeanIntensity(), lift=NoLift(), backbone=NoBackbone())
    x = unit(field_images(), "test", CTX)
    torch.testing.assert_close(found.inside_traits[:, 0], x.double().mean((1, 2, 3)))
    assert torch.equal(found.inside_traits[:, 1], compressed_bits(x, "zlib"))
    assert found.inside_labels is None
    spread = (found.inside_traits[:, 0] - found.inside_traits[:, 0].mean()).abs()
    drift = ScoreDrift().compute(evidence(inside=spread, inside_traits=torch.stack([spread, spread], 1)), CTX)
    assert drift.value == 1
    assert drift.interval is None
    with pytest.raises(NotApplicable, match="same score or the same intensity"):
        ScoreDrift().compute(evidence(inside=torch.ones(60, dtype=torch.float64)), CTX)


def test_the_loss_curve_and_samples_of_a_trained_model() -> None:
    data = field_images()
    model = DiffusionUNet(channels=(4,), steps=120, batch_size=8)
    model.build(data.spec(), CTX)
    model.fit(data, CTX)
    lab = Lab()
    found = lab.evidence(backbone=model, lift=Inpaint(cells=2, attempts=2, steps=2))
    assert found.samples is not None
    assert found.samples.shape == (8, 1, SIDE, SIDE)
    assert float(found.samples.min()) >= 0
    assert float(found.samples.max()) <= 1
    assert len({sample.numpy().tobytes() for sample in found.samples}) == 8, "each has its own noise"
    value = DenoisingLoss().compute(found, CTX)
    curve = value.extras["loss_curve"]
    assert len(curve) == 6
    assert value.value == pytest.approx(float(model.loss_curve[-5:].mean()), rel=1e-6)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(value.extras["sheet"]))))
    assert picture.shape == (SIDE, 16 * SIDE + 2)
    inside = (found.inside_images[0, 0].clamp(0, 1).numpy() * 255).round()
    assert np.array_equal(picture[:, :SIDE], inside)
    assert torch.equal(Lab().evidence(backbone=model, lift=Inpaint(cells=2, attempts=2, steps=2)).samples, found.samples)


def test_exact_models_draw_but_have_no_loss() -> None:
    found = Lab().evidence()
    assert found.samples is not None
    with pytest.raises(NotApplicable, match="no diffusion model was trained"):
        DenoisingLoss().compute(found, CTX)
    nothing = Lab().evidence(detector=MeanIntensity(), lift=NoLift(), backbone=NoBackbone())
    assert nothing.samples is None
    with pytest.raises(NotApplicable, match="no diffusion model was trained"):
        DenoisingLoss().compute(nothing, CTX)
