# SPDX-License-Identifier: Apache-2.0
"""Every component that comes with lipbench is held to the contract, or stands in a list with the reason why it is not in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_datasets import DATASETS
from test_methods import CALLS
from test_metrics import METRICS, WITH_TASKS
from test_models import MODELS
from test_tasks import TASKS

from lipbench.contract.components import KINDS, Kind
from lipbench.registry import Registered, Registry, load_registry
from lipbench.testing.common import COMMON
from lipbench.testing.kit import Checks, Subject

ROOT = Path(__file__).parents[2]
OURS = {p.name.removeprefix("lipbench_") for p in (ROOT / "plugins").iterdir() if p.is_dir()}
NEEDED: dict[str, dict[str, Any]] = {
    "exported": {"path": "a.pt2"},
    "image_folder": {"path": "folder"},
    "imported": {"factory": "a:b"},
    "native_auroc": {"of": "source"},
    "npz": {"path": "a.npz"},
    "planar_truth": {"of": "cells", "truth": 6},
    "precomputed": {"path": "a.npz"},
    "pretrained_features": {"path": "a.pt2"},
    "relu_saved": {"weights": "a.pth", "layers": ["0"]},
    "timm": {"name": "resnet18", "weights": "a.pth"},
    "torchvision": {"name": "resnet18", "weights": "a.pth"},
}
"""Parameters without which a component cannot be made."""
CHECKED: dict[Kind, set[str]] = {
    "dataset": {name for name, _ in DATASETS},
    "model": {name for name, _, _ in MODELS},
    "task": set(TASKS),
    "metric": {name for _, names in METRICS.values() for name in names} | WITH_TASKS,
    "method": set(CALLS),
}
FILES = "reads files of the user's own; its tests make small ones"
PACKAGE = "needs a package or weights that are not in the default install; its tests use them or stand-ins"
ORACLES = "its protocol is that of its task; held to closed forms, controls or a peer library in the tests of its plugin"
SLOW = "training, a search or sampling, too long for a check that does it some ten times; its plugin's tests do it once"
WAIVED: dict[tuple[Kind, str, str], str] = {
    ("task", "lipschitz_networks", ORACLES): "lipschitz_network",
    ("task", "relu_geometry", ORACLES): "relu_geometry",
    ("dataset", "lipschitz_networks", ORACLES): "toy_squares",
    ("dataset", "relu_geometry", ORACLES): "exclusive_or_square",
    ("metric", "relu_geometry", SLOW): "segment_cells mean_facets region_count probe_distance",
    ("model", "basics", FILES): "exported imported",
    ("model", "basics", PACKAGE): "efficientnet_lite0 timm torchvision",
    ("model", "basics", SLOW): "cifar_network convnet resnet",
    ("model", "relu_geometry", SLOW): "exclusive_or_net image_network relu_classifiers relu_replicas",
    ("model", "relu_geometry", ORACLES): "local_oracle no_target relu_oracle",
    ("model", "relu_geometry", FILES): "relu_saved",
    ("model", "lipschitz_networks", SLOW): "lip_conv lip_mlp lip_sweep",
    ("model", "diffusion_ood", SLOW): "masked_autoencoder",
    ("model", "diffusion_ood", FILES): "pretrained_features",
    ("dataset", "basics", FILES): "cifar10 cifar100 fashion_mnist image_folder kmnist mnist npz svhn",
    ("dataset", "lipschitz_networks", FILES): "mnist_pair",
    ("metric", "linear_map", ORACLES): (
        "adaptive_auroc adaptive_robust_accuracy auroc_success_only direct_auroc head_accuracy map_mse "
        "native_auroc perturbation pixel_auroc rows_per_column tpr_at_fpr"
    ),
    ("metric", "lipschitz_networks", ORACLES): (
        "attacked_accuracy certified_accuracy certified_radius class_accuracy contours export_difference "
        "gradient_norm hinge kr orthogonality parameters product_bound step_seconds w1"
    ),
    ("metric", "distances", SLOW): (
        "bias cost matching noise_floor population_distance power sample_distance separation shared_moments style_transfer"
    ),
    ("metric", "relu_geometry", ORACLES): (
        "boundary_distance cell_evolution centres_needed class_distances clustered_outputs cosine_test failed_fits fit_error "
        "graph_excess map_pictures mapped_outputs mapped_pictures mapped_surface original_accuracy plain_control "
        "probe_auroc pruned_network radius_auroc reconstruction_error region_evolution regions_and_error "
        "replica_learning row_redundancy row_similarity slice_map"
    ),
    ("metric", "diffusion_ood", ORACLES): "class_pairs denoising_loss evaluations reconstructions score_drift seconds",
    ("metric", "lipschitz", SLOW): "clever jacobian_ascent milp pair_ascent",
    ("method", "basics", ORACLES): "adaptive_pgd cw_l2 fgsm pgd random_sign transfer",
    ("method", "basics", FILES): "precomputed",
    ("method", "diffusion_ood", ORACLES): (
        "ae_mahalanobis ae_mse anogan denoise_from eps_mse fill_in inpaint input_complexity knn "
        "likelihood likelihood_regret lmd mahalanobis mean_intensity multi_t no_lift path_statistics "
        "pca_mse probability_flow typicality"
    ),
    ("method", "linear_map", ORACLES): "ols ridge_cv score_regression",
    ("method", "distances", ORACLES): "photographs point_masses same_moments sinkhorn sliced_wasserstein wasserstein",
    ("method", "relu_geometry", ORACLES): "unchanged",
}
"""Kind, plugin and reason to the names: what of the components is not held to all checks of its kind."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def ours(registry: Registry, kind: Kind) -> list[Registered]:
    return [r for r in registry.all(kind) if r.plugin.name in OURS]


@pytest.mark.parametrize("kind", KINDS)
def test_what_all_kinds_must_hold(kind: Kind, registry: Registry) -> None:
    """Declaration, schema, construction and documentation of each component, without exception."""
    checks: Checks[Subject] = Checks(checks=COMMON)
    for entry in ours(registry, kind):
        name = entry.component.name
        params = NEEDED.get(name, {})
        checks.run(Subject(kind=kind, cls=registry.load(entry), declared=entry.component, params=params), {})


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_checked_or_waived_with_a_reason(kind: Kind, registry: Registry) -> None:
    there = {(r.plugin.name, r.component.name) for r in ours(registry, kind)}
    waived = {(plugin, name) for (k, plugin, _), names in WAIVED.items() if k == kind for name in names.split()}
    checked = {(plugin, name) for plugin, name in there if name in CHECKED[kind]}
    assert there - checked - waived == set(), "add a check for these, or a reason to WAIVED"
    assert waived - there == set(), "these are no more"
    assert waived & checked == set(), "these are checked; remove them from WAIVED"
    assert CHECKED[kind] <= {name for _, name in there}
