# SPDX-License-Identifier: Apache-2.0
"""The smallest metric and model that are of use: few lines, imports included, and they keep the contract all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Cli

from lipbench.testing import ConformanceError, check_metric, check_model, make_evidence

HERE = Path(__file__).parents[3] / "examples" / "smallest"
METRIC, MODEL = str(HERE / "smallest_metric.py"), str(HERE / "smallest_model.py")
SUITES = HERE.parents[1] / "suites"
TINY = {"use": "ood_tiny", "train": 64, "test": 32}
ROLES = {
    "in_dist": {**TINY, "of": "digits"}, "out_dist": {**TINY, "of": "shapes"},
    "backbone": "no_backbone", "lift": "no_lift", "detector": "mean_intensity",
}  # fmt: skip


def test_a_metric_takes_15_lines_and_a_model_25() -> None:
    assert len(Path(METRIC).read_text().splitlines()) <= 15
    assert len(Path(MODEL).read_text().splitlines()) <= 25


def test_the_model() -> None:
    square = {"use": "uniform_noise", "shape": [2], "low": -1, "high": 1, "integers": False, "count": 8}
    assert not check_model("rotation", plugin=MODEL, data=square).faults()


def test_the_metric() -> None:
    evidence = make_evidence("ood_detection", roles=ROLES, metric="median_gap", plugin=METRIC)
    check_metric("median_gap", plugin=METRIC, evidence=lambda: evidence, invariances={"permutation": None})


def test_evidence_that_cannot_be_made_is_said_once() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_metric(
            "median_gap", plugin=METRIC, evidence=lambda: make_evidence("ood_detection", roles=ROLES, metric="median_gap")
        )
    assert str(caught.value).count("there is no metric 'median_gap'") == 1
    assert "conformance.yaml" not in str(caught.value)


def test_suites_take_them(cli: Cli) -> None:
    metric = cli(
        "validate", SUITES / "diffusion_ood.yaml", "--plugin", METRIC, "--profile", "quick", "--set", "metrics=[median_gap]"
    )
    model = cli("validate", SUITES / "lipschitz.yaml", "--plugin", MODEL, "--set", "blocks.planar.matrix.network=[rotation]")
    assert (metric.code, model.code) == (0, 0), metric.err + model.err
