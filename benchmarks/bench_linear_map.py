# SPDX-License-Identifier: Apache-2.0
"""Times maps between embedding spaces that share a factorisation against solving each pair anew; says what large maps need.

Prints ratios of one run, by processor time on one thread.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import psutil
import torch
from lipbench_linear_map.maps import OLSAffine, ScoreRegression
from lipbench_linear_map.solvers import factorise, memory_bytes, solve
from torch import Tensor

from lipbench.api import Context

WIDTHS = (64, 96, 48, 32, 32, 512)
ROWS = 800
CTX = Context(scope="benchmark")
GIB = 2**30
Maps = list[tuple[Tensor, Tensor]]


def spaces(dead: int = 8) -> list[Tensor]:
    """Embeddings of the same rows: random ReLU layers of common causes, some units of the widest dead."""
    g = torch.Generator().manual_seed(0)
    causes = torch.randn((ROWS, 96), generator=g, dtype=torch.float64)
    found = [(causes @ torch.randn((96, d), generator=g, dtype=torch.float64)).relu() for d in WIDTHS]
    found[-1][:, :dead] = 0
    return found


def shared(embeddings: list[Tensor]) -> Maps:
    """All ordered pairs, one factorisation for each source."""
    ols, found = OLSAffine(), []
    for x in embeddings:
        factor = ols.factorise(x)
        maps = [ols.fit(x, factor, y, CTX) for y in embeddings]
        found += [(m.weight, m.bias) for m in maps]
    return found


def anew(embeddings: list[Tensor], least_squares: Callable[[Tensor, Tensor], Tensor]) -> Maps:
    """All ordered pairs, each solved from the start."""
    found = []
    for x in embeddings:
        for y in embeddings:
            a, b = x.mean(0), y.mean(0)
            weight = least_squares(x - a, y - b)
            found.append((weight, b - a @ weight))
    return found


def numpys(x: Tensor, y: Tensor) -> Tensor:
    """By singular values, numpy's default cut-off."""
    return torch.from_numpy(np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[0])


def torchs(driver: str) -> Callable[[Tensor, Tensor], Tensor]:
    """One of LAPACK's drivers, numpy's cut-off; torch's gelsy gives rank 0 where the first column is dead, so not there."""
    return lambda x, y: torch.linalg.lstsq(x, y, rcond=2.0**-52 * max(x.shape), driver=driver).solution


def timed(work: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def pairs(repeats: int) -> None:
    """Print how much faster shared factorisations are, and how far the maps are apart."""
    rivals = (("numpy lstsq", 8, numpys), ("torch lstsq gelsd", 8, torchs("gelsd")), ("torch lstsq gelsy", 0, torchs("gelsy")))
    print(f"{len(WIDTHS) ** 2} ordered pairs of widths {WIDTHS}, {ROWS} rows:")
    for name, dead, rival in rivals:
        embeddings = spaces(dead)
        mine, theirs = shared(embeddings), anew(embeddings, rival)
        apart = max(
            float((a - b).abs().max()) for one, two in zip(mine, theirs, strict=True) for a, b in zip(one, two, strict=True)
        )
        both = [(timed(lambda: shared(embeddings)), timed(lambda: anew(embeddings, rival))) for _ in range(repeats)]  # noqa: B023
        ratio = statistics.median(b / a for a, b in both)
        print(
            f"  {name:18s} {dead} dead units: {statistics.median(b for _, b in both):7.3f} s, shared {statistics.median(a for a, _ in both):.3f} s: "
            f"{ratio:5.1f} times as fast, weights and biases differ by at most {apart:.1e}",
            flush=True,
        )


def scores(repeats: int) -> None:
    """Print how much cheaper the regression of a target's score is than its whole embedding and then the score."""
    embeddings = spaces()
    g = torch.Generator().manual_seed(1)
    whole, single = OLSAffine(), ScoreRegression()
    for x, y in ((embeddings[-1], embeddings[-1]), (embeddings[1], embeddings[-1])):
        factor, w = whole.factorise(x), torch.randn((y.shape[1], 1), generator=g, dtype=torch.float64)

        def through(x: Tensor = x, y: Tensor = y, w: Tensor = w, factor: dict[str, Tensor] = factor) -> Tensor:
            return whole.fit(x, factor, y, CTX)(x) @ w

        def direct(x: Tensor = x, y: Tensor = y, w: Tensor = w, factor: dict[str, Tensor] = factor) -> Tensor:
            return single.fit(x, factor, y @ w, CTX)(x)

        apart = float((through() - direct()).abs().max() / through().abs().max())
        ratio = statistics.median(timed(through) / timed(direct) for _ in range(repeats))
        print(
            f"scores of {x.shape[1]} -> {y.shape[1]}, factor at hand: one output {ratio:.0f} times as fast as all, "
            f"relative difference {apart:.1e}",
            flush=True,
        )


def peak() -> int:
    """Bytes of this process at their highest so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def large(n: int, p: int, q: int) -> None:
    """Child process: fit by the Gram route and print the growth of the peak in MiB and the seconds."""
    g = torch.Generator().manual_seed(0)
    small = torch.randn((64, 16), generator=g)
    solve(small, factorise(small, route="gram"), small)
    x, y = torch.randn((n, p), generator=g), torch.randn((n, q), generator=g)
    # Importing had a peak too: held memory brings the process up to it, so that only growth beyond now is seen.
    held = torch.ones(max(1, (peak() - psutil.Process().memory_info().rss) // 8), dtype=torch.float64)
    before, start = peak(), time.process_time()
    solve(x, factorise(x, route="gram"), y)
    seconds = time.process_time() - start
    print((peak() - before) / 2**20, seconds, len(held))


def law(sizes: list[int]) -> None:
    """Print memory and seconds of growing problems, and what they say of the largest published one."""
    rows, columns, targets = 33_000, 25_088, 2048
    points = []
    for p in sizes:
        n, q = round(p * rows / columns), round(p * targets / columns)
        child = [sys.executable, __file__, "--large", str(n), str(p), str(q)]
        answer = subprocess.run(child, check=True, capture_output=True, text=True).stdout
        grown, seconds = (float(word) for word in answer.split()[:2])
        said = memory_bytes(n, p, q, route="gram") / 2**20
        points.append((p, grown / said, seconds))
        print(
            f"gram route, {n} rows, {p} -> {q}: peak grew by {grown:.0f} MiB, the law says {said:.0f}; {seconds:.2f} s",
            flush=True,
        )
    (p0, _, s0), (p1, share, s1) = points[-2:]
    exponent = math.log(s1 / s0) / math.log(p1 / p0)
    needed, worst = (memory_bytes(rows, columns, targets, collinear=c) / GIB for c in (False, True))
    inputs = 4 * rows * (columns + targets) / GIB
    print(
        f"seconds grow like p^{exponent:.2f}; {rows} rows, {columns} -> {targets}: {s1 * (columns / p1) ** 3 / 60:.0f} minutes on one "
        f"thread if like p^3; the law says {needed:.1f} GiB ({needed * share:.1f} by the last measurement; {worst:.1f} where "
        f"eigenvalues are needed) beside {inputs:.1f} GiB of float32 rows; the limit is 24"
    )


def main() -> None:
    """Run the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, smaller problems")
    parser.add_argument("--large", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.large:
        large(*options.large)
        return
    pairs(2 if options.quick else 5)
    scores(5 if options.quick else 21)
    law([392, 784, 1568] if options.quick else [784, 1568, 3136])


if __name__ == "__main__":
    main()
