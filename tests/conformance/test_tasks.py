# SPDX-License-Identifier: Apache-2.0
"""The tasks that come with lipbench keep the contract, each run on small networks with the metrics that read its evidence."""

from __future__ import annotations

from lipbench.testing import check_metric, check_task, make_evidence

DIGITS = {"use": "digits", "image": True, "test_fraction": 0.8}
MLP = {"use": "mlp", "hidden": [16], "epochs": 1, "lr": 0.002}


TASKS: dict[str, tuple[str, ...]] = {
    "lipschitz": ("random_pairs", "line_search", "jacobian_norm", "regions", "schur", "spectral_product", "interval_jacobian"),
    "linear_map_detection": ("auroc", "transfer_gap", "r2", "clean_false_alarm", "auroc_vs_noise", "svm_accuracy"),
    "ood_detection": ("ood_auroc", "aupr", "fpr_at_tpr"),
    "distribution_distance": ("axiom_violations",),
    "locally_linear": ("planar_truth",),
}
"""Each task with the metrics that it is run with: they give a value for each seed, in any order and batch."""


def test_lipschitz() -> None:
    check_task(
        "lipschitz",
        roles={
            "network": {"use": "random_relu", "sizes": [2, 6, 2]},
            "data": {"use": "uniform_noise", "shape": [2], "low": -1, "high": 1, "integers": False, "count": 16},
        },
        metrics=TASKS["lipschitz"],
        params={"count": 6, "points": 6},
    )


def test_linear_map() -> None:
    check_task(
        "linear_map_detection",
        roles={
            "source": MLP, "target": {**MLP, "hidden": [12]}, "surrogate": {**MLP, "hidden": [8]}, "data": DIGITS,
            "attack": {"use": "fgsm", "eps": 0.125}, "map": "ridge_cv", "feature": "embedding",
        },
        metrics=TASKS["linear_map_detection"],
        waive={"evidence_documented": "two fields are described in the docstring of the class, together"},
    )  # fmt: skip


def test_ood() -> None:
    check_task(
        "ood_detection",
        roles={
            "in_dist": {"use": "ood_tiny", "of": "digits", "train": 64, "test": 32},
            "out_dist": {"use": "ood_tiny", "of": "geo", "train": 64, "test": 32},
            "backbone": {"use": "diffusion_unet", "steps": 1, "channels": [4]}, "lift": "no_lift", "detector": "eps_mse",
        },
        metrics=TASKS["ood_detection"],
        params={"images": 8},
        waive={"evidence_documented": "the string of loss_curve does not name its shape"},
    )  # fmt: skip


def test_ood_metrics() -> None:
    evidence = make_evidence(
        "ood_detection",
        roles={
            "in_dist": {"use": "ood_tiny", "of": "digits", "train": 64, "test": 32},
            "out_dist": {"use": "ood_tiny", "of": "shapes", "train": 64, "test": 32},
            "backbone": "no_backbone",
            "lift": "no_lift",
            "detector": "mean_intensity",
        },
        metric="ood_auroc",
    )
    unreached = {
        "nan_evidence": "the task refuses scores that are not finite",
        "empty_evidence": "the task refuses fewer than two images",
    }
    for name, waive in {"ood_auroc": {}, "aupr": unreached, "fpr_at_tpr": {}}.items():
        check_metric(name, evidence=lambda: evidence, bounds=(0, 1), waive=waive)


def test_distribution_distance() -> None:
    roles = {"pair": {"use": "random_gaussians", "d": 3}, "distance": "gaussian_w2"}
    check_task(
        "distribution_distance",
        roles=roles,
        metrics=TASKS["distribution_distance"],
        waive={"evidence_documented": "some fields are described in the docstring of the class"},
    )


def test_locally_linear() -> None:
    roles = {"network": {"use": "local_oracle", "kind": "hexagon"}, "target": "no_target", "data": "circle_annulus"}
    check_task(
        "locally_linear",
        roles=roles,
        metrics=[{"use": "planar_truth", "of": "cells", "truth": 6}],
        waive={"evidence_documented": "some fields are described in the docstring of the class"},
    )
