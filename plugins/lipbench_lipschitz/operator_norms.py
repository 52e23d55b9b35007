# SPDX-License-Identifier: Apache-2.0
"""Rigorous upper bounds on the operator norms of matrices and convolutions.

Every number here is at least the exact norm of the map with the stored weights: it is either verified by a Cholesky
factorisation that accounts for its own rounding, or raised by a stated rounding margin.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.sparse.linalg import eigsh
from torch import Tensor

from lipbench.api import NotApplicable, NotFinite

UNIT = 2.0**-53
"""Unit roundoff of float64."""
DENSE_SIDE = 1500  # a full symmetric eigenvalue problem up to this side takes seconds
DENSE_CONV = 2**20  # entries up to which a convolution is written out as a matrix
SVD_SIDE = 48  # Fourier blocks up to this side get exact singular values, larger ones Gram iteration
GRAM_STEPS = 12  # leaves a factor n^(2^-13): 0.08 % for n = 512
CHUNK = 2**22  # complex numbers in one batch of Fourier blocks
_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def gamma(n: int) -> float:
    """The usual bound n u / (1 - n u) on the relative error of a sum of n products in float64."""
    return n * UNIT / (1 - n * UNIT)


def is_positive_definite(A: Tensor, error: float = 0.0) -> bool:
    """Prove that a symmetric matrix is positive definite, whatever the rounding.

    If the floating-point Cholesky factorisation of A - c I runs to its end with c >= gamma_{n+1}/(1 - gamma_{n+1}) tr A,
    then A is positive definite (Rump, "Verification of positive definiteness", BIT 46, 2006, theorem 2.3).

    Args:
        A: (n, n) float64, symmetric.
        error: Bound on the spectral norm of the difference between A and the matrix that is meant.

    Returns:
        True only if the matrix that is meant is positive definite; False says nothing.
    """
    n = len(A)
    trace = float(A.diagonal().abs().sum())
    # twice the constant of the theorem pays for the subtraction from the diagonal and for the sum in the trace
    c = 2 * gamma(n + 2) * trace + error * (1 + 8 * UNIT) + np.finfo(np.float64).tiny
    shifted = A.clone()
    shifted.diagonal().sub_(c)
    factor, info = torch.linalg.cholesky_ex(shifted)
    return int(info) == 0 and bool(torch.isfinite(factor).all())


def gram_iteration(W: Tensor, steps: int) -> Tensor:
    """Upper bounds on the largest singular value, better at every step.

    sigma_1 <= ||(W^T W)^(2^(k-1))||_F^(1/2^k), the matrix rescaled by its Frobenius norm before each squaring (Delattre et
    al., "Efficient Bound of Lipschitz Constant for Convolutional Layers by Gram Iteration", ICML 2023, theorem 1).

    Args:
        W: (..., m, n), real or complex, float64 arithmetic.
        steps: Number of squarings.

    Returns:
        (steps + 1, ...): the Frobenius norm, then the bound after each squaring, each raised by its rounding margin.
    """
    G = W if W.shape[-2] >= W.shape[-1] else W.mT.conj()
    size = max(G.shape[-2:])
    tiny = torch.finfo(torch.float64).tiny
    scale = torch.linalg.matrix_norm(G)
    log = scale.clamp_min(tiny).log()
    bounds = [scale]
    for k in range(1, steps + 1):
        G = G / scale.clamp_min(tiny)[..., None, None]
        G = G.mT.conj() @ G
        scale = torch.linalg.matrix_norm(G)
        # ||W||^(2^k) <= ||G_k|| prod of earlier scales; `log` holds the 2^-j-weighted sum of their logarithms
        log = log + scale.clamp_min(tiny).log() / 2**k
        bounds.append(torch.where(bounds[0] > 0, log.exp(), bounds[0]))
    # a squaring loses at most gamma ||G||_F^2 of an eigenvalue that is at least ||G||_F^2 / sqrt n, weighted by 2^-k
    return torch.stack(bounds) * (1 + 16 * gamma(size + 8) * math.sqrt(min(G.shape[-2:])))


def _guess(G: Tensor) -> float:
    """About the largest eigenvalue of a symmetric positive semidefinite matrix; need not be rigorous."""
    if len(G) <= DENSE_SIDE:
        return float(torch.linalg.eigvalsh(G)[-1])
    return float(eigsh(G.numpy(), k=1, which="LA", v0=np.ones(len(G)), tol=1e-9, return_eigenvectors=False)[0])


def spectral_norm(W: Tensor) -> float:
    """A verified upper bound on the largest singular value, closer than n^2 times the unit roundoff to it.

    Args:
        W: (m, n) real.

    Raises:
        NotFinite: The matrix holds NaN or infinite values.
    """
    W = W.detach().to("cpu", torch.float64)
    W = W if W.shape[0] >= W.shape[1] else W.mT
    scale = float(W.abs().max()) if W.numel() else 0.0
    if not math.isfinite(scale):
        raise NotFinite("a weight matrix holds NaN or infinite values")
    if scale == 0.0:
        return 0.0
    scale = 2.0 ** math.frexp(scale)[1]  # a power of two: dividing by it is exact
    W = W / scale
    G = W.mT @ W
    if G.shape[0] == 1:
        return scale * math.sqrt(float(G)) * (1 + gamma(len(W) + 4))
    trace, eye = float(G.trace()), torch.eye(len(G), dtype=torch.float64)
    error = gamma(len(W) + 2) * trace  # |fl(W^T W) - W^T W| <= gamma |W|^T |W|, a matrix of this trace
    square = _guess(G) * (1 + 4 * UNIT)
    for power in range(30):
        candidate = square * (1 + 2.0**power * 4 * len(G) * gamma(len(G) + 2)) + 2 * error
        if is_positive_definite(candidate * eye - G, error + 2 * UNIT * (candidate + trace)):
            return scale * math.sqrt(candidate) * (1 + 4 * UNIT)
    return scale * float(torch.linalg.matrix_norm(W)) * (1 + gamma(W.numel() + 2))


def matrix_norm(W: Tensor, order: str) -> float:
    """Upper bound on the operator norm of x -> W x from `order` to `order`: l2, l1 or linf."""
    if order == "l2":
        return spectral_norm(W)
    sums = W.detach().to("cpu", torch.float64).abs().sum(0 if order == "l1" else 1)
    return float(sums.max()) * (1 + gamma(W.shape[0 if order == "l1" else 1]))


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A zero-padded convolution: its weights and all that fixes its size."""

    weight: Tensor
    """(out, in / groups, *k) float64."""
    size: tuple[int, ...]
    """Height and width (or fewer or more numbers) of its input."""
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int

    @property
    def taps(self) -> int:
        """Products in one output."""
        return int(self.weight[0].numel())

    def apply(self, x: Tensor) -> Tensor:
        """The convolution without bias of (B, in, *size)."""
        conv = _CONV[len(self.size)]
        padding = 0 if self.padding == "valid" else self.padding
        if padding == "same":  # spelt out, because torch warns where the kernel is even
            spans = [d * (k - 1) for k, d in zip(self.weight.shape[:1:-1], self.dilation[::-1], strict=True)]
            x, padding = F.pad(x, [end for span in spans for end in (span // 2, span - span // 2)]), 0
        return conv(x, self.weight, None, self.stride, padding, self.dilation, self.groups)

    def parts(self) -> Tensor:
        """(groups, out / groups, in / groups, *k): the independent convolutions."""
        return self.weight.unflatten(0, (self.groups, -1))


def conv_norm(kernel: Kernel, order: str) -> float:
    """Upper bound on the operator norm of a zero-padded convolution, from `order` to `order`.

    For l2 the least of: the exact matrix where that is small; the circular convolution on a torus so large that nothing
    wraps around (the zero-padded one is a part of it), strides as aliasing of its spectrum; and the reshaped kernel times
    the root of how many windows can see one pixel.
    """
    w = kernel.weight.abs()
    margin = 1 + gamma(w.numel())
    if order == "linf":
        return float(w.flatten(1).sum(1).max()) * margin
    if order == "l1":
        return float(kernel.parts().abs().transpose(1, 2).flatten(2).sum(2).max()) * margin
    if not bool(torch.isfinite(w).all()):
        raise NotFinite("a convolution holds NaN or infinite values")
    if all(k == 1 for k in w.shape[2:]):
        return max(spectral_norm(part.flatten(1)) for part in kernel.parts())
    if _entries(kernel) <= DENSE_CONV:
        return spectral_norm(dense_conv(kernel))
    return min(_torus_norm(kernel), _window_norm(kernel))


def _entries(kernel: Kernel) -> int:
    inputs = kernel.weight.shape[1] * kernel.groups * math.prod(kernel.size)
    outputs = kernel.weight.shape[0] * math.prod(n // s + 1 for n, s in zip(kernel.size, kernel.stride, strict=True))
    return inputs * outputs


def dense_conv(kernel: Kernel) -> Tensor:
    """(outputs, inputs): the convolution as a matrix."""
    shape = (kernel.weight.shape[1] * kernel.groups, *kernel.size)
    n = math.prod(shape)
    return kernel.apply(torch.eye(n, dtype=torch.float64).view(n, *shape)).flatten(1).mT


def _window_norm(kernel: Kernel) -> float:
    """Each pixel is in at most so many windows: all windows together hold at most that many times the input's energy."""
    seen = 1
    for k, s, d in zip(kernel.weight.shape[2:], kernel.stride, kernel.dilation, strict=True):
        seen *= max(np.bincount([t * d % s for t in range(k)]))
    return max(spectral_norm(part.flatten(1)) for part in kernel.parts()) * math.sqrt(seen) * (1 + 4 * UNIT)


def _torus_norm(kernel: Kernel) -> float:
    """The largest singular value over all Fourier blocks of the strided circular convolution."""
    spans = [d * (k - 1) for k, d in zip(kernel.weight.shape[2:], kernel.dilation, strict=True)]
    # m low frequencies a dimension on a torus of s * m >= size + span points
    lows = [-(-(n + span) // s) for n, span, s in zip(kernel.size, spans, kernel.stride, strict=True)]
    best = 0.0
    for block in _blocks(kernel, lows):
        best = max(best, _largest_singular(block))
    # a sum over taps and aliases of products with unit roots, then a backward stable decomposition
    return best * (1 + 64 * gamma(kernel.taps * math.prod(kernel.stride) + kernel.weight.shape[0] + 8))


def _blocks(kernel: Kernel, lows: Sequence[int]) -> Iterator[Tensor]:
    """Batches (groups, F, out / groups, in / groups * aliases) of Fourier blocks, half of all frequencies.

    The weights are real, so the block at -w is the conjugate of the block at w and has the same singular values.
    """
    taps = kernel.parts().flatten(3).to(torch.complex128)
    counts = [*lows[:-1], lows[-1] // 2 + 1]
    grid = torch.cartesian_prod(*(torch.arange(c) for c in counts)).view(-1, len(lows))
    aliases = torch.tensor(list(itertools.product(*(range(s) for s in kernel.stride))))
    places = torch.tensor(list(itertools.product(*(range(k) for k in kernel.weight.shape[2:])))) * torch.tensor(kernel.dilation)
    low, points = torch.tensor(lows), torch.tensor(lows) * torch.tensor(kernel.stride)
    rows = max(1, CHUNK // (math.prod(kernel.weight.shape[:2]) * len(aliases)))
    for part in grid.split(rows):
        turns = (part[:, None, None, :] + (aliases * low)[:, None, :]) * places % points  # exact integers
        angle = (turns.double() / points).sum(-1) * (-2 * math.pi)
        wave = torch.polar(torch.ones_like(angle), angle)
        block = torch.einsum("goit,fat->gfoia", taps, wave) / math.sqrt(len(aliases))
        yield block.flatten(3)


def _largest_singular(blocks: Tensor) -> float:
    side = min(blocks.shape[-2:])
    if side == 1:
        return float(torch.linalg.vector_norm(blocks, dim=(-2, -1)).max())
    if side <= SVD_SIDE:
        return float(torch.linalg.svdvals(blocks).max())
    return float(gram_iteration(blocks, GRAM_STEPS)[-1].max())


def schur_test(rows: float, columns: float) -> float:
    """Upper bound sqrt(l1 norm * linf norm) on the l2 norm, for matrices and their absolute values alike."""
    return math.sqrt(rows * columns) * (1 + 4 * UNIT)


def check_finite(value: float, who: str) -> float:
    """Pass a finite number on.

    Raises:
        NotApplicable: The bound is infinite.
    """
    if not math.isfinite(value):
        raise NotApplicable(f"{who} is not finite for this network")
    return value
