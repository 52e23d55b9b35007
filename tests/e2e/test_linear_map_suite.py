# SPDX-License-Identifier: Apache-2.0
"""The linear-map suite as a user runs it: digits, and the source's scale on tiny files of the right format."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Cli
from idx_files import write_mnist
from lipbench_basics.attacks import FGSM, AdaptivePGD, Attack, CarliniWagnerL2, Victim
from torch import nn

from lipbench.api import Context, DataSpec, InvalidInput

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "suites" / "linear_map.yaml"
PROFILES = ("quick", "mnist", "cifar10", "imagenet", "paper")
WEIGHTS = ("resnet18", "resnet50", "resnet101", "resnet152", "vgg19", "inception_v3")
# Rows of a class in one split: two for each part.
ROWS = 6


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "linear_map" / "records.jsonl").read_text().splitlines()]


def sets(**values: object) -> Iterator[str]:
    """`--set` options; two underscores stand for a dot."""
    for key, value in values.items():
        yield from ("--set", f"{key.replace('__', '.')}={value}")


def run(data: Path, results: Path, *words: str | Path) -> None:
    """`lipbench run` in a process of its own, since workers read the data folder from the environment that they start in."""
    command = [sys.executable, "-m", "lipbench", "run", SUITE, "--results", results, "--device", "cpu", "--no-plots", *words]
    environment = {**os.environ, "LIPBENCH_DATA": str(data)}
    done = subprocess.run([str(w) for w in command], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def labels() -> np.ndarray:
    return np.arange(10 * ROWS, dtype=np.uint8) % 10


def pictures(pixels: int, salt: int) -> np.ndarray:
    """(60, pixels) uint8: a pattern for each class, and noise."""
    patterns = np.random.default_rng(0).integers(40, 216, (10, pixels))
    noise = np.random.default_rng(salt).integers(-40, 41, (10 * ROWS, pixels))
    return (patterns[labels()] + noise).astype(np.uint8)


def mnist(root: Path) -> Path:
    return write_mnist(
        root, {stem: (pictures(784, salt).reshape(-1, 28, 28), labels()) for salt, stem in enumerate(("train", "t10k"))}
    )


def cifar(root: Path) -> Path:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for salt, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        rows = np.hstack([labels()[:, None], pictures(3072, salt)])
        (folder / f"{name}.bin").write_bytes((rows if name == "test_batch" else rows[:12]).tobytes())
    return root


def imagenet(root: Path) -> Path:
    """Files that exist: nothing of them is read before a run."""
    for name in WEIGHTS:
        (root / "weights").mkdir(parents=True, exist_ok=True)
        (root / "weights" / f"{name}.pth").write_bytes(b"weights")
    (root / "weights" / "vit_base_patch16_224.safetensors").write_bytes(b"weights")
    for folder in ("imagenet-val/cat", "imagenet-val/dog", "damagenet"):
        (root / folder).mkdir(parents=True)
        (root / folder / f"{Path(folder).name}.png").write_bytes(b"picture")
    return root


# What a user has without any file.


def test_pairs_of_digits_and_a_second_run_that_computes_nothing(cli: Cli, tmp_path: Path) -> None:
    short = {f"blocks__pairs__matrix__{role}__{i}__epochs": 4 for role in ("source", "target") for i in (0, 1)}
    words = [
        "run", SUITE, "--profile", "quick", "--results", tmp_path, "--device", "cpu", "--no-plots", "--select", "block=pairs",
        "--select", "source=mlp64", "--select", "source=tanh96", "--select", "target=mlp64", "--select", "target=tanh96",
        *sets(**short, blocks__pairs__matrix__surrogate__epochs=0),
    ]  # fmt: skip
    done = cli(*words)
    assert done.code == 0, done.err
    found = records(tmp_path)
    assert {r["status"] for r in found} == {"ok"}
    metrics = {r["metric"] for r in found}
    assert len(metrics) == 16
    assert len(found) == 4 * 16
    values = {(r["roles"]["source"], r["roles"]["target"], r["metric"]): r for r in found}
    for source in ("mlp64", "tanh96"):
        native = {metric: values[source, source, metric]["value"] for metric in metrics}
        assert native["auroc"] == native["auroc_native_source"] == native["auroc_native_target"]
        assert (native["transfer_gap"], native["mse_elem"], native["mse_sum"], native["r2"]) == (0, 0, 0, 1)
        assert native["clean_false_alarm"] == 0.5
        assert values[source, source, "auroc"]["extras"]["native"] is True
    for source, target in (("mlp64", "tanh96"), ("tanh96", "mlp64")):
        mapped = {metric: values[source, target, metric]["value"] for metric in metrics}
        assert values[source, target, "auroc"]["extras"]["native"] is False
        assert mapped["auroc_native_source"] == values[source, source, "auroc"]["value"]
        assert mapped["auroc_native_target"] == values[target, target, "auroc"]["value"]
        assert mapped["transfer_gap"] == pytest.approx(mapped["auroc"] - mapped["auroc_native_source"], abs=1e-12)
        assert mapped["mse_sum"] == pytest.approx((96 if target == "tanh96" else 64) * mapped["mse_elem"], rel=1e-12)
        assert mapped["rows_per_column"] == 800 / (96 if source == "tanh96" else 64)
        assert mapped["r2"] < 1
        assert mapped["auroc"] > 0.6
    again = cli(*words)
    assert "0 cells computed, 64 reused, 0 failed" in again.out
    assert records(tmp_path) == found


def test_without_files_every_profile_is_valid_and_says_what_is_missing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIPBENCH_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    # One seed of several, which is quicker and needs the same files.
    done = cli("validate", SUITE, "--select", "seed=0")
    assert done.code == 0, done.err
    shown: dict[str, str] = {}
    for line in done.out.splitlines():
        if not line.startswith(" "):
            name = line.partition("(profile ")[2].partition(")")[0] or "default"
            shown[name] = ""
        shown[name] += f"{line}\n"
    assert set(shown) == {"default", *PROFILES}
    assert all(": ok, " in text for text in shown.values())
    for name in ("default", "quick"):
        assert "cannot run" not in shown[name]
    missing = {
        "mnist": ["train-images-idx3-ubyte"],
        "cifar10": ["cifar-10-batches-bin"],
        "imagenet": [
            "imagenet-val", "damagenet", "vit_base_patch16_224.safetensors", *(f"weights/{name}.pth" for name in WEIGHTS)
        ],
    }  # fmt: skip
    for name, files in missing.items():
        lines = shown[name].splitlines()
        assert lines[0].endswith("but it cannot run here:")
        assert len(lines) == 1 + len(files)
        for file in files:
            assert sum(file in line for line in lines) == 1, file
            assert sum(file in line for line in shown["paper"].splitlines()) == 1, file


def test_a_profile_that_is_named_needs_its_files(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPBENCH_DATA", str(tmp_path))
    done = cli("validate", SUITE, "--profile", "mnist")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "train-images-idx3-ubyte" in done.err


# The source's scale, on tiny files.


def test_mnist_runs_and_its_published_numbers_stand_beside_ours(cli: Cli, tmp_path: Path) -> None:
    one = {f"blocks__mnist__matrix__{role}__{i}__epochs": 2 for role in ("source", "target") for i in (0, 1)}
    chosen = ["--select", "attack=fgsm", "--select", "map=ols", "--select", "block=mnist"]
    words = [*chosen, *sets(**one, blocks__mnist__matrix__surrogate__epochs=0, blocks__mnist__seeds=1)]
    run(mnist(tmp_path / "data"), tmp_path / "results", "--profile", "mnist", *words)
    found = records(tmp_path / "results")
    assert {r["status"] for r in found} == {"ok"}
    assert {(r["roles"]["source"], r["roles"]["target"]) for r in found} == {
        (s, t) for s in ("cnn", "ffnn") for t in ("cnn", "ffnn")
    }
    assert {r["params"]["task"]["quantise"] for r in found} == {None, 255}
    sizes = {r["params"]["task"]["quantise"]: r["extras"]["largest"] for r in found if r["metric"] == "perturbation_mse"}
    assert sizes[None] <= 0.02**2 * (1 + 1e-5)
    assert sizes[255] <= (5 / 255) ** 2 * (1 + 1e-5), "5.1 grey levels are rounded to 5"
    board = cli("leaderboard", tmp_path / "results", "--format", "json")
    assert board.code == 0, board.err
    tables = json.loads(board.out)["tables"]
    published = next(t for t in tables if [c["name"] for c in t["columns"]][:3] == ["quantity", "published", "ours"])
    shown = {(row["source"]["text"].partition(" printed")[0], row["quantity"]["text"]): row for row in published["rows"]}
    accuracies = {"Table 1 MNIST CNN": ("cnn", "cnn", 0.9916, 0.8842), "Table 1 MNIST FFNN": ("ffnn", "ffnn", 0.9798, 0.5827)}
    detectors = {
        "section 5.1 CNN to FFNN": ("cnn", "ffnn", 0.994),
        "section 5.1 FFNN to CNN": ("ffnn", "cnn", 0.995),
        "section 5.1 CNN": ("cnn", "cnn", 0.998),
        "section 5.1 FFNN": ("ffnn", "ffnn", 0.999),
    }
    ours = {(r["metric"], r["roles"]["source"], r["roles"]["target"], r["params"]["task"]["quantise"]): r for r in found}
    # The source rounds nothing, so its numbers stand beside the cells that do not either.
    for place, (source, target, *printed) in accuracies.items():
        extras = ours["head_accuracy", source, target, None]["extras"]
        for kind, extra, number in zip(("on originals", "under FGSM"), ("clean", "adversarial"), printed, strict=True):
            row = shown.pop((place, f"accuracy {kind}"))
            assert row["published"]["value"] == number
            assert row["ours"]["value"] == pytest.approx(extras[f"target_{extra}"], abs=1e-12)
    for place, (source, target, number) in detectors.items():
        native = "native " if source == target else ""
        row = shown.pop((place, f"{native}accuracy of the detector"))
        value = ours["svm_accuracy", source, target, None]["value"]
        assert row["published"]["value"] == number
        assert row["difference"]["value"] == pytest.approx(value - number, abs=1e-12)
    assert not shown


def test_two_networks_of_cifar10_run_at_an_eighth_of_their_width(tmp_path: Path) -> None:
    """The run checks the whole profile, the networks that are not selected too."""
    small = {f"blocks__cifar10__matrix__{role}__{i}__{key}": value
             for role in ("source", "target") for i in (1, 3) for key, value in (("width", 0.125), ("epochs", i % 3))}  # fmt: skip
    words = ["--select", "metric=auroc", "--select", "metric=r2", "--select", "attack=fgsm normalised", "--select", "map=ols"]
    words += [w for role in ("source", "target") for n in ("resnet18", "mobilenet_v2") for w in ("--select", f"{role}={n}")]
    words += sets(**small, blocks__cifar10__matrix__surrogate="{use: cifar_network, width: 0.125, epochs: 0, as: surrogate}")
    words += ["--select", "feature=mfs", *sets(blocks__cifar10__seeds=1)]
    run(cifar(tmp_path / "data"), tmp_path / "out", "--profile", "cifar10", *words)
    found = records(tmp_path / "out")
    assert len(found) == 4 * 2
    assert {r["status"] for r in found} == {"ok"}
    diagonal = [r["value"] for r in found if r["metric"] == "r2" and r["roles"]["source"] == r["roles"]["target"]]
    assert diagonal == [1, 1]


def test_imagenet_is_valid_where_its_files_are(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPBENCH_DATA", str(imagenet(tmp_path)))
    done = cli("validate", SUITE, "--profile", "imagenet")
    assert done.code == 0, done.err
    assert "cannot run" not in done.out
    # 12 pairs, 8 attacks, 3 seeds, 2 negatives: least squares and ridge on embeddings for 3 ways to fit, 2 spectra for one.
    assert f"{12 * 8 * 3 * 2 * (2 * 3 + 2)} jobs" in done.out


# Bad input.

WRONG = {
    "negative eps": ({"blocks__pairs__matrix__attack__eps": "-0.1"}, ["eps", "-0.1"]),
    "eps that is no number": ({"blocks__pairs__matrix__attack__eps": "big"}, ["eps", "big"]),
    "unknown map": ({"blocks__pairs__matrix__map": "ols_afine"}, ["ols_afine", "ols_affine"]),
    "a feature for a map": ({"blocks__pairs__matrix__map": "mfs"}, ["map", "mfs"]),
    "a map for a feature": ({"blocks__pairs__matrix__feature": "ols"}, ["feature", "ols"]),
    "a metric of another task": ({"blocks__pairs__metrics": "[line_search]"}, ["line_search"]),
    "one row": ({"blocks__rows__matrix__map_rows": "[1]"}, ["map_rows", "1"]),
    "no levels": ({"blocks__rounded__matrix__quantise": "0"}, ["quantise", "0"]),
    "unknown choice": ({"blocks__protocol__matrix__negatives": "[natve]"}, ["negatives", "natve"]),
    "unknown parameter of the task": ({"blocks__pairs__matrix__map_row": "5"}, ["map_row"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_refused_in_one_line_that_names_it(case: str, cli: Cli) -> None:
    settings, words = WRONG[case]
    # The blocks of `pairs` are in the shortest profile too, which saves time; `plan` reads the suite as written alone.
    quick = ["--profile", "quick"] if "__pairs__" in next(iter(settings)) else []
    done = cli("plan", SUITE, *quick, *sets(**settings))
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    for word in words:
        assert word in done.err


@pytest.mark.parametrize("attack", [FGSM(), CarliniWagnerL2(steps=1), AdaptivePGD(steps=1)])
def test_an_attack_without_foolbox_names_the_extra(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "foolbox" else find(name, *rest))
    spec = DataSpec(shape=(4,), low=0.0, high=1.0)
    victim = Victim(embed=nn.Identity(), head=nn.Linear(4, 2), spec=spec, detector=lambda z: z[:, 0])
    x, y = torch.full((2, 4), 0.5), torch.tensor([0, 1])
    with pytest.raises(InvalidInput, match=r"^this attack needs the package foolbox: pip install 'lipbench\[attacks\]'$"):
        attack.craft(victim, x, y, Context(scope="test"))
