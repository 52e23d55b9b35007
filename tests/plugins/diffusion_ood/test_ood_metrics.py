# SPDX-License-Identifier: Apache-2.0
"""Every metric of `ood_detection` against independent computations, on ties and at the ends, and the sheet of images decoded."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_diffusion_ood.evidence import OODScores
from lipbench_diffusion_ood.metrics import Aupr, Evaluations, FprAtTpr, OODAuroc, Seconds
from lipbench_diffusion_ood.pictures import Reconstructions
from lipbench_diffusion_ood.task import unit
from ood_cases import CTX, Lab, evidence, field_images
from PIL import Image
from scipy.stats import beta, mannwhitneyu, norm
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch import Tensor
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision, BinarySensitivityAtSpecificity

from lipbench.api import Metric, NotApplicable, Value

GIVEN = evidence()
# Few levels, so that ties are common.
SCORES = st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=12)


def compute(metric: Metric, inside: object = None, outside: object = None) -> Value:
    """The metric on scores; without any on evidence made by hand."""
    if inside is None:
        return metric.compute(GIVEN, CTX)
    return metric.compute(evidence(inside=vector(inside), outside=vector(outside)), CTX)


def vector(scores: object) -> Tensor:
    return torch.as_tensor(scores, dtype=torch.float64)


def labelled(inside: object, outside: object) -> tuple[np.ndarray, np.ndarray]:
    """Truth, 1 for foreign, and scores."""
    a, b = vector(inside).numpy(), vector(outside).numpy()
    return np.r_[np.zeros(len(a)), np.ones(len(b))], np.r_[a, b]


def in_unit(inside: object, outside: object) -> tuple[Tensor, Tensor]:
    """The same order in [0, 1], as torchmetrics wants it, and labels."""
    truth, scores = labelled(inside, outside)
    _, ranks = np.unique(scores, return_inverse=True)
    return torch.from_numpy(ranks / max(ranks.max(), 1)), torch.from_numpy(truth).long()


def draws(seed: int, shift: float, digits: int = 9, sizes: tuple[int, int] = (37, 53)) -> tuple[np.ndarray, np.ndarray]:
    """Scores of both kinds; few digits make ties."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, sizes[0]).round(digits), rng.normal(shift, 1.5, sizes[1]).round(digits)


CASES = [draws(0, 1), draws(1, -0.5), draws(2, 0.7, digits=0), draws(3, 9), draws(4, -9), draws(5, 0.3, sizes=(200, 11))]


def metrics() -> dict[str, Metric]:
    return {
        "ood_auroc": OODAuroc(),
        "aupr": Aupr(),
        "aupr in": Aupr(positive="in"),
        "fpr_at_tpr": FprAtTpr(),
        "evaluations": Evaluations(),
        "seconds": Seconds(),
        "reconstructions": Reconstructions(),
    }


FACTS = {
    "ood_auroc": ("higher", "AUROC", ""),
    "aupr": ("higher", "AUPR", "out"),
    "aupr in": ("higher", "AUPR", "in"),
    "fpr_at_tpr": ("lower", "FPR", "TPR 0.95"),
    "evaluations": ("lower", "evaluations / image", ""),
    "seconds": ("lower", "s / image", ""),
    "reconstructions": ("none", "mean square of [0,1] pixels", ""),
}


@pytest.mark.parametrize("name", FACTS)
def test_direction_unit_group_and_bits(name: str) -> None:
    made, again = (compute(metrics()[name]) for _ in range(2))
    assert (made.direction, made.unit, made.group) == FACTS[name]
    assert made == again
    json.dumps(dict(made.extras), allow_nan=False)
    assert (made.interval is None) == (name in ("evaluations", "seconds", "reconstructions"))
    if made.interval is not None:
        assert made.interval.level == 0.95
        assert 0 <= made.interval.low < made.value < made.interval.high <= 1


def test_every_metric_of_the_plugin_is_here() -> None:
    from lipbench_diffusion_ood.plugin import _METRICS

    elsewhere = {"class_pairs", "score_drift", "denoising_loss"}  # test_ood_diagnostics.py
    assert {name.partition(" ")[0] for name in FACTS} | elsewhere == set(_METRICS)


# AUROC.


@pytest.mark.parametrize("scores", CASES)
def test_auroc_is_that_of_three_libraries(scores: tuple[np.ndarray, np.ndarray]) -> None:
    value = compute(OODAuroc(), *scores).value
    truth, all_ = labelled(*scores)
    assert value == pytest.approx(roc_auc_score(truth, all_), abs=1e-12)
    assert value == pytest.approx(float(BinaryAUROC()(*in_unit(*scores))), abs=1e-6)
    inside, outside = scores
    assert value == pytest.approx(mannwhitneyu(outside, inside).statistic / (len(inside) * len(outside)), abs=1e-12)


def test_auroc_by_hand() -> None:
    assert compute(OODAuroc(), [0.1, 0.4], [0.35, 0.8]).value == 0.75
    assert compute(OODAuroc(), [1, 2], [2, 3]).value == 0.875
    assert compute(OODAuroc(), [1, 1], [1, 1]).value == 0.5
    assert compute(OODAuroc(), [1, 2], [3, 4]).value == 1
    assert compute(OODAuroc(), [3, 4], [1, 2]).value == 0


@given(inside=SCORES, outside=SCORES)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_auroc_identities(inside: list[float], outside: list[float]) -> None:
    made = compute(OODAuroc(), inside, outside)
    assert made.interval is not None
    assert 0 <= made.interval.low <= made.value <= made.interval.high <= 1
    assert made.interval.low < made.interval.high, "no number of images makes a value certain"
    grown = [np.exp(3 * vector(s).numpy()) - 7 for s in (inside, outside)]
    assert compute(OODAuroc(), *grown).value == made.value
    negated = compute(OODAuroc(), -vector(inside), -vector(outside)).value
    assert negated == pytest.approx(1 - made.value, abs=1e-12)
    assert compute(OODAuroc(), outside, inside).value == pytest.approx(1 - made.value, abs=1e-12)
    assert compute(OODAuroc(), inside, inside).value == 0.5


def test_delongs_interval_is_the_value_and_its_standard_error() -> None:
    inside, outside = draws(7, 0.8)
    made = compute(OODAuroc(), inside, outside)
    assert made.interval is not None
    wins = (outside[:, None] > inside) + (outside[:, None] == inside) / 2
    variance = wins.mean(1).var(ddof=1) / len(outside) + wins.mean(0).var(ddof=1) / len(inside)
    assert made.extras["standard_error"] == pytest.approx(np.sqrt(variance), rel=1e-9)
    half = norm.ppf(0.975) * np.sqrt(variance)
    assert made.interval.low == pytest.approx(made.value - half, abs=1e-9)
    assert made.interval.high == pytest.approx(made.value + half, abs=1e-9)
    assert made.interval.method == "DeLong"
    assert made.extras["images"] == [37, 53]
    assert made.extras["evaluations"] == GIVEN.evaluations


def test_more_images_give_a_narrower_interval() -> None:
    widths = []
    for size in (20, 200, 2000):
        interval = compute(OODAuroc(), *draws(8, 1, sizes=(size, size))).interval
        assert interval is not None
        widths.append(interval.high - interval.low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


@pytest.mark.parametrize("scores", [*CASES, ([2.0, 2.0], [2.0, 2.0, 2.0]), ([1e12, 1e12], [1e12 + 1, 1e12])])
def test_histograms_hold_every_image(scores: tuple[object, object]) -> None:
    found = compute(OODAuroc(), *scores).extras["histogram"]
    assert set(found) == {"edges", "inside", "outside"}
    assert np.all(np.diff(found["edges"]) >= 0)
    for kind in ("inside", "outside"):
        assert len(found[kind]) == len(found["edges"]) - 1
        assert sum(found[kind]) == pytest.approx(1, abs=1e-3)


def test_histograms_have_common_bins_and_show_who_is_where() -> None:
    found = compute(OODAuroc(), np.linspace(0, 1, 100), np.linspace(9, 10, 50)).extras["histogram"]
    half = len(found["inside"]) // 2
    assert sum(found["inside"][:half]) == pytest.approx(1, abs=1e-3)
    assert sum(found["outside"][half:]) == pytest.approx(1, abs=1e-3)
    assert found["edges"][0] == pytest.approx(0, abs=0.1)
    assert found["edges"][-1] == pytest.approx(10, abs=0.1)


def test_one_extreme_score_does_not_flatten_the_histogram() -> None:
    inside, outside = draws(9, 2, sizes=(500, 500))
    outside[0] = 1e9
    assert compute(OODAuroc(), inside, outside).extras["histogram"]["edges"][-1] < 20


# AUPR.


@pytest.mark.parametrize("scores", CASES)
@pytest.mark.parametrize("positive", ["out", "in"])
def test_average_precision_is_that_of_two_libraries(scores: tuple[np.ndarray, np.ndarray], positive: str) -> None:
    value = compute(Aupr(positive=positive), *scores).value
    ranked = scores if positive == "out" else (-scores[1], -scores[0])
    truth, all_ = labelled(*ranked)
    assert value == pytest.approx(average_precision_score(truth, all_), abs=1e-12)
    assert value == pytest.approx(float(BinaryAveragePrecision()(*in_unit(*ranked))), abs=1e-6)


def test_average_precision_by_hand() -> None:
    # Ranks: foreign, in-domain, foreign. Half of them is found at precision 1, the other half at 2/3.
    assert compute(Aupr(), [2], [1, 3]).value == pytest.approx(0.5 + 0.5 * 2 / 3)
    # In-domain images from the lowest score up: foreign, in-domain.
    assert compute(Aupr(positive="in"), [2], [1, 3]).value == pytest.approx(0.5)
    # All tied: the share of positives.
    assert compute(Aupr(), [1, 1, 1], [1]).value == pytest.approx(0.25)
    assert compute(Aupr(positive="in"), [1, 1, 1], [1]).value == pytest.approx(0.75)


@given(inside=SCORES, outside=SCORES, positive=st.sampled_from(["out", "in"]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_average_precision_lies_within_its_interval(inside: list[float], outside: list[float], positive: str) -> None:
    made = compute(Aupr(positive=positive), inside, outside)
    assert 0 < made.value <= 1
    if made.interval is not None:
        assert 0 <= made.interval.low <= made.value <= made.interval.high <= 1
        assert made.interval.low < made.interval.high
    assert made.extras["images"] == [len(inside), len(outside)]


def test_perfect_scores_claim_no_certainty() -> None:
    for positive in ("out", "in"):
        made = compute(Aupr(positive=positive), np.arange(24), 100 + np.arange(3))
        assert made.value == 1
        assert made.interval is None


def test_the_bootstrap_is_as_wide_as_redrawing_the_images() -> None:
    """Between the 2.5 and 97.5 % quantiles of average precision over fresh draws of as many images."""
    fresh = [compute(Aupr(), *draws(100 + seed, 1, sizes=(60, 60))) for seed in range(60)]
    low, high = np.quantile([made.value for made in fresh], [0.025, 0.975])
    widths = [made.interval.high - made.interval.low for made in fresh if made.interval is not None]
    assert len(widths) == 60
    assert np.mean(widths) == pytest.approx(high - low, rel=0.35)


# False alarms.


@pytest.mark.parametrize("scores", CASES)
@pytest.mark.parametrize("tpr", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_false_alarms_are_those_of_the_roc_curve(scores: tuple[np.ndarray, np.ndarray], tpr: float) -> None:
    made = compute(FprAtTpr(tpr=tpr), *scores)
    fprs, tprs, thresholds = roc_curve(*labelled(*scores), drop_intermediate=False)
    at = int(np.argmax(tprs >= tpr - 1e-12))
    assert made.value == pytest.approx(fprs[at], abs=1e-12)
    assert made.extras["tpr"] == pytest.approx(tprs[at], abs=1e-12)
    assert made.extras["threshold"] == thresholds[at]
    inside, outside = scores
    assert np.mean(inside >= made.extras["threshold"]) == pytest.approx(made.value, abs=1e-12)
    assert np.mean(outside >= made.extras["threshold"]) == pytest.approx(made.extras["tpr"], abs=1e-12)


def test_false_alarms_mirror_the_sensitivity_at_a_specificity() -> None:
    """With the kinds and signs exchanged, 1 - FPR at 95 % TPR is the sensitivity at a specificity of 0.95."""
    for scores in CASES[:3]:
        inside, outside = scores
        other = BinarySensitivityAtSpecificity(min_specificity=0.95)(*in_unit(-outside, -inside))[0]
        assert compute(FprAtTpr(), *scores).value == pytest.approx(1 - float(other), abs=1e-6)


@pytest.mark.parametrize("tpr", [0.05, 0.3, 0.7, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("count", [10, 20, 100])
def test_no_more_foreign_images_are_found_than_asked(tpr: float, count: int) -> None:
    """Rounding 1 - TPR must not cost an image: 9 of 10 are 0.9."""
    outside = np.arange(count)
    made = compute(FprAtTpr(tpr=tpr), outside - 0.5, outside)
    wanted = next(k for k in range(count + 1) if k / count >= tpr - 1e-12)
    assert made.extras["tpr"] == pytest.approx(wanted / count)
    assert made.value == pytest.approx((wanted - 1) / count)


def test_false_alarms_by_hand() -> None:
    assert compute(FprAtTpr(), [1, 2, 3, 4], [5, 6]).value == 0
    assert compute(FprAtTpr(), [5, 6], [1, 2]).value == 1
    assert compute(FprAtTpr(), [1, 1], [1, 1]).value == 1, "ties are flagged together"
    # All but one of 20 foreign images are at 10 or above; at 0, the one missed, half of the in-domain images would be flagged.
    assert compute(FprAtTpr(), [-1, -1, 5, 12], [0, *[10] * 19]).value == 0.25


@pytest.mark.parametrize("scores", CASES)
def test_the_interval_of_false_alarms_is_that_of_a_share(scores: tuple[np.ndarray, np.ndarray]) -> None:
    made = compute(FprAtTpr(), *scores)
    total = len(scores[0])
    flagged = round(made.value * total)
    assert made.interval is not None
    assert made.interval.low == pytest.approx(beta.ppf(0.025, flagged, total - flagged + 1) if flagged else 0, abs=1e-9)
    assert made.interval.high == pytest.approx(
        beta.ppf(0.975, flagged + 1, total - flagged) if flagged < total else 1, abs=1e-9
    )
    assert made.interval.low <= made.value <= made.interval.high


@given(inside=SCORES, outside=SCORES, tpr=st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_false_alarms_grow_with_what_must_be_found(inside: list[float], outside: list[float], tpr: float) -> None:
    made, more = (compute(FprAtTpr(tpr=t), inside, outside) for t in (tpr, (1 + tpr) / 2))
    assert 0 <= made.value <= more.value <= 1
    assert made.extras["tpr"] >= tpr - 1e-9
    shifted = compute(FprAtTpr(tpr=tpr), 2 * vector(inside) + 5, 2 * vector(outside) + 5)
    assert shifted.value == made.value


# Cost.


def test_cost_is_what_the_evidence_says() -> None:
    assert compute(Evaluations()).value == 200
    assert compute(Seconds()).value == 0.25


# The sheet of images.


def sheet(given_: OODScores) -> np.ndarray:
    """(h, w) or (h, w, 3) bytes of the PNG."""
    text = Reconstructions().compute(given_, CTX).extras["sheet"]
    with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def pixels(image: Tensor) -> np.ndarray:
    """(h, w) or (h, w, 3) bytes of an image (C, h, w) in [0, 1]."""
    return np.squeeze(
        (image.permute(1, 2, 0).numpy().clip(0, 1) * 255).round().astype(np.uint8), axis=2 if len(image) == 1 else ()
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_tiles_of_the_sheet_are_the_images(channels: int, attempts: int) -> None:
    draw, side, counts = torch.Generator().manual_seed(1), 6, {"inside": 3, "outside": 4}
    images = {
        f"{kind}_{part}": torch.rand((*lead, count, channels, side, side), generator=draw)
        for kind, count in counts.items()
        for part, lead in (("images", ()), ("lifted", ()), ("mapped", (attempts,)))
    }
    found = sheet(evidence(**images))
    rows = 2 + min(attempts, 2)
    assert found.shape == (rows * side, 7 * side + 2, *([3] if channels == 3 else []))
    assert np.all(found[:, 3 * side : 3 * side + 2] == 255), "a white column between the kinds"
    for kind, left in (("inside", 0), ("outside", 3 * side + 2)):
        shown = [images[f"{kind}_images"], images[f"{kind}_lifted"], *images[f"{kind}_mapped"][:2]]
        for row, tiles in enumerate(shown):
            for column, tile in enumerate(tiles):
                y, x = row * side, left + column * side
                assert np.array_equal(found[y : y + side, x : x + side], pixels(tile)), (kind, row, column)


def test_errors_of_reconstructions_are_those_of_all_images_and_attempts() -> None:
    made = compute(Reconstructions())
    assert made.value == GIVEN.inside_error
    assert made.extras["outside"] == GIVEN.outside_error
    assert made.extras["images"] == [60, 50]
    lab = Lab()
    found = lab.evidence()
    for name, data in (("in", field_images()), ("out", field_images(scale=1.5))):
        x = unit(data, "test", CTX).numpy()
        expected = ((lab.made[f"{name}_lifted"]["reconstructions"].numpy() - x) ** 2).mean()
        assert getattr(found, f"{name}side_error") == pytest.approx(float(expected), rel=1e-6)


def test_a_table_says_where_enlarged_images_were_compared() -> None:
    assert OODAuroc().compute(GIVEN, CTX).group == ""
    assert OODAuroc().compute(evidence(enlarged_to=64), CTX).group == "images enlarged to 64 pixels"


@pytest.mark.parametrize("missing", ["inside_mapped", "outside_mapped"])
def test_without_reconstructions_there_is_nothing_to_show(missing: str) -> None:
    with pytest.raises(NotApplicable, match="leave the metric out of this block"):
        Reconstructions().compute(evidence(**{missing: None}), CTX)
