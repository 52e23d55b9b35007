# SPDX-License-Identifier: Apache-2.0
"""Times Jacobian norms by products against the full Jacobian; prints ratios of one run, one thread."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from lipbench_lipschitz.probe import Probe
from lipbench_lipschitz.spectral import Linearisation, Top, jacobians, lanczos, operator_norm, power_iteration
from torch import Tensor, nn
from torch.func import jacrev, vmap


def mlp() -> nn.Module:
    """3072-256-256-128, GELU."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 128))


def cnn() -> nn.Module:
    """Three convolutions with normalisation and pooling on 3x32x32, 64 outputs."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def per_sample(probe: Probe, x: Tensor) -> Tensor:
    """The usual recipe: vmap(jacrev) and singular values."""
    J = vmap(jacrev(lambda z: probe.module(z[None]).flatten()))(x).flatten(2)
    return torch.linalg.matrix_norm(J, 2)


def iterated(solve: Callable[[Linearisation, Tensor, int], Top], steps: int) -> Callable[[Probe, Tensor], Tensor]:
    """Norms by products with the Jacobian."""

    def norms(probe: Probe, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        lines = (Linearisation(probe, part) for part in x.split(probe.chunk))
        return torch.cat([solve(line, line.start(generator), steps).sigma for line in lines])

    return norms


WAYS: dict[str, Callable[[Probe, Tensor], Tensor]] = {
    "full Jacobian, batched": lambda probe, x: operator_norm(jacobians(probe, x), "l2"),
    "full Jacobian, vmap(jacrev) + svd": per_sample,
    "lanczos, 10 products": iterated(lanczos, 10),
    "lanczos, 20 products": iterated(lanczos, 20),
    "power, 20 products": iterated(power_iteration, 20),
}


def main() -> None:
    """Print, for each network and way, the time in units of the full batched Jacobian and the worst share of the norm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    for make in (mlp, cnn):
        torch.manual_seed(0)
        probe = Probe(make(), (3, 32, 32), torch.float32)
        x = torch.rand((wanted.points, 3, 32, 32))
        exact = WAYS["full Jacobian, batched"](probe, x)
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        share = {name: float((way(probe, x) / exact).min()) for name, way in WAYS.items()}
        for _ in range(wanted.repeats):  # interleaved, so that a busy machine slows all ways alike
            for name, way in WAYS.items():
                start = time.perf_counter()
                way(probe, x)
                seconds[name].append(time.perf_counter() - start)
        unit = statistics.median(seconds["full Jacobian, batched"])
        print(f"{(make.__doc__ or '').rstrip('.')}, {wanted.points} points, float32, one thread")
        for name, times in seconds.items():
            print(f"  {name:36s} {statistics.median(times) / unit:7.3f} x   sigma >= {share[name]:.6f} of the exact one")


if __name__ == "__main__":
    main()
