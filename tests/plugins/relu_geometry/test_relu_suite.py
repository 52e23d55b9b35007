# SPDX-License-Identifier: Apache-2.0
"""Task, metrics and reports by the command line, on a suite of seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SUITE = """
lipbench: 1
suite: small
task: relu_geometry
blocks:
  exact:
    matrix:
      network:
        - {use: relu_oracle, sizes: [2, 4, 4, 1], as: deep}
        - {use: relu_oracle, kind: duplicate, sizes: [2, 5, 1], draw: 11, as: twice}
        - {use: relu_oracle, kind: no_biases, as: no biases}
      data: {use: quadratic, as: square}
      attack: unchanged
    metrics:
      - {use: enumeration_faults, as: faults}
      - {use: region_count, as: whole}
      - {use: region_count, where: box, as: box}
      - {use: published_undercount, as: missed}
      - {use: graph_excess, as: steps}
      - cell_map
  one_layer:
    matrix: {network: {use: relu_oracle, sizes: [2, 12, 1], as: lines}, data: {use: quadratic, as: square}, attack: unchanged}
    metrics: [{use: graph_excess, as: steps}, cell_map]
  toys:
    matrix:
      network:
        - {use: relu_replicas, hidden: [6], replicas: 6, epochs: 20, as: one}
        - {use: relu_replicas, hidden: [6, 6], replicas: 6, epochs: 20, snapshots: 3, as: two}
      data: {use: quadratic, count: 300, as: square}
      attack: unchanged
    metrics: [{use: region_count, as: whole}, fit_error, failed_fits, region_ratio, mean_facets, {use: regions_and_error, learned: false, as: rho}]
  learning:
    matrix: {network: {use: relu_replicas, hidden: [6, 6], replicas: 6, epochs: 20, snapshots: 3, as: two}, data: {use: quadratic, count: 300, as: square}, attack: unchanged}
    metrics: [{use: cell_evolution, as: gained}]
  images:
    matrix:
      network: {use: mlp, hidden: [12, 12], epochs: 3, as: mlp}
      data: {use: digits, as: digits}
      attack: [unchanged, {use: fgsm, eps: 0.1, as: fgsm}]
      points: 40
    metrics:
      - {use: probe_distance, radius: 0.5, as: probe}
      - {use: probe_distance, radius: 1.0, as: probe_1}
      - {use: active_bits, count: 2, as: active}
      - {use: segment_cells, as: cells}
      - {use: segment_cells, of: excess, as: excess}
      - {use: bisection_miss, as: missed}
      - {use: chebyshev_radius, count: 4, as: radius}
      - {use: chebyshev_radius, count: 4, of: centre, as: centre}
      - {use: facet_distance, as: distance}
      - {use: boundary_distance, as: certified}
      - {use: boundary_distance, of: crossed, as: crossed}
      - {use: boundary_distance, of: linear, as: linear}
      - class_distances
      - {use: nearest_agreement, as: bits}
      - {use: nearest_agreement, by: penultimate, as: last}
      - {use: nearest_agreement, by: cosine, as: cosine}
      - {use: nearest_agreement, by: logits, as: logits}
      - network_accuracy
      - slice_map
  attacks:
    matrix:
      network: {use: mlp, hidden: [12, 12], epochs: 3, as: mlp}
      data: {use: digits, as: digits}
      attack: {use: fgsm, eps: 0.1, as: fgsm}
      points: 40
    metrics: [{use: probe_auroc, as: auroc}, {use: radius_auroc, by: distance, as: auroc_size}]
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int]:
    from click.testing import CliRunner

    from lipbench.cli import cli

    folder = tmp_path_factory.mktemp("relu")
    (folder / "small.yaml").write_text(SUITE)
    done = CliRunner().invoke(cli, ["run", str(folder / "small.yaml"), "--results", str(folder / "out"), "--workers", "1"])
    return folder / "out" / "small", done.output, done.exit_code


def _records(folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return {(r["roles"]["network"], r["metric"], r["roles"]["attack"]): r for r in lines}


def test_nothing_fails_and_nothing_contradicts(results: tuple[Path, str, int]) -> None:
    folder, output, code = results
    assert code == 0, output
    assert {r["status"] for r in _records(folder).values()} == {"ok"}


def test_counts_are_checked_and_the_published_traversal_falls_short(results: tuple[Path, str, int]) -> None:
    found = _records(results[0])
    for network, cells in (("deep", 28), ("twice", 11), ("no biases", 6)):
        assert found[network, "faults", "unchanged"]["value"] == 0
        assert found[network, "whole", "unchanged"]["value"] == cells
        assert found[network, "box", "unchanged"]["value"] <= cells
    assert found["deep", "missed", "unchanged"]["value"] == 0
    assert found["twice", "missed", "unchanged"]["value"] > 0
    assert found["no biases", "missed", "unchanged"]["value"] > 0


def test_values_lie_where_they_must(results: tuple[Path, str, int]) -> None:
    found = _records(results[0])
    for attack in ("unchanged", "fgsm"):
        assert found["mlp", "probe_1", attack]["value"] >= found["mlp", "probe", attack]["value"]
        assert found["mlp", "radius", attack]["extras"]["min"] > 0
        assert found["mlp", "radius", attack]["extras"]["max"] <= 0.5
        hamming, counts = found["mlp", "cells", attack]["extras"]["scatter"]
        assert all(c >= h and (c - h) % 2 == 0 for h, c in zip(hamming, counts, strict=True))
        assert found["mlp", "excess", attack]["extras"]["odd"] == 0
        assert sum(found["mlp", "active", attack]["extras"]["layers"]) == pytest.approx(found["mlp", "active", attack]["value"])
        assert found["mlp", "certified", attack]["value"] <= found["mlp", "linear", attack]["value"]
        assert found["mlp", "certified", attack]["value"] <= found["mlp", "distance", attack]["value"]
        assert found["mlp", "centre", attack]["value"] <= found["mlp", "centre", attack]["extras"]["solver_mean"] + 1e-9
        assert 0 < found["mlp", "class_distances", attack]["value"] < 1
    # Steps in the dual graph are those of the Hamming distance with one layer, and never fewer; units that share a line flip together.
    assert found["lines", "steps", "unchanged"]["value"] == 0
    assert found["deep", "steps", "unchanged"]["extras"]["largest_excess"] % 2 == 0
    drawn = found["lines", "cell_map", "unchanged"]["extras"]
    assert drawn["steps"] == drawn["hamming"]
    assert len(found["two", "whole", "unchanged"]["extras"]["counts"]) == 6
    learning = found["two", "gained", "unchanged"]["extras"]
    assert learning["epochs"] == [0, 1, 4, 20]
    assert [len(f["polygons"]) for f in learning["frames"]] == [counts[0] for counts in learning["counts"]]
    for r in found.values():
        if r["unit"] in ("share", "AUROC", "accuracy", "share of the same class"):
            assert 0 <= r["value"] <= 1


def test_all_pictures_and_the_table_of_claims_are_made(results: tuple[Path, str, int]) -> None:
    folder, output, _ = results
    assert "What the source claims" in output
    plots = {p.stem for p in (folder / "plots").glob("*.png")}
    assert plots >= {
        "cell_maps",
        "dual_maps",
        "slices",
        "regions_against_units",
        "probe_curves",
        "crossings",
        "active_layers",
        "radii",
        "evolution",
        "heat_maps",
        "class_heat_maps",
    }
