# SPDX-License-Identifier: Apache-2.0
"""Times the geometry engine against the library relucent, against one linear program a row, and against a plain float product.

Prints ratios of one run, by processor time, that of helper processes included, on one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from lipbench_relu_geometry.engine.enumerate import enumerate_cells
from lipbench_relu_geometry.engine.facets import active_bits
from lipbench_relu_geometry.engine.neighbours import nearest_hamming
from lipbench_relu_geometry.engine.network import ReluNet, net_of, read
from lipbench_relu_geometry.engine.plane import decompose
from scipy.optimize import linprog
from torch import nn

MANY = 1420
"""Lines whose arrangement has just over a million cells."""


def module(sizes: tuple[int, ...], seed: int) -> nn.Sequential:
    """Torch's default initial weights, in float64."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


def normal_net(sizes: tuple[int, ...], seed: int) -> ReluNet:
    """Normal weights and biases."""
    rng = np.random.default_rng(seed)
    return net_of([(rng.standard_normal((b, a)) * np.sqrt(2 / a), 0.5 * rng.standard_normal(b)) for a, b in pairwise(sizes)])


def spent() -> float:
    """Processor seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def timed(work: Callable[[], object], repeats: int = 1) -> tuple[float, object]:
    """Processor seconds of one call, the mean of several, because the clock ticks 100 times a second; and what the last gave."""
    found, start = None, spent()
    for _ in range(repeats):
        found = work()
    return (spent() - start) / repeats, found


def peer(net: nn.Sequential, most: int | None) -> set[bytes]:
    """The cells that relucent finds by its breadth-first search in this process, or the first `most` of them."""
    import relucent

    found = relucent.Complex(net)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        found.bfs(nworkers=1, verbose=0, **({"max_polys": most} if most else {}))
    return {np.packbits(np.asarray(p.ss_np).ravel() > 0).tobytes() for p in found}


def against_relucent() -> None:
    """Cells a second on the same networks; where both are complete the sets must be equal."""
    print("cells a second against relucent, one process each:")
    for sizes, seed, most in (
        ((2, 10, 10, 1), 0, None),
        ((2, 25, 25, 25, 1), 4, 500),
        ((3, 8, 8, 1), 0, None),
        ((4, 6, 6, 1), 0, None),
        ((5, 6, 5, 1), 0, None),
        ((6, 7, 5, 1), 0, None),
    ):
        source = module(sizes, seed)
        net = read(source.eval(), sizes[0])
        mine, cells = timed(lambda: enumerate_cells(net), 100 if sizes[1] < 12 else 20)  # noqa: B023
        theirs, keys = timed(lambda: peer(source, most))  # noqa: B023
        own = {row.tobytes() for row in cells.packed}  # type: ignore[attr-defined]
        assert keys <= own if most else keys == own  # type: ignore[operator]
        rates = len(own) / mine, len(keys) / theirs  # type: ignore[arg-type]
        said = f"first {len(keys)} of them" if most else "equal sets"  # type: ignore[arg-type]
        print(f"  {sizes!s:20} {len(own):6} cells: {rates[0]:9,.0f}/s against {rates[1]:5,.0f}/s ({said}): {rates[0] / rates[1]:6,.0f} times as fast", flush=True)  # fmt: skip


def many_networks() -> None:
    """Small networks together against one after the other."""
    nets = [normal_net((2, 10, 10, 1), seed) for seed in range(200)]
    together, found = timed(lambda: decompose(nets), 3)
    single, _ = timed(lambda: [decompose([net]) for net in nets])
    print(f"200 networks 2-10-10: {len(found):,} cells together, {len(found) / together:,.0f}/s, {single / together:.1f} times as fast as one by one", flush=True)  # type: ignore[arg-type]  # fmt: skip


def law() -> None:
    """Seconds against the number of cells, one layer and three, to a million."""
    print("law of cost in the plane:")
    for sizes in (*((2, n, 1) for n in (90, 200, 450, 1000, MANY)), (2, 60, 60, 60, 1), (2, 150, 150, 150, 1)):
        net = normal_net(sizes, 1)
        start = time.perf_counter()
        seconds, found = timed(lambda: decompose([net]))  # noqa: B023
        wall, count = time.perf_counter() - start, len(found)  # type: ignore[arg-type]
        assert len(sizes) > 3 or count == 1 + sizes[1] + sizes[1] * (sizes[1] - 1) // 2
        print(
            f"  {sizes!s:20} {count:9,} cells: {seconds:7.2f} s, {1e6 * seconds / count:5.1f} us a cell, wall {wall:.1f} s",
            flush=True,
        )


def image_cell(rows: int) -> None:
    """Active bits of one cell of a 784-340x5-10 network, against one full linear program a row, a few of them timed."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    images = np.kron(x.reshape(-1, 8, 8) / 16, np.ones((1, 4, 4)))[:, 2:30, 2:30].reshape(len(x), -1)
    torch.manual_seed(0)
    net = module((784, 340, 340, 340, 340, 340, 10), 0).float()
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    inputs, labels = torch.from_numpy(images).float(), torch.from_numpy(y)
    for _ in range(3):
        for batch in torch.randperm(len(inputs)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(inputs[batch]), labels[batch]).backward()
            optimiser.step()
    relu, point = read(net.eval(), 784), images[3]
    mine, found = timed(lambda: active_bits(relu, point, np.random.default_rng(0)))
    cell = relu.cells(relu.bits(point[None]))
    a, c = cell.rows[0], cell.bounds[0]
    size = np.linalg.norm(a, axis=1)
    a, c = a / size[:, None], c / size
    seconds = []
    for i in np.random.default_rng(1).permutation(len(c))[:rows]:
        relaxed = c.copy()
        relaxed[i] += 1
        start = spent()
        solved = linprog(-a[i], A_ub=a, b_ub=relaxed, bounds=[(None, None)] * 784, method="highs")
        seconds.append(spent() - start)
        assert (-solved.fun > c[i] + 1e-7) == found.active[i]  # type: ignore[attr-defined]
    full = float(np.mean(seconds)) * len(c)
    print(
        f"784-340x5-10, {found.active.sum()} active bits of {len(c)}, programs of {found.dimension} variables: {mine:.1f} s; one full program a row "  # type: ignore[attr-defined]
        f"({rows} rows timed, same verdicts) {full:,.0f} s: {full / mine:.0f} times as fast",
        flush=True,
    )


def neighbours(queries: int, references: int, bits: int) -> None:
    """Nearest bit vectors in blocks against one product in float64, and in float32."""
    rng = np.random.default_rng(0)
    s, t = (rng.integers(0, 2, (n, bits), dtype=np.uint8) for n in (queries, references))

    def naive(kind: type) -> np.ndarray:
        a, b = s.astype(kind), t.astype(kind)
        return (a.sum(1)[:, None] + b.sum(1)[None] - 2 * (a @ b.T)).argmin(1)

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    before = peak()
    mine, found = timed(lambda: nearest_hamming(s, t))
    own = peak()
    print(f"{queries:,} x {references:,} bit vectors of {bits:,}: {mine:.1f} s, peak {own:.1f} GiB, {own - before:.1f} more than before", flush=True)  # fmt: skip
    for kind in (np.float32, np.float64):
        theirs, index = timed(lambda: naive(kind))  # noqa: B023
        assert (found.index == index).all()  # type: ignore[attr-defined]
        print(f"  one {kind.__name__} product {theirs:.1f} s, the same neighbours: {theirs / mine:.1f} times as fast; peak then {peak():.1f} GiB", flush=True)  # fmt: skip


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="10,000 x 60,000 bit vectors of 1,700 bits (5 GiB for the product)")
    parser.add_argument("--only", choices=["peer", "many", "law", "image", "neighbours"], help="one part")
    parser.add_argument("--rows", type=int, default=3, help="rows whose full linear program is timed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = (10_000, 60_000, 1_700) if options.full else (2_000, 12_000, 1_700)
    parts = {
        "neighbours": lambda: neighbours(*size),
        "peer": against_relucent,
        "many": many_networks,
        "law": law,
        "image": lambda: image_cell(options.rows),
    }
    for name, part in parts.items():
        if options.only in (None, name):
            part()


if __name__ == "__main__":
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        main()
