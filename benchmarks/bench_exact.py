# SPDX-License-Identifier: Apache-2.0
"""Times exact Lipschitz constants by the geometry engine against clipping one polygon after the other in plain Python.

Prints processor seconds of one thread and their ratio in one run, on the same networks; counts and constants must be equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from lipbench_lipschitz.chain import Dense, dense_chain
from lipbench_lipschitz.estimators.regions import Regions
from lipbench_lipschitz.networks import RandomReLU
from lipbench_lipschitz.pairsource import GivenPairs
from lipbench_lipschitz.probe import Probe
from lipbench_lipschitz.spectral import operator_norm
from lipbench_lipschitz.task import NetworkOnRegion

from lipbench.api import Context, DataSpec

CTX = Context(scope="bench")
PLANAR: tuple[tuple[int, ...], ...] = (
    (2, 8, 2),
    (2, 16, 2),
    (2, 10, 10, 2),
    (2, 12, 12, 12, 3),
    (2, 40, 40, 2),
    (2, 80, 80, 2),
)
SPATIAL: tuple[tuple[int, ...], ...] = ((3, 10, 10, 2), (4, 10, 10, 2), (5, 9, 8, 2), (6, 9, 7, 2))


def evidence(sizes: Sequence[int]) -> NetworkOnRegion:
    """The network of these sizes on [-1, 1]^n."""
    spec = DataSpec(shape=(sizes[0],), low=-1.0, high=1.0)
    model = RandomReLU(sizes=tuple(sizes), seed=1)
    model.build(spec, CTX)
    points = torch.zeros(1, sizes[0])
    return NetworkOnRegion(
        probe=Probe(model.module, (sizes[0],), torch.float64),
        spec=spec,
        norm="l2",
        radius=None,
        points=points,
        pairs=GivenPairs(x=points.double(), y=points.double()),
    )


def halves(polygon: np.ndarray, at: np.ndarray) -> list[np.ndarray]:
    """The two parts of a polygon (k, 2) by the values (k,) of a line at its vertices, or the polygon."""
    at = np.where(np.abs(at) <= 1e-12, 0.0, at)
    if at.min() >= 0 or at.max() <= 0:
        return [polygon]
    parts: list[list[np.ndarray]] = [[], []]
    for i, (p, a) in enumerate(zip(polygon, at, strict=True)):
        q, b = polygon[(i + 1) % len(polygon)], at[(i + 1) % len(at)]
        for side, sign in enumerate((1, -1)):
            if sign * a >= 0:
                parts[side].append(p)
            if a * b < 0:
                parts[side].append(p + a / (a - b) * (q - p))
    return [np.array(p) for p in parts]


def plain(on_box: NetworkOnRegion) -> tuple[int, float]:
    """Regions of [-1, 1]^2 and the largest Jacobian norm, one polygon and one line at a time; the network is read alike."""
    layers = [(s.weight.numpy(), s.bias.numpy()) for s in dense_chain(on_box.probe.source, (2,)) if isinstance(s, Dense)]
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    pieces = [(square, np.eye(2), np.zeros(2))]
    for w, b in layers[:-1]:
        found = []
        for polygon, slope, offset in pieces:
            slope, offset = w @ slope, w @ offset + b
            parts = [polygon]
            for row, level in zip(slope, offset, strict=True):
                steep = float(np.hypot(*row)) or 1.0
                parts = [h for p in parts for h in halves(p, (p @ row + level) / steep)]
            for p in parts:
                on = slope @ p.mean(0) + offset > 0
                found.append((p, slope * on[:, None], offset * on))
        pieces = found
    slopes = np.stack([layers[-1][0] @ slope for _, slope, _ in pieces])
    return len(pieces), float(operator_norm(torch.from_numpy(slopes), "l2").max())


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of one call, the least of several within about half a second, and what it gave."""
    best, total = float("inf"), 0.0
    while True:
        start = time.process_time()
        found = work()
        spent = time.process_time() - start
        best, total = min(best, spent), total + spent
        if total > 0.5:
            return best, found


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{'network':>16} {'regions':>8} {'engine s':>9} {'plain s':>9} {'ratio':>6}  {'a second':>9}")
    for sizes in (*PLANAR, *SPATIAL):
        on_box = evidence(sizes)
        estimator = Regions(heat_map=False, limit=1_000_000)
        fast, value = timed(partial(estimator.compute, on_box, CTX))
        count = value.extras["regions"]
        line = f"{'-'.join(map(str, sizes)):>16} {count:8d} {fast:9.4f}"
        if sizes[0] == 2:
            slow, (same, constant) = timed(partial(plain, on_box))
            if same != count or abs(constant / value.value - 1) > 1e-9:
                raise SystemExit(f"{sizes}: {same} regions and {constant} against {count} and {value.value}")
            line += f" {slow:9.4f} {slow / fast:6.1f}"
        else:
            line += f" {'':9} {'':6}"
        print(f"{line}  {count / fast:9.0f}")


if __name__ == "__main__":
    main()
