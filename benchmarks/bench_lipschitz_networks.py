# SPDX-License-Identifier: Apache-2.0
"""Networks that are trained together as stacked tensors against the same number trained one by one; CPU seconds, one thread.

    .venv/bin/python benchmarks/bench_lipschitz_networks.py

The one by one column is the time of one network times their number, without the processes that a run starts for each fit.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from lipbench_basics.datasets.moons import TwoMoons
from lipbench_lipschitz_networks.datasets import DigitsPair, ToySquares
from lipbench_lipschitz_networks.models.mlp import LipMLP
from lipbench_lipschitz_networks.models.sweep import LipSweep

from lipbench.api import Context, Dataset

SWEEP = (("kr", 0.0), ("hkr", 1.0), ("hkr", 10.0), ("hkr", 100.0), ("hinge", 0.0))
CASES: tuple[tuple[str, Dataset, tuple[tuple[str, float], ...], int, dict[str, Any]], ...] = (
    ("moons, 5 losses, 3 seeds", TwoMoons(), SWEEP, 3, {"hidden": (64, 32), "margin": 0.29}),
    ("moons, 5 losses", TwoMoons(), SWEEP, 1, {"hidden": (64, 32), "margin": 0.29}),
    ("digits, 5 losses, 3 seeds", DigitsPair(), SWEEP, 3, {"hidden": (64, 32), "act": "groupsort2", "batch_size": 128}),
    ("squares, KR, 2 seeds", ToySquares(), SWEEP[:1], 2, {"hidden": (64, 32, 16), "sampling": "whole"}),
)
STEPS = 100


def seconds(network: LipMLP, data: Dataset) -> float:
    """CPU seconds of a fit."""
    ctx = Context(scope="benchmark", seed=0)
    network.build(data.spec(), ctx)
    start = time.process_time()
    network.fit(data, ctx)
    return time.process_time() - start


def main() -> None:
    """Print a line for each case."""
    torch.set_num_threads(1)
    for name, data, members, seeds, params in CASES:
        data.split("train", Context(scope="benchmark", seed=0))
        loss, alpha = members[0]
        alone: dict[str, Any] = {"norm": "bjorck", "loss": loss, "alpha": alpha, "steps": STEPS, **params}
        seconds(LipMLP(**{**alone, "steps": 3}), data)
        single = min(seconds(LipMLP(**alone), data) for _ in range(2))
        together = min(seconds(LipSweep(members=members, seeds=seeds, steps=STEPS, **params), data) for _ in range(2))
        count = len(members) * seeds
        ratio = count * single / together
        print(
            f"{name:28} {count:3} networks: {count * single:6.2f} s one by one, {together:6.2f} s together, {ratio:4.1f} times"
        )


if __name__ == "__main__":
    main()
