# SPDX-License-Identifier: Apache-2.0
"""The suites of 1-Lipschitz networks as a user runs them, on tiny networks, and the estimators of another plugin on the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from idx_files import write_mnist

ROOT = Path(__file__).parents[2]
SUITES = [ROOT / "suites" / f"lipschitz_networks{end}.yaml" for end in ("", "_bounds")]
NET = "{use: lip_mlp, hidden: [8, 4], steps: 8, margin: 0.29, norm: bjorck, act: relu, as: net}"
TINY = f"""
lipbench: 1
suite: tiny
task: lipschitz_network
blocks:
  moons:
    matrix: {{network: {NET}, data: {{use: two_moons, count: 60, as: moons}}}}
    metrics: [kr, w1, hinge, class_accuracy, certified_accuracy, attacked_accuracy, certified_radius, gradient_norm, product_bound,
      orthogonality, export_difference, parameters, contours]
  layers:
    matrix: {{network: {{use: lip_layer, of: avg}}, data: {{use: uniform_noise, shape: [1, 4, 4], low: 0, high: 1, integers: false}}}}
    metrics: [gradient_norm, product_bound]
"""
BOUNDS = f"""
lipbench: 1
suite: bounds
task: {{use: lipschitz, count: 8, points: 8}}
matrix: {{network: {NET}, data: {{use: two_moons, count: 60, as: moons}}}}
metrics: [random_pairs, jacobian_norm, jacobian_ascent, regions, schur, spectral_product]
"""


def records(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return {(r["roles"]["network"], r["metric"]): r for r in lines}


@pytest.mark.parametrize("suite", SUITES, ids=lambda p: p.stem)
def test_every_profile_is_valid(suite: Path, cli: Cli) -> None:
    assert cli("validate", suite).code == 0


def test_a_tiny_suite_repeats_to_the_bit_and_its_networks_are_shared(cli: Cli, tmp_path: Path) -> None:
    tiny, bounds = tmp_path / "tiny.yaml", tmp_path / "bounds.yaml"
    tiny.write_text(TINY)
    bounds.write_text(BOUNDS)
    words = ["--device", "cpu", "--results"]
    done = cli("run", tiny, *words, tmp_path / "one", "--workers", "1")
    assert done.code == 0, done.err
    assert cli("run", tiny, *words, tmp_path / "two", "--workers", "2", "--no-plots").code == 0
    one, two = records(tmp_path / "one" / "tiny"), records(tmp_path / "two" / "tiny")
    for name, r in one.items():
        assert {k: r[k] for k in ("value", "extras", "unranked")} == {k: two[name][k] for k in ("value", "extras", "unranked")}
    plots = {p.stem for p in (tmp_path / "one" / "tiny" / "plots").glob("*.svg")}
    assert {"kr_curves", "singular_values", "certified_curves", "contours"} <= plots
    artifacts = sorted((tmp_path / "one" / "artifacts").glob("*.safetensors"))

    done = cli("run", bounds, *words, tmp_path / "one", "--no-plots")
    assert done.code == 0, done.err
    assert sorted((tmp_path / "one" / "artifacts").glob("*.safetensors")) == artifacts, "the network is not fitted again"
    value = {metric: r["value"] for (_, metric), r in records(tmp_path / "one" / "bounds").items()}
    # The sandwich: from below, exact, from above.
    assert value["random_pairs"] <= value["jacobian_ascent"] + 1e-9 <= value["regions"] + 1e-6
    assert value["regions"] <= value["schur"] + 1e-9 <= value["spectral_product"] + 2e-9
    assert value["spectral_product"] == pytest.approx(one["net", "product_bound"]["value"], rel=1e-6)
    assert one["net", "gradient_norm"]["value"] <= value["spectral_product"] + 1e-9


# The profile `paper` with fewer steps and points and smaller convolutions; all else is as published.
SHORT = [
    *(f"blocks.squares.matrix.network.{i}.steps=2" for i in (0, 1)),
    *(f"blocks.{block}.matrix.network.steps=2" for block in ("moons", "pictures", "digits_pair", "ten_digits")),
    *(f"blocks.{block}.matrix.data.count=80" for block in ("moons", "pictures")),
    "blocks.ten_digits.matrix.network.channels=[2, 4]",
]  # fmt: skip


def test_the_published_scale_runs_on_files_of_mnist(tmp_path: Path) -> None:
    labels = np.arange(200, dtype=np.uint8) % 10
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28), dtype=np.uint8)
    data = write_mnist(tmp_path, dict.fromkeys(("train", "t10k"), (images, labels)))
    words = [word for setting in SHORT for word in ("--set", setting)]
    # A process of its own: the server of workers of this one may have begun without the variable.
    done = subprocess.run(
        [sys.executable, "-m", "lipbench", "run", SUITES[0], "--profile", "paper", *words, "--results", tmp_path / "out",
         "--device", "cpu", "--no-plots"],
        env={**os.environ, "LIPBENCH_DATA": str(data)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = records(tmp_path / "out" / "lipschitz_networks_paper")
    assert {r["status"] for r in found.values()} == {"ok"}
    squares, digits = found["fullsort", "kr"], found["alpha 10", "parameters"]
    assert squares["extras"]["w1"] == pytest.approx(35)
    assert {r["params"]["network"]["init"] for r in (squares, digits)} == {"uniform"}
    assert {network for network, _ in found} >= {"fullsort", "relu", "alpha 10", "conv deel"}


def test_bad_input_is_refused_in_one_line(cli: Cli, tmp_path: Path) -> None:
    tiny = tmp_path / "tiny.yaml"
    tiny.write_text(TINY)
    for setting, words in (("act=fulsort", "fullsort"), ("loss=hkr_torch", "hkr_torchlip"), ("k=0", "k")):
        done = cli("plan", tiny, "--set", f"blocks.moons.matrix.network.{setting}")
        assert done.code == 2
        assert len(done.err.splitlines()) == 1
        assert words in done.err
