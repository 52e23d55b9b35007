# SPDX-License-Identifier: Apache-2.0
"""The Schur recursion for the LipSDP matrix: multipliers that are always feasible, and the proof of a bound.

For slopes in [a_l, b_l] and diagonal multipliers T_l > 0 the l2 constant of W_L sigma .. sigma W_1 is at most sqrt(rho) if
the block-tridiagonal matrix with

    first block      I + 2 a_1 b_1 W_1^T T_1 W_1
    blocks on it     2 T_l + 2 a_{l+1} b_{l+1} W_{l+1}^T T_{l+1} W_{l+1}
    last block       2 T_{L-1} - W_L^T W_L / rho
    blocks below     -(a_l + b_l) T_l W_l

is positive definite. Its Schur complements X_l from the top, with A_l = W_l X_{l-1}^{-1} W_l^T and C_l the product
T_l^{1/2} A_l T_l^{1/2}, collapse to

    X_l = T_l^{1/2} (I + 2 a_l b_l C_l)^{-1} (2 I - (b_l - a_l)^2 C_l) T_l^{1/2},

because everything between the roots commutes. So T_l is feasible exactly where lmax(C_l) < 2 / (b_l - a_l)^2, whatever the
signs of the slopes, and rho = lmax(W_L X_{L-1}^{-1} W_L^T).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lipbench.api import NotApplicable

from .operator_norms import UNIT, gamma, is_positive_definite

EDGE = 1 - 1e-6  # how close to the edge of feasibility a multiplier may come
FIRST_MARGIN, LAST_MARGIN = 1e-11, 1e-2  # relative margins on rho that the proof tries
STALE = 50  # Adam steps without progress after which the step size halves


@dataclass(frozen=True, kw_only=True)
class Problem:
    """W_1 .. W_L and the slopes between them."""

    weights: tuple[Tensor, ...]
    slopes: tuple[tuple[float, float], ...]
    """(low, high) of each activation, low < high."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Multipliers and the bound that they give."""

    multipliers: tuple[Tensor, ...]
    """Diagonals of T_1 .. T_{L-1}."""
    constant: Tensor
    """sqrt(rho) in plain arithmetic: 0-d, differentiable."""


def sector(low: float, high: float) -> tuple[float, float]:
    """A slope interval that contains [low, high] and is no single point."""
    top = max(abs(low), abs(high))
    return (low, high) if high - low > 1e-3 * top else (low - 1e-3 * top, high)


def start(slopes: tuple[float, float]) -> float:
    """Which part of its feasible range the multiplier I takes for the best X in closed form: 1/2 for ReLU."""
    low, high = slopes
    return min(EDGE, (high - low) / (2 * max(abs(low), abs(high))))


def recursion(problem: Problem, shapes: Sequence[Tensor], parts: Sequence[Tensor | float]) -> Solution:
    """Run the Schur recursion with multipliers T_l = t_l D_l that cannot be infeasible.

    Args:
        problem: The network.
        shapes: (n_l,) positive diagonals D_l; their scale is immaterial.
        parts: Numbers in (0, 1): which part of its feasible range t_l takes.
    """
    inverse = None
    multipliers = []
    for W, (low, high), D, part in zip(problem.weights, problem.slopes, shapes, parts, strict=False):
        A = W @ W.mT if inverse is None else W @ inverse @ W.mT
        root = D.sqrt()
        B = root[:, None] * A * root
        width = (high - low) ** 2
        t = part * 2 / (width * torch.linalg.eigvalsh(B)[-1])
        C = t * B
        eye = torch.eye(len(D), dtype=D.dtype)
        inverse = torch.linalg.solve(2 * eye - width * C, eye + 2 * low * high * C)
        scale = (t.sqrt() * root).reciprocal()
        inverse = scale[:, None] * (inverse + inverse.mT) * scale / 2
        multipliers.append(t * D)
    W = problem.weights[-1]
    rho = torch.linalg.eigvalsh(W @ W.mT if inverse is None else W @ inverse @ W.mT)[-1]
    return Solution(multipliers=tuple(multipliers), constant=rho.sqrt())


def closed_form(problem: Problem) -> Solution:
    """Scalar multipliers, each the best for its layer (the fast variant of the recursion)."""
    ones = [torch.ones(len(W), dtype=torch.float64) for W in problem.weights[:-1]]
    return recursion(problem, ones, [start(s) for s in problem.slopes])


def optimised(problem: Problem, steps: int, rate: float, report: Callable[[str], None]) -> tuple[Solution, list[float]]:
    """Improve all multipliers together with Adam, from the closed form on.

    The variables are log D_l and the logit of the part of the feasible range, so that every iterate is a bound.

    Args:
        problem: The network.
        steps: Adam steps.
        rate: First step size; it falls to a hundredth by a cosine.
        report: Told how far it is.

    Returns:
        The best iterate, and the bound at every step.
    """
    logs = [torch.zeros(len(W), dtype=torch.float64, requires_grad=True) for W in problem.weights[:-1]]
    odds = [torch.tensor(_logit(start(s)), dtype=torch.float64, requires_grad=True) for s in problem.slopes]
    adam = torch.optim.Adam([*logs, *odds], lr=rate)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=max(1, steps), eta_min=rate / 100)
    best = closed_form(problem)
    trace = [float(best.constant)]
    for step in range(steps):
        found = recursion(problem, [v.exp() for v in logs], [EDGE * torch.sigmoid(v) for v in odds])
        value = float(found.constant.detach())
        trace.append(value)
        if value < float(best.constant):
            best = Solution(multipliers=tuple(m.detach() for m in found.multipliers), constant=found.constant.detach())
        if not math.isfinite(value):
            break
        adam.zero_grad()
        found.constant.log().backward()
        adam.step()
        plan.step()
        if step % 50 == 0:
            report(f"step {step} of {steps}, bound {float(best.constant):.6g}")
    return best, trace


def _logit(p: float) -> float:
    p = min(p / EDGE, 1 - 1e-6)
    return math.log(p / (1 - p))


def certify(problem: Problem, solution: Solution) -> tuple[float, float]:
    """Prove a bound for the given multipliers, whatever the rounding before.

    The block-tridiagonal matrix is written out, scaled by powers of two to a diagonal near one, and shown to be positive
    definite by a Cholesky factorisation with Rump's margin, for the smallest rho that allows it.

    Returns:
        The proven constant, and the relative margin on rho that the proof took.

    Raises:
        NotApplicable: No margin up to 1 % is enough: the network's scales are too far apart for float64.
    """
    rho = float(solution.constant) ** 2
    margin = FIRST_MARGIN
    while margin <= LAST_MARGIN:
        matrix, error = _matrix(problem, solution.multipliers, rho * (1 + margin))
        if is_positive_definite(matrix, error):
            return math.sqrt(rho * (1 + margin)) * (1 + 4 * UNIT), margin
        margin *= 4
    raise NotApplicable("the Schur bound cannot be proven in float64 for this network; use spectral_product")


def _matrix(problem: Problem, multipliers: Sequence[Tensor], rho: float) -> tuple[Tensor, float]:
    """The scaled matrix whose definiteness proves sqrt(rho), and a bound on the spectral norm of its rounding error."""
    scales = _scales(problem, multipliers)
    weights = [W * s for W, s in zip(problem.weights, scales, strict=True)]
    sizes = [len(s) for s in scales]
    ends = [0, *torch.tensor(sizes).cumsum(0).tolist()]
    matrix = torch.zeros((ends[-1], ends[-1]), dtype=torch.float64)
    diagonals = [torch.ones(sizes[0], dtype=torch.float64), *(2 * t for t in multipliers)]
    matrix.diagonal().copy_(torch.cat([d * s * s for d, s in zip(diagonals, scales, strict=True)]))
    error = 0.0
    blocks = [slice(a, b) for a, b in itertools.pairwise(ends)]
    for here, below, W, T, s, (low, high) in zip(
        blocks, blocks[1:], weights, multipliers, scales[1:], problem.slopes, strict=False
    ):
        gram = (T[:, None].sqrt() * W).mT @ (T[:, None].sqrt() * W)
        matrix[here, here] += 2 * low * high * gram
        side = -(low + high) * (s * T)[:, None] * W
        matrix[below, here], matrix[here, below] = side, side.mT
        error += gamma(len(W) + 12) * 2 * abs(low * high) * float(gram.trace()) + gamma(8) * 2 * float(side.norm())
    last = weights[-1].mT @ weights[-1] / rho
    matrix[blocks[-1], blocks[-1]] -= last
    error += gamma(len(weights[-1]) + 12) * float(last.trace())
    # each addition rounds once more, relative to what it gives
    error += gamma(8) * float(matrix.norm())
    return (matrix + matrix.mT) / 2, error * (1 + gamma(16))


def _scales(problem: Problem, multipliers: Sequence[Tensor]) -> list[Tensor]:
    """Powers of two that bring the diagonal blocks I, 2 T_1, .. near the identity; products with them are exact."""
    n = problem.weights[0].shape[1]
    roots = [(2 * t).rsqrt() for t in multipliers]
    powers = [torch.ldexp(torch.ones_like(r), torch.frexp(r)[1] - 1) for r in roots]
    return [torch.ones(n, dtype=torch.float64), *powers]
