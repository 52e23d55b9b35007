# SPDX-License-Identifier: Apache-2.0
"""What this plugin has: the task `linear_map_detection`, its maps, features, metrics and reports."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import Component, Report, hookimpl

_HERE = "lipbench_linear_map"
_TASK = "linear_map_detection"

_METRICS = {
    "auroc": ("detection:Auroc", "adversarial against original images, by the target's detector on mapped features"),
    "native_auroc": ("detection:NativeAuroc", "the same by a network's own detector on its own features"),
    "transfer_gap": ("detection:TransferGap", "AUROC through the map less that of the source's own detector"),
    "tpr_at_fpr": ("detection:TprAtFpr", "adversarial images found at a given share of false alarms"),
    "svm_accuracy": ("detection:SvmAccuracy", "images on the right side of the detector's threshold"),
    "direct_auroc": ("detection:DirectAuroc", "a detector trained on the source's rows of the map, without a map"),
    "map_mse": ("mapping:MapMse", "squared error of mapped adversarial features"),
    "r2": ("mapping:R2", "share of the target's variance that the map predicts"),
    "head_accuracy": ("mapping:HeadAccuracy", "the target's last layer on mapped adversarial embeddings"),
    "rows_per_column": ("mapping:RowsPerColumn", "rows of the map's fit for each column of the source"),
    "clean_false_alarm": ("controls:CleanFalseAlarm", "mapped originals against native originals; 0.5 is no alarm"),
    "auroc_vs_noise": ("controls:AurocVsNoise", "adversarial images against random signs of the same size"),
    "auroc_success_only": ("controls:AurocSuccessOnly", "only images on which the attack succeeded"),
    "pixel_auroc": ("controls:PixelAuroc", "a detector on pixels, without any network"),
    "adaptive_auroc": ("controls:AdaptiveAuroc", "an attacker who knows map and detector"),
    "adaptive_robust_accuracy": ("controls:AdaptiveRobustAccuracy", "the source's accuracy under that attacker"),
    "perturbation": ("controls:Perturbation", "size of the attack"),
}
_MAPS = {
    "ols": ("OLS", "least squares without intercept, as published"),
    "ols_affine": ("OLSAffine", "least squares with intercept"),
    "ridge_cv": ("RidgeCV", "ridge on standardised features, strength by leave-one-out error"),
    "l21": ("L21", "least sum of un-squared errors, with intercept"),
    "procrustes": ("Procrustes", "orthogonal map after centring"),
    "score_regression": ("ScoreRegression", "least squares of the detector's score alone: one output"),
    "identity": ("Identity", "null map: coordinates as they are"),
    "random": ("RandomMap", "null map: one Gaussian matrix"),
    "shuffled": ("Shuffled", "null map: least squares on shuffled pairs"),
}
_FEATURES = {
    "embedding": ("Embedding", "the embedding as it is"),
    "mfs": ("MagnitudeSpectrum", "magnitudes of its Fourier transform"),
    "pfs": ("PhaseSpectrum", "phases of its Fourier transform"),
    "pfs_cossin": ("PhaseCosSin", "cosine and sine of the phases"),
}


@hookimpl
def lipbench_components() -> Iterable[Component]:
    """The components of the suite."""
    yield Component(
        kind="task",
        name=_TASK,
        factory=f"{_HERE}.task:LinearMapDetection",
        summary="a detector of adversarial images for networks that it was not trained on",
    )
    for name, (place, summary) in _METRICS.items():
        yield Component(kind="metric", name=name, factory=f"{_HERE}.metrics.{place}", summary=summary)
    for name, (cls, summary) in _MAPS.items():
        yield Component(kind="method", name=name, factory=f"{_HERE}.maps:{cls}", summary=summary, tags=("map",))
    for name, (cls, summary) in _FEATURES.items():
        yield Component(kind="method", name=name, factory=f"{_HERE}.features:{cls}", summary=summary, tags=("feature",))


@hookimpl
def lipbench_reports() -> Iterable[Report]:
    """Tables and plots."""
    for kind, name, summary in (
        ("audit", "sanity", "values that cannot all be right: diagonal, own detectors, budgets, errors, gaps"),
        ("table", "verdicts", "what a reader must know before believing an AUROC, with the figures behind it"),
        ("table", "overview", "AUROC through the map for each attack, map and feature, with all controls beside it"),
        ("table", "auroc_matrix", "AUROC of every target's detector on every source"),
        ("table", "head_accuracy", "accuracy of each target's last layer on mapped embeddings, beside the networks' own"),
        ("plot", "auroc_heat_map", "the target by source matrix, with the published one beside it"),
        ("plot", "rows_curve", "AUROC and error against the rows of the map's fit"),
        ("plot", "score_histograms", "what the detector says of originals, noise and adversarial images"),
        ("plot", "mapped_against_native", "AUROC through the map against that of the source's own detector"),
        ("plot", "auroc_against_eps", "detection against the budget of the attack"),
    ):
        yield Report(kind=kind, name=name, task=_TASK, factory=f"{_HERE}.reports.{name}:{name}", summary=summary)  # type: ignore[arg-type]
