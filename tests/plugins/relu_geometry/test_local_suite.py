# SPDX-License-Identifier: Apache-2.0
"""The second suite by the command line, and its published numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
ENTRIES: list[dict[str, Any]] = YAML(typ="safe").load((ROOT / "suites/references/locally_linear.yaml").read_text())["entries"]
SUITE = """
lipbench: 1
suite: small
task: locally_linear
blocks:
  planar:
    matrix:
      network: {use: relu_classifiers, hidden: [5, 5], replicas: 3, batches: 20, snapshots: 3, as: 5-5}
      target: &none {use: no_target, as: none}
      data: {use: circle_annulus, count: 1000, as: circle}
    metrics:
      - {use: region_evolution, as: cells}
      - {use: region_evolution, of: published, as: published}
      - {use: replica_learning, of: final, as: final}
  clusters:
    matrix:
      network: [&net {use: image_network, widths: [12], epochs: 3, as: net}, &raw {use: image_network, widths: [12], epochs: 0, as: raw}]
      target: *none
      data: &digits {use: digits, image: true, as: digits}
    metrics:
      - {use: original_accuracy, as: original}
      - {use: clustered_outputs, k: 5, as: k5}
      - {use: clustered_outputs, k: 5, assign: input, as: k5_input}
      - {use: clustered_outputs, k: 5, rows: scaled, as: k5_scaled}
      - {use: plain_control, as: logistic}
      - {use: plain_control, kind: pieces, k: 3, as: pieces}
      - {use: row_redundancy, as: unique}
      - {use: row_redundancy, of: effective_rank, as: effective}
      - {use: row_redundancy, of: rank, as: rank}
      - {use: reconstruction_error, as: reconstruction}
      - {use: map_pictures, k: 3, as: pictures}
      - {use: centres_needed, ks: [1, 5], as: needed}
      - {use: pruned_network, of: numbers, as: numbers}
      - {use: pruned_network, k: 1, as: pruned}
  mapping:
    matrix: {network: [*net, *raw], target: *net, data: *digits}
    metrics:
      - {use: mapped_outputs, as: mapped}
      - {use: mapped_outputs, map: identity, as: unmapped}
      - {use: mapped_outputs, map: shuffled, as: shuffled}
      - {use: mapped_outputs, rows: scaled, as: scaled}
      - {use: mapped_outputs, of: r2_uniform, rows: unbiased, as: r2}
      - {use: mapped_pictures, as: mapped_pictures}
  planes:
    matrix:
      network: [&hand {use: local_oracle, as: hand}, {use: exclusive_or_net, hidden: 9, steps: 300, as: nine}]
      target: *hand
      data: {use: exclusive_or_square, side: 31, as: square}
    metrics:
      - {use: mapped_outputs, as: mapped}
      - {use: mapped_surface, as: jumps}
      - {use: cosine_test, as: excess}
      - {use: row_similarity, as: cka}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int]:
    from click.testing import CliRunner

    from lipbench.cli import cli

    folder = tmp_path_factory.mktemp("local")
    (folder / "small.yaml").write_text(SUITE)
    done = CliRunner().invoke(cli, ["run", str(folder / "small.yaml"), "--results", str(folder / "out"), "--workers", "1"])
    return folder / "out" / "small", done.output, done.exit_code


def test_all_cells_have_values_that_belong_together(results: tuple[Path, str, int]) -> None:
    folder, output, code = results
    assert code == 0, output
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    found = {(r["roles"]["network"], r["roles"]["target"], r["metric"]): r for r in lines}
    assert {r["status"] for r in lines} == {"ok"}
    for name in ("net", "raw"):
        assert found[name, "net", "unmapped"]["value"] == found[name, "none", "original"]["value"]
        assert found[name, "none", "effective"]["value"] <= found[name, "none", "rank"]["value"] <= 13
        assert found[name, "none", "reconstruction"]["value"] < 1e-13
    assert found["hand", "hand", "cka"]["value"] == pytest.approx(1)
    assert found["net", "none", "numbers"]["value"] == 64 * 12 + 12 + 12 * 10 + 10
    assert found["net", "net", "mapped"]["value"] == found["net", "none", "original"]["value"]
    cells, published = (found["5-5", "none", m]["extras"] for m in ("cells", "published"))
    assert all(a <= b for a, b in zip(published["means"], cells["means"], strict=True))


def test_pictures_and_the_table_of_controls_are_made(results: tuple[Path, str, int]) -> None:
    folder, output, _ = results
    assert "How many centres are enough" in output
    assert "How alike local maps are at the same points" in output
    assert "From the local maps of one network to those of another" in output
    assert {p.stem for p in (folder / "plots").glob("*.png")} == {
        "accuracy_curves",
        "cluster_curves",
        "map_pictures",
        "mapped_pictures",
        "mapped_surfaces",
        "mapping_heat_maps_2",
        "mapping_heat_maps",
        "polytope_strips",
        "region_curves",
        "row_spectra",
    }


def idx(array: np.ndarray) -> bytes:
    return (2048 + array.ndim).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def test_the_profile_of_the_source_runs_on_small_files(tmp_path: Path) -> None:
    raw, rng = tmp_path / "MNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    labels = np.arange(40, dtype=np.uint8) % 10
    for stem in ("train", "t10k"):
        images = rng.integers(0, 100, (40, 28, 28)) + 150 * (np.arange(28) // 3 == labels[:, None, None])
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(idx(images.astype(np.uint8)))
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(idx(labels))
    words = ["--profile", "paper", "--results", str(tmp_path / "out"), "--workers", "1", "--no-plots"]
    for block, roles in (("clusters", ("network",)), ("mapping", ("network", "target"))):
        words += ["--select", f"block={block}", "--set", f"blocks.{block}.seeds=1"]
        for role in roles:
            words += [w for i in range(3) for w in ("--set", f"blocks.{block}.matrix.{role}.{i}.epochs=1")]
    words += ["--select", "network=Dense", "--select", "network=Conv1"]
    done = subprocess.run(
        [sys.executable, "-m", "lipbench", "run", str(ROOT / "suites/locally_linear.yaml"), *words],
        env={**os.environ, "LIPBENCH_DATA": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(line) for path in (tmp_path / "out").rglob("records.jsonl") for line in path.read_text().splitlines()]
    found = {(r["roles"]["network"], r["roles"]["target"], r["metric"]): r["value"] for r in records}
    assert {r["status"] for r in records} == {"ok"}
    assert found["Dense", "Conv1", "unmapped"] == found["Dense", "none", "original"]
    # As many centres as there are rows are the rows.
    assert found["Dense", "none", "k10000_inertia"] == pytest.approx(0, abs=1e-9)
    assert found["Conv1", "none", "numbers"] == 10 * 25 + 10 + 20 * 250 + 20 + 320 * 50 + 50 + 510


def test_published_tables_are_whole_and_their_anomalies_are_marked() -> None:
    tables = {note: [e for e in ENTRIES if e["note"] == note] for note in ("Table 1", "Table 2", "notebook")}
    assert {note: len(found) for note, found in tables.items()} == {"Table 1": 30, "Table 2": 25, "notebook": 61}
    distinct = {e["where"]["network"]: e["value"] for e in ENTRIES if e["where"]["metric"] == "unique_rows"}
    assert distinct == {"Dense": 0.9996, "Conv1": 1, "Conv2": 1, "Inception": 1, "ResNet": 1}
    first = {(e["where"]["network"], e["where"]["data"]): e["value"] for e in ENTRIES if e["where"]["metric"] == "first_batch"}
    assert first == {("3", "circle"): 147, ("8-8-8", "circle"): 107, ("8-8-8", "four circles"): 410}
    original = {e["where"]["network"]: e["value"] for e in tables["Table 1"] if e["where"]["metric"] == "original"}
    for e in tables["Table 2"]:
        source, target = e["where"]["network"], e["where"]["target"]
        if source == target:
            # The diagonal is no fit.
            assert e["value"] == original[source]
            assert e["verdict"].startswith("†")
        else:
            # No map at all does better, in every pair.
            assert e["value"] < original[source]
            assert str(original[source]) in e["verdict"]
    assert all(0 < e["value"] < 1 for e in (*tables["Table 1"], *tables["Table 2"]))
