# SPDX-License-Identifier: Apache-2.0
"""Operator norms of Jacobians: full Jacobians where they are small, else power and Lanczos iterations on products."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import vjp

from lipbench.api import NotFinite

from .probe import Probe
from .task import Norm

# Entries of full Jacobians, or of Krylov bases, that are held at a time.
MAX_ENTRIES = 4_000_000


def pullback(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """f(x), and the map v -> J(x)^T v that may be used many times.

    All derivatives here are made of this one: it is defined for more networks than forward mode is, and loads faster.
    """
    found = vjp(f, x)
    return found[0], lambda v: found[1](v)[0]


class Linearisation:
    """The Jacobian of a network at a batch of points, as a linear map that is kept for many products.

    The forward pass is run once. A product J u is taken by differentiating the (linear) map v -> J^T v once more, which
    costs about one backward pass and needs no second forward.

    Args:
        probe: The network.
        x: Points (B, *shape), one chunk.
    """

    def __init__(self, probe: Probe, x: Tensor) -> None:
        points = x.to(device=probe.device, dtype=probe.dtype).flatten(1)
        self.meter, self.rows, self.inputs = probe.meter, len(points), points.shape[1]
        value, self._pull = pullback(lambda flat: probe.module(flat.reshape(-1, *probe.shape)).flatten(1), points)
        self.outputs = value.shape[1]
        self._like = value
        _, self._push = pullback(self._pull, torch.zeros_like(value))
        self.meter.forwards += self.rows

    def push(self, u: Tensor) -> Tensor:
        """J u (B, m) for directions (B, n). Counts as one forward a row.

        Raises:
            NotFinite: The product is NaN or infinite.
        """
        self.meter.forwards += self.rows
        return _finite(self._push(u))

    def pull(self, v: Tensor) -> Tensor:
        """J^T v (B, n) for covectors (B, m). Costs one backward a row.

        Raises:
            NotFinite: The product is NaN or infinite.
        """
        self.meter.backwards += self.rows
        return _finite(self._pull(v))

    def start(self, generator: torch.Generator) -> Tensor:
        """(B, n) random unit directions."""
        v = torch.randn((self.rows, self.inputs), generator=generator, dtype=torch.float32)
        return torch.nn.functional.normalize(v.to(self._like))

    def matrix(self) -> Tensor:
        """The full Jacobians (B, m, n), by rows or by columns, whichever are fewer."""
        size = min(self.outputs, self.inputs)
        basis = torch.eye(size, dtype=self._like.dtype, device=self._like.device)
        if self.outputs <= self.inputs:
            self.meter.backwards += size * self.rows
            return _finite(torch.stack([self._pull(e.expand(self.rows, -1)) for e in basis], 1))
        self.meter.forwards += size * self.rows
        return _finite(torch.stack([self._push(e.expand(self.rows, -1)) for e in basis], 2))


def _finite(product: Tensor) -> Tensor:
    if not bool(torch.isfinite(product).all()):
        raise NotFinite("a product with the Jacobian is not finite; check the network for overflow at these points")
    return product


def jacobians(probe: Probe, x: Tensor) -> Tensor:
    """Full Jacobians (B, m, n) of a network at points (B, *shape), in the probe's precision."""
    rows = max(1, min(probe.chunk, MAX_ENTRIES // (probe.outputs * probe.inputs)))
    return torch.cat([Linearisation(probe, part).matrix() for part in x.split(rows)])


def operator_norm(matrices: Tensor, norm: Norm) -> Tensor:
    """||J||_{p -> p} (...) in float64 for matrices (..., m, n): largest singular value, column sum or row sum.

    The largest singular value is the root of the largest eigenvalue of the smaller Gram matrix: many times faster than
    singular values of a wide matrix, with a relative error of at most about m n u.
    """
    J = matrices.double()
    if norm == "l2":
        return torch.linalg.eigvalsh(_gram(J))[..., -1].clamp_min(0).sqrt()
    return J.abs().sum(-2 if norm == "l1" else -1).amax(-1)


def _gram(J: Tensor) -> Tensor:
    return J @ J.mT if J.shape[-2] <= J.shape[-1] else J.mT @ J


def steepest(matrices: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """Norms (B,) and directions (B, n), ||u||_p = 1, in which matrices (B, m, n) reach them, in float64."""
    J = matrices.double()
    if norm == "l2":
        squared, vectors = torch.linalg.eigh(_gram(J))
        top = vectors[:, :, -1]
        right = _unit(torch.einsum("bmn,bm->bn", J, top)) if J.shape[1] <= J.shape[2] else top
        return squared[:, -1].clamp_min(0).sqrt(), right
    sums = J.abs().sum(1 if norm == "l1" else 2)
    sigma, best = sums.max(1)
    if norm == "l1":
        return sigma, torch.nn.functional.one_hot(best, J.shape[2]).double()
    row = J[torch.arange(len(J), device=J.device), best]
    return sigma, torch.where(row < 0, -1.0, 1.0).double()


def _unit(v: Tensor) -> Tensor:
    """Rows scaled to length 1, summed in float64 because half precision has too small a range; zero rows stay zero."""
    return (v.double() / v.double().norm(dim=1, keepdim=True).clamp_min(1e-300)).to(v.dtype)


class Top(NamedTuple):
    """Estimates of the largest singular value of Jacobians and of its vectors."""

    sigma: Tensor
    """(B,) Rayleigh quotients ||J v|| / ||v||, float64."""
    right: Tensor
    """(B, n) v."""
    left: Tensor
    """(B, m) J v / ||J v||."""


def power_iteration(line: Linearisation, start: Tensor, iterations: int) -> Top:
    """Power steps on J^T J.

    Never above the spectral norm, whatever the number of iterations. Costs `iterations` products with J^T and one more
    with J.
    """
    v, image = start, line.push(start)
    for _ in range(iterations):
        step = line.pull(image)
        v = torch.where(step.any(1, keepdim=True), _unit(step), v)
        image = line.push(v)
    return Top(image.double().norm(dim=1) / v.double().norm(dim=1), v, _unit(image))


def lanczos(line: Linearisation, start: Tensor, iterations: int) -> Top:
    """As `power_iteration`, by the best vector of the Krylov space of J^T J (Rayleigh-Ritz with full reorthogonalisation).

    Costs `iterations` products with J and one less with J^T; keeps `iterations` directions a row.
    """
    basis, images = [start], [line.push(start)]
    for _ in range(min(iterations, line.inputs, line.outputs) - 1):
        fresh = line.pull(images[-1])
        size = fresh.double().norm(dim=1, keepdim=True)
        V = torch.stack(basis, 1)
        for _ in range(2):  # once is not enough where most of the vector is cancelled
            fresh = fresh - torch.einsum("bk,bkn->bn", torch.einsum("bkn,bn->bk", V, fresh), V)
        # What is left is rounding noise once the space is invariant; a zero column then changes nothing.
        alive = fresh.double().norm(dim=1, keepdim=True) > 64 * torch.finfo(fresh.dtype).eps * size
        basis.append(torch.where(alive, _unit(fresh), 0.0))
        images.append(line.push(basis[-1]))
    V, W = torch.stack(basis, 2).double(), torch.stack(images, 2).double()
    weights = torch.linalg.eigh(W.mT @ W).eigenvectors[:, :, -1:]
    v, image = (V @ weights).squeeze(2), (W @ weights).squeeze(2)
    return Top(image.norm(dim=1) / v.norm(dim=1).clamp_min(1e-300), v.to(start.dtype), _unit(image).to(start.dtype))
