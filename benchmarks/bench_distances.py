# SPDX-License-Identifier: Apache-2.0
"""Times sliced distances and Sinkhorn divergences against the general functions of POT that give the same.

Prints ratios of one run, by processor time on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import ot
import torch
from lipbench_distances.distances.transport import Sinkhorn, SlicedWasserstein
from torch import Tensor

from lipbench.api import Context

CTX = Context(scope="benchmark")


def seconds(call: Callable[[], Tensor], repeats: int) -> float:
    """Median processor time of a call, after one that is not counted."""
    call()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def rows(n: int) -> tuple[Tensor, Tensor]:
    """Two samples in three dimensions."""
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn((n, 3), generator=g, dtype=torch.float64) for _ in range(2))
    return x, y + 0.3


def sliced(n: int, repeats: int) -> tuple[float, float]:
    """Ours and POT's, on the same lines."""
    x, y = rows(n)
    ours = SlicedWasserstein()
    lines = ours._lines(x, CTX)
    theirs = lambda: ot.sliced_wasserstein_distance(x, y, projections=lines)  # noqa: E731
    assert abs(float(ours.between(x, y, CTX)) - float(theirs())) < 1e-9
    return seconds(lambda: ours.between(x, y, CTX), repeats), seconds(theirs, repeats)


def sinkhorn(n: int, repeats: int) -> tuple[float, float]:
    """Ours, by the kernel, and POT's debiased problem, by logarithms; as many steps of each."""
    x, y = rows(n)
    pooled = torch.cat([x, y])
    weight = 0.2 * float((pooled - pooled.mean(0)).square().sum(1).mean())
    ours = Sinkhorn(epsilon=0.1, steps=100)
    theirs = lambda: ot.solve_sample(x, y, reg=weight, max_iter=100, tol=1e-6, debias=True).value  # noqa: E731
    assert abs(float(ours.between(x, y, CTX)) / float(theirs()) - 1) < 1e-2
    return seconds(lambda: ours.between(x, y, CTX), repeats), seconds(theirs, repeats)


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # POT says where it did not converge
    for name, times in (("sliced W2", sliced), ("Sinkhorn", sinkhorn)):
        for n in (200, 1000):
            ours, theirs = times(n, repeats)
            print(f"{name:10} {n:5} rows: {theirs / ours:6.1f} times as fast as POT's general function")


if __name__ == "__main__":
    main()
