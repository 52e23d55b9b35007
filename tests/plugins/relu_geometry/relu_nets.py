# SPDX-License-Identifier: Apache-2.0
"""Seeded networks of the oracles, and brute force over all bit vectors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from lipbench_relu_geometry.engine.network import ReluNet, net_of
from scipy.optimize import linprog
from torch import nn


def torch_net(sizes: tuple[int, ...], seed: int) -> ReluNet:
    """T(sizes, seed): layers with torch's default initial weights, drawn in order."""
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    return net_of([(layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()) for layer in layers])


def normal_net(sizes: tuple[int, ...], seed: int) -> ReluNet:
    """N(sizes, seed): normal weights of variance 2 / a, normal biases of deviation 0.5."""
    r = np.random.default_rng(seed)
    pairs = []
    for a, b in pairwise(sizes):
        w = r.standard_normal((b, a)) * np.sqrt(2 / a)
        pairs.append((w, 0.5 * r.standard_normal(b)))
    return net_of(pairs)


def brute_force(net: ReluNet) -> set[bytes]:
    """All bit vectors that hold a ball, by linear programs: unit by unit, since what holds none holds none with more rows."""
    found = [np.zeros(0, dtype=np.uint8)]
    for _ in range(net.units):
        longer = [np.append(bits, np.uint8(bit)) for bits in found for bit in (0, 1)]
        found = [bits for bits in longer if _holds_a_ball(net, bits)]
    return keys(np.array(found))


def _holds_a_ball(net: ReluNet, first: np.ndarray) -> bool:
    """Whether the first bits do; no row depends on bits that come after it."""
    bits = np.append(first, np.zeros(net.units - len(first), dtype=np.uint8))
    cell = net.cells(bits[None])
    a, c = cell.rows[0, : len(first)], cell.bounds[0, : len(first)]
    size = np.linalg.norm(a, axis=1)
    flat = size < 1e-12
    if not np.where(first[flat] > 0, c[flat] > 1e-12, c[flat] >= -1e-12).all():  # a constant 0 is off, to rounding
        return False
    solved = linprog(
        [0.0] * net.inputs + [-1.0],
        A_ub=np.column_stack([a, size]),
        b_ub=c,
        bounds=[(None, None)] * net.inputs + [(0, 1)],
        method="highs",
    )
    return bool(solved.status == 0 and solved.x[-1] > 1e-9)


def duplicated(factor: float = 2.0, offset: float = 0.0) -> ReluNet:
    """Five units in the plane, the last a multiple of the fourth."""
    net = normal_net((2, 5, 1), 11)
    w, b = net.weights[0].copy(), net.biases[0].copy()
    w[4], b[4] = factor * w[3], factor * b[3] + offset
    return net_of([(w, b), (net.weights[1], net.biases[1])])


def without_biases() -> ReluNet:
    """Two layers whose hyperplanes all go through the origin: 6 cells."""
    second = np.array([[1.0, 2.0], [2.0, -1.0], [-1.0, 1.5]])
    return net_of([(np.eye(2), np.zeros(2)), (second, np.zeros(3)), (np.ones((1, 3)), np.zeros(1))])


def tent(depth: int) -> ReluNet:
    """The tent map applied `depth` times: 2^depth linear pieces on [0, 1]."""
    layers = [(np.array([[2.0], [4.0]]), np.array([0.0, -2.0]))]
    layers += [(np.array([[2.0, -2.0], [4.0, -4.0]]), np.array([0.0, -2.0]))] * (depth - 1)
    return net_of([*layers, (np.array([[1.0, -1.0]]), np.zeros(1))])


def hexagon(bias: float = 0.0, top: float = 0.55) -> ReluNet:
    """0.55 less three ReLU units in directions 120 degrees apart: its zero set is a hexagon."""
    angle = np.deg2rad([90.0, 210.0, 330.0])
    first = np.column_stack([np.cos(angle), np.sin(angle)])
    return net_of([(first, np.full(3, bias)), (-np.ones((1, 3)), np.array([top]))])


def keys(bits: np.ndarray) -> set[bytes]:
    """Bit vectors as a set."""
    return {np.ascontiguousarray(b, dtype=np.uint8).tobytes() for b in bits}
