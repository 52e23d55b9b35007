# SPDX-License-Identifier: Apache-2.0
"""Times certified upper bounds on digits networks 64-64-64-10 and says how tight they are; one thread."""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from lipbench_lipschitz.estimators.product import SpectralProduct
from lipbench_lipschitz.estimators.schur import Schur
from lipbench_lipschitz.pairsource import GivenPairs
from lipbench_lipschitz.probe import Probe
from lipbench_lipschitz.result import Estimator
from lipbench_lipschitz.task import NetworkOnRegion
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import jacrev, vmap

from lipbench.api import Context, DataSpec

WAYS: dict[str, Estimator] = {
    "product": SpectralProduct(),
    "product of |W|": SpectralProduct(norms="abs"),
    "schur, closed form": Schur(mode="closed"),
    "schur, 100 steps": Schur(steps=100),
    "schur, 300 steps": Schur(steps=300),
    "schur, 1000 steps": Schur(steps=1000),
}


def trained(activation: type[nn.Module], epochs: int) -> tuple[nn.Module, Tensor]:
    """A network fitted to the digits in [0, 1], and the inputs."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    torch.manual_seed(0)
    layers = [nn.Linear(64, 64), activation(), nn.Linear(64, 64), activation(), nn.Linear(64, 10)]
    network = nn.Sequential(*layers)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            adam.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            adam.step()
    return network.eval().requires_grad_(False), x


def climbed(network: nn.Module, x: Tensor, steps: int = 400) -> float:
    """A lower bound on the global constant: random moves that raise the Jacobian norm, from the steepest inputs on."""

    def norms(points: Tensor) -> Tensor:
        J = vmap(jacrev(lambda z: network(z)))(points)
        return torch.linalg.eigvalsh(J @ J.mT)[:, -1].sqrt()

    network = network.double()
    x = x.double()
    start = norms(x)
    order = start.argsort(descending=True)[:32]
    best, values = x[order], start[order]
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        size = 2.0 * 0.99**step  # far outside the data too: the bounds hold everywhere
        tried = best + size * torch.randn(best.shape, generator=generator, dtype=torch.float64) / 8
        found = norms(tried)
        better = found > values
        best, values = torch.where(better[:, None], tried, best), torch.where(better, found, values)
    network.float()
    return float(values.max())


def main() -> None:
    """Print, for each network and bound, the seconds, the time against the closed form, and the value."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    for activation in (nn.ReLU, nn.Tanh, nn.GELU):
        network, x = trained(activation, wanted.epochs)
        spec = DataSpec(shape=(64,), low=0.0, high=1.0)
        probe = Probe(network, (64,), torch.float32)
        pairs = GivenPairs(x=x[:1], y=x[1:2])
        evidence = NetworkOnRegion(probe=probe, spec=spec, norm="l2", radius=None, points=x[:1], pairs=pairs)
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        values: dict[str, float] = {}
        for _ in range(wanted.repeats):  # interleaved, so that a busy machine slows all ways alike
            for name, way in WAYS.items():
                start = time.perf_counter()
                values[name] = way.compute(evidence, Context(scope="benchmark")).value
                seconds[name].append(time.perf_counter() - start)
        lower = climbed(network, x)
        unit = statistics.median(seconds["schur, closed form"])
        print(f"digits 64-64-64-10, {activation.__name__}: K >= {lower:.4f} by hill climbing")
        for name, times in seconds.items():
            took = statistics.median(times)
            share = values[name] / values["product"]
            print(
                f"  {name:20s} {took:8.3f} s {took / unit:9.2f} x closed form   K <= {values[name]:10.4f}"
                f"   {share:.4f} of the product   {values[name] / lower - 1:7.2%} above the lower bound"
            )


if __name__ == "__main__":
    main()
