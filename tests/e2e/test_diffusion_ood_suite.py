# SPDX-License-Identifier: Apache-2.0
"""The suite diffusion_ood as a user runs it, and a tiny one of Gaussian fields whose exact model needs no training."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from PIL import Image

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "suites" / "diffusion_ood.yaml"
IMAGES, ATTEMPTS, STEPS, SIDE = 12, 4, 3, 8
LMD = "{use: lmd, distance: mse, as: lmd mse}"
ABLATION = (
    f"{LMD}, {{use: lmd, distance: ssim, as: lmd ssim}}, {{use: lmd, distance: mse, attempts: 1, as: lmd r=1}}, "
    "{use: lmd, distance: ssim, attempts: 3, aggregate: mean, as: lmd ssim r=3}"
)
METRICS = ["auroc", "aupr", "fpr_at_tpr", "evaluations"]
# A detector that reads reconstructions and then waits for a file.
WAITING = """
import time
from pathlib import Path
from lipbench.api import Component, hookimpl
from lipbench_diffusion_ood.base import Detector, Scored


class Waits(Detector):
    needs = "reconstructions"

    def __init__(self, *, gate: str) -> None:
        self.gate = gate

    def score(self, x, backbone, calibrated, lifted, ctx):
        Path(self.gate + ".waiting").touch()
        while not Path(self.gate).exists():
            time.sleep(0.02)
        return Scored(scores=(lifted["reconstructions"] - x).double().square().mean((0, 2, 3, 4)))


@hookimpl
def lipbench_components():
    yield Component(kind="method", name="waits", factory="waiting:Waits", summary="waits for a file", tags=("detector",))
"""


class Fields:
    """A suite of three Gaussian fields, and its results."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.cli, self.suite, self.results = cli, folder / "fields.yaml", folder / "results"

    def write(self, detectors: str = LMD, strong: str = "scale: 1.5") -> Path:
        """Write the suite."""
        self.suite.write_text(f"""
lipbench: 1
suite: fields
task: {{use: ood_detection, images: {IMAGES}}}
blocks:
  lmd:
    matrix:
      in_dist: &field {{use: gaussfield, train: 40, test: 20, as: field}}
      out_dist: &others
        - {{use: gaussfield, {strong}, train: 40, test: 20, as: strong}}
        - {{use: gaussfield, kind: white, train: 40, test: 20, as: white}}
      backbone: {{use: gaussian_exact, field: true, as: exact}}
      lift: {{use: inpaint, cells: 4, attempts: {ATTEMPTS}, steps: {STEPS}, as: checkerboard 4}}
      detector: [{detectors}]
    metrics: [&auroc {{use: ood_auroc, as: auroc}}, aupr, fpr_at_tpr, evaluations, reconstructions]
  trivial:
    matrix:
      in_dist: *field
      out_dist: *others
      backbone: no_backbone
      lift: no_lift
      detector: [{{use: knn, source: pixels, as: pixel knn}}, mean_intensity]
    metrics: [*auroc, aupr, fpr_at_tpr, evaluations]
leaderboard: {{rows: [in_dist, out_dist, lift, detector], rank: none}}
""")
        return self.suite

    def words(self, *words: str | Path) -> list[str | Path]:
        return ["run", self.suite, "--results", self.results, "--device", "cpu", "--no-plots", *words]

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.results / "fields" / "records.jsonl").read_text().splitlines()]

    def values(self) -> dict[tuple[str, str, str], float]:
        found = [r for r in self.records() if r["status"] == "ok"]
        return {(r["roles"]["out_dist"], r["roles"]["detector"], r["metric"]): r["value"] for r in found}

    def artifacts(self, method: str) -> dict[str, int]:
        """Stored results of a method of the task by name, with the time at which they were written."""
        found = {}
        for path in (self.results / "artifacts").glob("*.json"):
            if json.loads(path.read_text()).get("method") == method:
                found[path.stem] = path.with_suffix(".safetensors").stat().st_mtime_ns
        return found


@pytest.fixture
def fields(cli: Cli, tmp_path: Path) -> Fields:
    return Fields(cli, tmp_path)


def test_a_tiny_suite_runs_and_a_second_run_computes_nothing(fields: Fields, cli: Cli) -> None:
    fields.write()
    done = cli(*fields.words())
    assert done.code == 0, done.err
    first = fields.records()
    assert Counter((r["status"], r["metric"]) for r in first) == {
        **{("ok", metric): 6 for metric in METRICS}, ("ok", "reconstructions"): 2
    }  # fmt: skip
    values = fields.values()
    for out in ("strong", "white"):
        assert values[out, "lmd mse", "evaluations"] == ATTEMPTS * STEPS
        assert values[out, "pixel knn", "evaluations"] == values[out, "mean_intensity", "evaluations"] == 0
        assert values[out, "lmd mse", "auroc"] > 0.6
    for record in first:
        if record["metric"] == "auroc":
            assert record["extras"]["images"] == [IMAGES, IMAGES]
            assert record["interval"]["low"] <= record["value"] <= record["interval"]["high"]
        if record["metric"] == "reconstructions":
            with Image.open(io.BytesIO(base64.b64decode(record["extras"]["sheet"]))) as sheet:
                assert sheet.size == (16 * SIDE + 2, 4 * SIDE)
    # Of exact, the field and two others; of no_backbone nothing is reconstructed.
    assert len(fields.artifacts("lifted")) == 6
    again = cli(*fields.words())
    assert f"0 cells computed, {len(first)} reused, 0 failed" in again.out
    assert fields.records() == first
    board = cli("leaderboard", fields.results, "--format", "json")
    assert board.code == 0, board.err
    assert json.loads(board.out)["tables"]


def test_distances_and_attempts_reconstruct_nothing_anew(fields: Fields, cli: Cli) -> None:
    fields.write()
    assert cli(*fields.words()).code == 0
    lifted, scored, before = fields.artifacts("lifted"), fields.artifacts("scored"), fields.values()
    fields.write(ABLATION)
    done = cli(*fields.words())
    assert done.code == 0, done.err
    assert fields.artifacts("lifted") == lifted, "none added, none written again"
    # Three more detectors on three sets.
    assert len(fields.artifacts("scored")) == len(scored) + 9
    assert scored.items() <= fields.artifacts("scored").items()
    values = fields.values()
    assert before.items() <= values.items()
    cost = {d: values["white", d, "evaluations"] for d in ("lmd mse", "lmd ssim", "lmd r=1", "lmd ssim r=3")}
    assert cost == {"lmd mse": 12, "lmd ssim": 12, "lmd r=1": 3, "lmd ssim r=3": 9}
    assert len({values["strong", d, "reconstructions"] for d in cost}) == 1


def test_values_do_not_depend_on_the_workers(fields: Fields, cli: Cli, tmp_path: Path) -> None:
    fields.write()
    assert cli(*fields.words("--workers", "1")).code == 0
    one = {r["cell"]: (r["value"], r["interval"], r["extras"]) for r in fields.records()}
    fields.results = tmp_path / "two"
    assert cli(*fields.words("--workers", "2")).code == 0
    assert {r["cell"]: (r["value"], r["interval"], r["extras"]) for r in fields.records()} == one


def test_a_killed_run_goes_on_where_it_was(fields: Fields, cli: Cli, tmp_path: Path) -> None:
    plugin, gate = tmp_path / "waiting.py", tmp_path / "gate"
    plugin.write_text(WAITING)
    fields.write(f"{LMD}, {{use: waits, gate: '{gate}', as: waits}}")
    words = fields.words("--plugin", plugin, "--workers", "1", "--select", "block=lmd")
    process = subprocess.Popen(
        [sys.executable, "-m", "lipbench", *map(str, words)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    waiting, limit = Path(f"{gate}.waiting"), time.monotonic() + 60
    while not waiting.exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    # Its workers too: the session is its own.
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert waiting.exists()
    lifted = fields.artifacts("lifted")
    assert lifted
    kept = len(fields.records()) if (fields.results / "fields" / "records.jsonl").exists() else 0
    gate.touch()
    done = cli(*words)
    assert done.code == 0, done.err
    assert f"{20 - kept} cells computed, {kept} reused, 0 failed" in done.out
    assert lifted.items() <= fields.artifacts("lifted").items(), "what was reconstructed is not written again"
    whole = fields.values()
    fields.results = tmp_path / "whole"
    assert cli(*fields.words("--plugin", plugin, "--workers", "1", "--select", "block=lmd")).code == 0
    assert fields.values() == whole


def test_images_of_another_size_fail_in_one_sentence_and_nothing_else_does(fields: Fields, cli: Cli) -> None:
    fields.write(strong="size: 4")
    done = cli(*fields.words())
    assert done.code == 1
    for record in fields.records():
        bad = record["roles"]["out_dist"] == "strong"
        assert record["status"] == ("failed" if bad else "ok"), record["roles"]
        if bad:
            assert record["error"]["class"] == "invalid"
            assert "images of shape (1, 4, 4) cannot be scored by a model of (1, 8, 8)" in record["error"]["message"]
            assert len(record["error"]["message"].splitlines()) == 1


# The suite of the package.


def test_the_suite_is_valid(cli: Cli) -> None:
    done = cli("validate", SUITE)
    assert done.code == 0, done.err
    assert "diffusion_ood.yaml: ok, " in done.out


def test_controls_of_the_suite_run_on_digits(cli: Cli, tmp_path: Path) -> None:
    words = [
        "--select",
        "block=trivial",
        "--select",
        "in_dist=digits",
        "--select",
        "metric=auroc",
        "--results",
        tmp_path,
        "--device",
        "cpu",
        "--no-plots",
    ]
    done = cli("run", SUITE, *words)
    assert done.code == 0, done.err
    lines = (tmp_path / "diffusion_ood" / "records.jsonl").read_text().splitlines()
    values = {(r["roles"]["out_dist"], r["roles"]["detector"]): r["value"] for r in map(json.loads, lines)}
    # Far sets need no model; a mirrored image has the mean of the original.
    assert values["geo", "pixel knn"] > 0.95
    assert values["digits mirror", "mean_intensity"] == pytest.approx(0.5, abs=1e-3)


WRONG = {
    "one image": ({"task.images": "1"}, ["images", "1"]),
    "unknown distance": ({"blocks.lmd.matrix.detector.0.distance": "l3"}, ["distance", "l3"]),
    "no attempt": ({"blocks.lmd.matrix.lift.attempts": "0"}, ["attempts", "0"]),
    "a detector for a lift": ({"blocks.lmd.matrix.lift": "mean_intensity"}, ["lift", "mean_intensity"]),
    "a lift for a detector": ({"blocks.lmd.matrix.detector": "inpaint"}, ["detector", "inpaint"]),
    "a share of all": ({"blocks.lmd.metrics": "[{use: fpr_at_tpr, tpr: 1}]"}, ["tpr", "1"]),
    "an unknown kind of positive": ({"blocks.lmd.metrics": "[{use: aupr, positive: both}]"}, ["positive", "both"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_refused_in_one_line_that_names_it(case: str, fields: Fields, cli: Cli) -> None:
    settings, words = WRONG[case]
    done = cli("plan", fields.write(), *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")))
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    for word in words:
        assert word in done.err
