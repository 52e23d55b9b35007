# SPDX-License-Identifier: Apache-2.0
"""Every metric against an independent computation on evidence made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from linear_map_cases import GIVEN, Lab, Toy, compute, evidence, images, normal, prediction, scores
from lipbench_linear_map.evidence import Evasion, MappedEmbeddings, Scores
from lipbench_linear_map.metrics.controls import (
    AdaptiveAuroc,
    AdaptiveRobustAccuracy,
    AurocSuccessOnly,
    AurocVsNoise,
    CleanFalseAlarm,
    Perturbation,
    PixelAuroc,
)
from lipbench_linear_map.metrics.detection import Auroc, DirectAuroc, NativeAuroc, SvmAccuracy, TprAtFpr, TransferGap
from lipbench_linear_map.metrics.mapping import R2, HeadAccuracy, MapMse, RowsPerColumn
from scipy.stats import beta
from sklearn.metrics import accuracy_score, mean_squared_error, r2_score, roc_auc_score, roc_curve
from torch import Tensor

from lipbench.api import Context, Metric


def auroc(negatives: Tensor, positives: Tensor) -> float:
    truth = np.repeat([0, 1], [len(negatives), len(positives)])
    return float(roc_auc_score(truth, torch.cat([negatives, positives]).numpy()))


def proportion(right: int, total: int) -> tuple[float, float]:
    """Clopper and Pearson's interval in the closed form of the beta distribution."""
    low = float(beta.ppf(0.025, right, total - right + 1)) if right else 0.0
    high = float(beta.ppf(0.975, right + 1, total - right)) if right < total else 1.0
    return low, high


def evasive(calls: list[tuple[float, int]]) -> MappedEmbeddings:
    """Evidence whose adaptive attack is a draw that depends on its parameters."""

    def evade(weight: float, steps: int) -> Evasion:
        calls.append((weight, steps))
        guesses = images(int(10 * weight)).guess_adversarial
        return Evasion(scores=normal(40, seed=steps) - weight, guesses=guesses, forwards=40 * (steps + 1), backwards=40 * steps)

    return evidence(evade=evade)


def metrics() -> dict[str, Metric]:
    return {
        "auroc": Auroc(),
        "native_auroc source": NativeAuroc(of="source"),
        "native_auroc target": NativeAuroc(of="target"),
        "transfer_gap": TransferGap(),
        "tpr_at_fpr": TprAtFpr(),
        "svm_accuracy": SvmAccuracy(),
        "direct_auroc": DirectAuroc(),
        "map_mse element": MapMse(),
        "map_mse vector": MapMse(per="vector"),
        "r2": R2(),
        "head_accuracy": HeadAccuracy(),
        "rows_per_column": RowsPerColumn(),
        "clean_false_alarm": CleanFalseAlarm(),
        "auroc_vs_noise": AurocVsNoise(),
        "auroc_success_only": AurocSuccessOnly(),
        "pixel_auroc svm": PixelAuroc(),
        "pixel_auroc zeros": PixelAuroc(by="zeros"),
        "adaptive_auroc": AdaptiveAuroc(),
        "adaptive_robust_accuracy": AdaptiveRobustAccuracy(),
        "perturbation l2": Perturbation(),
        "perturbation linf": Perturbation(norm="linf"),
        "perturbation mse": Perturbation(norm="mse"),
    }


FACTS = {
    "auroc": ("higher", "AUROC"),
    "native_auroc source": ("higher", "AUROC"),
    "native_auroc target": ("higher", "AUROC"),
    "transfer_gap": ("higher", "AUROC"),
    "tpr_at_fpr": ("higher", "TPR"),
    "svm_accuracy": ("higher", "accuracy"),
    "direct_auroc": ("higher", "AUROC"),
    "map_mse element": ("lower", "target unit²"),
    "map_mse vector": ("lower", "target unit² a vector"),
    "r2": ("higher", "R2"),
    "head_accuracy": ("none", "accuracy"),
    "rows_per_column": ("none", "rows / column"),
    "clean_false_alarm": ("none", "AUROC"),
    "auroc_vs_noise": ("higher", "AUROC"),
    "auroc_success_only": ("higher", "AUROC"),
    "pixel_auroc svm": ("none", "AUROC"),
    "pixel_auroc zeros": ("none", "AUROC"),
    "adaptive_auroc": ("higher", "AUROC"),
    "adaptive_robust_accuracy": ("higher", "accuracy"),
    "perturbation l2": ("none", "l2 of [0,1] pixels"),
    "perturbation linf": ("none", "linf of [0,1] pixels"),
    "perturbation mse": ("none", "mse of [0,1] pixels"),
}


@pytest.mark.parametrize("name", FACTS)
def test_direction_unit_interval_and_bits(name: str) -> None:
    made, again = (compute(metrics()[name], evasive([])) for _ in range(2))
    assert (made.direction, made.unit) == FACTS[name]
    assert made == again
    json.dumps(dict(made.extras), allow_nan=False)
    if name == "rows_per_column":
        assert made.interval is None
        return
    assert made.interval is not None
    assert made.interval.level == 0.95
    assert made.interval.low <= made.value <= made.interval.high
    assert made.interval.low < made.interval.high
    low, high = (-1, 1) if name == "transfer_gap" else (0, 1)
    if made.unit in ("AUROC", "TPR", "accuracy"):
        assert low <= made.interval.low
        assert made.interval.high <= high


def test_every_metric_of_the_plugin_is_here() -> None:
    from lipbench_linear_map.plugin import _METRICS

    assert {name.partition(" ")[0] for name in FACTS} == set(_METRICS)
    assert {type(m).__name__ for m in metrics().values()} == {place.partition(":")[2] for place, _ in _METRICS.values()}


# AUROCs.


PAIRS: dict[str, Callable[[MappedEmbeddings], tuple[Tensor, Tensor]]] = {
    "auroc": lambda e: (e.mapped.clean, e.mapped.adversarial),
    "native_auroc source": lambda e: (e.native_source.clean, e.native_source.adversarial),
    "native_auroc target": lambda e: (e.native_target.clean, e.native_target.adversarial),
    "direct_auroc": lambda e: (e.direct.clean, e.direct.adversarial),
    "clean_false_alarm": lambda e: (e.native_target.clean, e.mapped.clean),
    "auroc_vs_noise": lambda e: (e.mapped.noise, e.mapped.adversarial),
    "pixel_auroc svm": lambda e: e.source.pixel,
    "pixel_auroc zeros": lambda e: e.source.zeros,
}


@pytest.mark.parametrize("name", PAIRS)
def test_aurocs_are_scikit_learns(name: str) -> None:
    made = compute(metrics()[name])
    assert made.value == pytest.approx(auroc(*PAIRS[name](GIVEN)), abs=1e-12)
    assert made.extras["images"] == 40


def test_native_negatives_reach_what_compares_with_originals_and_nothing_else() -> None:
    native = replace(GIVEN, negatives=GIVEN.native_target.clean + 0.7)
    adversarial = GIVEN.mapped.adversarial
    assert compute(Auroc(), native).value == pytest.approx(auroc(native.negatives, adversarial), abs=1e-12)
    own = auroc(GIVEN.native_source.clean, GIVEN.native_source.adversarial)
    assert compute(TransferGap(), native).value == pytest.approx(auroc(native.negatives, adversarial) - own, abs=1e-12)
    assert compute(AurocVsNoise(), native).value == compute(AurocVsNoise()).value
    assert compute(CleanFalseAlarm(), native) == compute(CleanFalseAlarm())
    changed = [compute(m, native).value != compute(m).value for m in (TprAtFpr(fpr=0.2), SvmAccuracy(), AurocSuccessOnly())]
    assert changed == [True] * 3


def test_the_transfer_gap_is_a_paired_difference() -> None:
    made = compute(TransferGap())
    expected = auroc(GIVEN.mapped.clean, GIVEN.mapped.adversarial) - auroc(
        GIVEN.native_source.clean, GIVEN.native_source.adversarial
    )
    assert made.value == pytest.approx(expected, abs=1e-12)
    assert made.group == "difference"
    nothing = compute(TransferGap(), replace(GIVEN, native_source=GIVEN.mapped))
    assert nothing.interval is not None
    assert (nothing.value, nothing.interval.low, nothing.interval.high) == (0, 0, 0)
    alike = Scores(
        **{kind: getattr(GIVEN.mapped, kind) + 0.05 * normal(40, seed=50) for kind in ("clean", "adversarial", "noise")}
    )
    close = compute(TransferGap(), replace(GIVEN, native_source=alike)).interval
    assert close is not None
    assert made.interval is not None
    assert close.high - close.low < (made.interval.high - made.interval.low) / 2, "scores that agree differ with more certainty"


def test_adversarial_against_noise_says_how_noise_fares_too() -> None:
    made = compute(AurocVsNoise())
    assert made.extras["noise_vs_clean"] == pytest.approx(auroc(GIVEN.mapped.clean, GIVEN.mapped.noise), abs=1e-12)


def test_success_only_tells_successful_images_from_originals_that_are_classified_rightly() -> None:
    right = GIVEN.source.guess_clean == GIVEN.source.labels
    rows = right & (GIVEN.source.guess_adversarial != GIVEN.source.labels)
    assert int(rows.sum()) < int(right.sum()) < 40
    made = compute(AurocSuccessOnly())
    assert made.value == pytest.approx(auroc(GIVEN.mapped.clean[right], GIVEN.mapped.adversarial[rows]), abs=1e-12)
    assert made.extras["images"] == int(rows.sum())
    assert made.extras["success_rate"] == int(rows.sum()) / 40


def test_histograms_are_shares_of_all_scores_over_common_bins() -> None:
    made = compute(Auroc())
    assert [made.extras[name] for name in ("native", "rows", "columns", "live")] == [False, 60, 8, 7]
    for name, seen in (("mapped", GIVEN.mapped), ("native", GIVEN.native_target)):
        found: dict[str, Any] = made.extras["histograms"][name]
        edges = np.array(found["edges"])
        assert (np.diff(edges) > 0).all()
        for kind in ("clean", "noise", "adversarial"):
            assert sum(found[kind]) == pytest.approx(1, abs=1e-3)
            counts = np.histogram(np.clip(getattr(seen, kind).numpy(), edges[0], edges[-1]), edges)[0]
            assert np.abs(np.array(found[kind]) * 40 - counts).max() < 1.5, "edges are rounded"
    constant = Scores(clean=torch.zeros(5).double(), adversarial=torch.zeros(5).double(), noise=torch.zeros(5).double())
    flat = compute(Auroc(), evidence(mapped=constant))
    assert flat.value == 0.5
    assert sum(flat.extras["histograms"]["mapped"]["clean"]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.1, 0.3, 0.77])
def test_tpr_is_the_best_point_of_the_roc_curve_that_is_allowed(fpr: float) -> None:
    made = compute(TprAtFpr(fpr=fpr))
    truth = np.repeat([0, 1], 40)
    seen = torch.cat([GIVEN.mapped.clean, GIVEN.mapped.adversarial]).numpy()
    false, true, _ = roc_curve(truth, seen, drop_intermediate=False)
    assert made.value == pytest.approx(true[false <= fpr].max(), abs=1e-12)
    assert made.extras["fpr"] <= fpr
    assert made.value == float((GIVEN.mapped.adversarial > made.extras["threshold"]).double().mean())
    assert made.interval is not None
    assert 0 <= made.interval.low <= made.value <= made.interval.high <= 1
    # The threshold is estimated as well, so this is no narrower than a share at a known threshold, but for few values.
    low, high = proportion(round(made.value * 40), 40)
    assert made.interval.high - made.interval.low > 0.7 * (high - low)
    assert made.group == f"FPR {fpr:g}"


def test_accuracy_of_the_detector_is_scikit_learns() -> None:
    made = compute(SvmAccuracy())
    truth = np.repeat([0, 1], 40)
    guesses = (torch.cat([GIVEN.mapped.clean, GIVEN.mapped.adversarial]) > 0).numpy().astype(int)
    assert made.value == pytest.approx(accuracy_score(truth, guesses), abs=1e-12)
    own = (torch.cat([GIVEN.native_target.clean, GIVEN.native_target.adversarial]) > 0).numpy().astype(int)
    assert made.extras["native_target"] == pytest.approx(accuracy_score(truth, own), abs=1e-12)
    assert made.interval is not None
    assert (made.interval.low, made.interval.high) == pytest.approx(proportion(int((truth == guesses).sum()), 80), abs=1e-9)


# The prediction.


def test_squared_errors_are_scikit_learns() -> None:
    found = GIVEN.prediction
    assert found is not None
    element, vector = compute(MapMse()), compute(MapMse(per="vector"))
    expected = mean_squared_error(found.true_adversarial.numpy(), found.adversarial.numpy())
    assert element.value == pytest.approx(expected, rel=1e-12)
    assert vector.value == pytest.approx(5 * element.value, rel=1e-12)
    rows = (found.adversarial - found.true_adversarial).square().mean(1).numpy()
    half = 1.959964 * rows.std(ddof=1) / 40**0.5
    assert element.interval is not None
    assert (element.interval.low, element.interval.high) == pytest.approx((rows.mean() - half, rows.mean() + half), rel=1e-9)
    assert element.extras["width"] == 5


def test_r2_is_scikit_learns_over_both_kinds() -> None:
    found = GIVEN.prediction
    assert found is not None
    truth = torch.cat([found.true_clean, found.true_adversarial]).numpy()
    guess = torch.cat([found.clean, found.adversarial]).numpy()
    made = compute(R2())
    assert made.value == pytest.approx(r2_score(truth, guess, multioutput="variance_weighted"), abs=1e-12)
    perfect = compute(R2(), evidence(prediction=prediction(noise=0)))
    assert perfect.value == 1.0
    assert perfect.interval is not None
    assert perfect.interval.low == perfect.interval.high == 1.0
    bad = compute(R2(), evidence(prediction=prediction(noise=4)))
    assert bad.value < -5
    assert bad.interval is not None
    assert bad.interval.low <= bad.value <= bad.interval.high
    other = compute(R2(), ctx=Context(scope="test", seed=1))
    assert other.value == made.value
    assert other.interval != made.interval
    assert made.interval is not None
    assert made.interval.low == pytest.approx(other.interval.low if other.interval else None, abs=0.03)


def test_accuracy_of_the_head_is_scikit_learns_beside_those_of_both_networks() -> None:
    made, found = compute(HeadAccuracy()), GIVEN.prediction
    assert found is not None
    assert found.head is not None
    labels = GIVEN.target.labels
    assert made.value == pytest.approx(accuracy_score(labels, found.head(found.adversarial).argmax(1)), abs=1e-12)
    for side in ("target", "source"):
        for kind in ("clean", "adversarial"):
            guesses = getattr(getattr(GIVEN, side), f"guess_{kind}")
            expected = accuracy_score(getattr(GIVEN, side).labels if side == "target" else labels, guesses)
            assert made.extras[f"{side}_{kind}"] == pytest.approx(expected, abs=1e-12)
    assert made.interval is not None
    assert (made.interval.low, made.interval.high) == pytest.approx(proportion(round(made.value * 40), 40), abs=1e-9)


def test_rows_per_column_is_a_ratio() -> None:
    made = compute(RowsPerColumn())
    assert made.value == 7.5
    assert made.extras == {"rows": 60, "columns": 8, "live": 7}


@pytest.mark.parametrize("norm", ["linf", "l2", "mse"])
def test_the_size_of_the_attack_is_a_mean_over_images(norm: str) -> None:
    made = compute(Perturbation(norm=norm))  # type: ignore[arg-type]
    sizes = getattr(GIVEN.source, norm).numpy()
    assert made.value == pytest.approx(sizes.mean(), rel=1e-12)
    assert made.extras["largest"] == sizes.max()
    half = 1.959964 * sizes.std(ddof=1) / 40**0.5
    assert made.interval is not None
    assert made.interval.high == pytest.approx(sizes.mean() + half, rel=1e-9)
    expected = accuracy_score(GIVEN.source.labels, GIVEN.source.guess_adversarial)
    assert made.extras["adversarial_accuracy"] == pytest.approx(expected, abs=1e-12)


# The adaptive attack.


def test_metrics_of_one_adaptive_attack_share_it_whoever_comes_first() -> None:
    answers = []
    for order in ((AdaptiveAuroc(), AdaptiveRobustAccuracy()), (AdaptiveRobustAccuracy(), AdaptiveAuroc())):
        calls: list[tuple[float, int]] = []
        given = evasive(calls)
        answers.append({type(metric).__name__: compute(metric, given) for metric in order})
        assert calls == [(1.0, 40)]
        compute(AdaptiveAuroc(weight=2.0), given)
        compute(AdaptiveAuroc(steps=7), given)
        assert calls == [(1.0, 40), (2.0, 40), (1.0, 7)]
    assert answers[0] == answers[1]
    found, accuracy = answers[0]["AdaptiveAuroc"], answers[0]["AdaptiveRobustAccuracy"]
    assert found.value == pytest.approx(auroc(GIVEN.mapped.clean, normal(40, seed=40) - 1), abs=1e-12)
    assert accuracy.value == pytest.approx(accuracy_score(GIVEN.source.labels, images(10).guess_adversarial), abs=1e-12)
    assert found.group == accuracy.group == "adaptive"
    assert (found.forwards, found.backwards) == (40 * 41, 40 * 40)


def test_an_attacker_who_knows_the_detector_lowers_the_auroc_of_trained_networks() -> None:
    found = Lab().evidence()
    before, adaptive = compute(Auroc(), found), compute(AdaptiveAuroc(weight=5.0, steps=10), found)
    assert adaptive.value < before.value - 0.1
    robust = compute(AdaptiveRobustAccuracy(weight=5.0, steps=10), found).value
    clean = float((found.source.guess_clean == found.source.labels).double().mean())
    assert robust <= clean
    assert compute(AdaptiveRobustAccuracy(weight=0.0, steps=10), found).value <= robust, "evading costs strength"


def test_the_native_diagonal_loses_nothing() -> None:
    network = Toy(width=8, seed=2)
    found = Lab().evidence(source=network, target=network)
    values = {name: compute(metric, found).value for name, metric in metrics().items() if "adaptive" not in name}
    assert values["auroc"] == values["native_auroc source"] == values["native_auroc target"]
    assert values["transfer_gap"] == 0
    assert values["map_mse element"] == values["map_mse vector"] == 0
    assert values["r2"] == 1
    assert values["clean_false_alarm"] == 0.5
    assert values["head_accuracy"] == compute(HeadAccuracy(), found).extras["source_adversarial"]


def test_no_metric_writes_to_the_evidence() -> None:
    given = evasive([])
    before = [t.clone() for part in (given.mapped, given.native_source, given.native_target) for t in vars(part).values()]
    for metric in metrics().values():
        compute(metric, given)
    after = [t for part in (given.mapped, given.native_source, given.native_target) for t in vars(part).values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_scores_that_order_alike_have_one_auroc() -> None:
    """A strictly increasing function changes no AUROC, and a change of sign mirrors it."""
    base = compute(Auroc()).value
    bent = Scores(**{kind: getattr(GIVEN.mapped, kind).exp() for kind in ("clean", "adversarial", "noise")})
    assert compute(Auroc(), evidence(mapped=bent)).value == base
    mirrored = Scores(**{kind: -getattr(GIVEN.mapped, kind) for kind in ("clean", "adversarial", "noise")})
    assert compute(Auroc(), evidence(mapped=mirrored)).value == pytest.approx(1 - base, abs=1e-12)
    assert scores(1, 1.0).clean.dtype == torch.float64
