# SPDX-License-Identifier: Apache-2.0
"""Normalised kernels as the source's library makes them: power iteration, Bjorck iteration, factors for convolutions.

The constraints of deel-torchlip itself stop by a tolerance and differ in details; these have the fixed numbers of iterations
of deel-lip 1.0.0, whose printed results they belong to.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import parametrize

ConvBound = Literal["strict", "deel", "power_iteration"]
SETTLING = 100
"""Power iterations after training, so that nothing that is reported hangs on a stale estimate."""
_TINY = 1e-12


def bjorck(W: Tensor, iterations: int) -> Tensor:
    """Bjorck and Bowie's iteration of order 1, W <- 1.5 W - 0.5 W W^T W: singular values s <- 1.5 s - 0.5 s^3.

    From (0, sqrt 3) they go to 1; a small one grows by no more than half a step.

    Args:
        W: (..., m, n), with singular values below sqrt 3.
        iterations: How often.
    """
    tall = W.shape[-2] > W.shape[-1]
    for _ in range(iterations):
        W = 1.5 * W - 0.5 * (W @ (W.mT @ W) if tall else (W @ W.mT) @ W)
    return W


def power_iteration(W: Tensor, u: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """The largest singular value of W (..., m, n), from u (..., m), and the next u; gradients flow through the value alone."""
    with torch.no_grad():
        v = F.normalize(_times(W.mT, u), dim=-1, eps=_TINY)
        for _ in range(iterations):
            u = F.normalize(_times(W, v), dim=-1, eps=_TINY)
            v = F.normalize(_times(W.mT, u), dim=-1, eps=_TINY)
    return (u * _times(W, v)).sum(-1), u


def _times(W: Tensor, v: Tensor) -> Tensor:
    return (W @ v[..., None])[..., 0]


class Orthonormal(nn.Module):
    """Parametrisation of a kernel (out, ...), reshaped to (out, rest): divided by its largest singular value, then Bjorck.

    After `stack` it is one of S kernels (S, out, ...) at once, by batched products of matrices.

    In training the singular value is estimated by a few power iterations that go on from step to step; in eval mode the last
    estimate stays.

    Args:
        kernel: The kernel before it is normalised.
        niter_spectral: Power iterations a step.
        niter_bjorck: Bjorck iterations; 0 for spectral normalisation alone.
        factor: What the result is multiplied by.
    """

    u: Tensor
    sigma: Tensor

    def __init__(self, kernel: Tensor, *, niter_spectral: int = 3, niter_bjorck: int = 15, factor: float = 1.0) -> None:
        super().__init__()
        self.niter_spectral, self.niter_bjorck, self.factor = niter_spectral, niter_bjorck, factor
        W = kernel.detach().flatten(1)
        sigma, u = power_iteration(W, torch.ones(len(W)) / math.sqrt(len(W)), 20)
        self.register_buffer("u", u)
        self.register_buffer("sigma", sigma)

    def forward(self, kernel: Tensor) -> Tensor:
        """The normalised kernel, of the same shape."""
        W = kernel.flatten(self.u.ndim)
        sigma = self.sigma
        if self.training:
            sigma, self.u = power_iteration(W, self.u, self.niter_spectral)
            self.sigma = sigma.detach()
        return (self.factor * bjorck(W / sigma[..., None, None], self.niter_bjorck)).view_as(kernel)

    @staticmethod
    def stack(parts: Sequence[Orthonormal]) -> Orthonormal:
        """One for all kernels of parts that differ in their estimates alone."""
        made = copy.deepcopy(parts[0])
        made.u, made.sigma = torch.stack([p.u for p in parts]), torch.stack([p.sigma for p in parts])
        return made

    def give(self, which: int, part: nn.Module) -> None:
        """Give one of the stacked parts its estimates back."""
        assert isinstance(part, Orthonormal)  # noqa: S101  (it was stacked)
        part.u, part.sigma = self.u[which].cpu().clone(), self.sigma[which].cpu().clone()


class Frobenius(nn.Module):
    """Parametrisation of a kernel: the whole of it divided by its Frobenius norm.

    Args:
        factor: What the result is multiplied by.
        stacked: Of kernels (S, ...), each by its own norm.
    """

    def __init__(self, factor: float = 1.0, *, stacked: bool = False) -> None:
        super().__init__()
        self.factor, self.stacked = factor, stacked

    def forward(self, kernel: Tensor) -> Tensor:
        """The normalised kernel."""
        each = tuple(range(int(self.stacked), kernel.ndim))
        return self.factor * kernel / torch.linalg.vector_norm(kernel, dim=each, keepdim=True)


class ByOperator(nn.Module):
    """Parametrisation of a kernel with padding `same`: divided by the norm of the convolution, found by power iteration.

    Args:
        kernel: (out, in, k, k).
        size: Height and width of the input.
        iterations: Power iterations a step.
        factor: What the result is multiplied by.
    """

    image: Tensor
    norm: Tensor

    def __init__(self, kernel: Tensor, size: tuple[int, int], *, iterations: int = 3, factor: float = 1.0) -> None:
        super().__init__()
        self.iterations, self.factor = iterations, factor
        self.register_buffer("image", torch.ones(1, kernel.shape[1], *size))
        self.register_buffer("norm", torch.ones(()))
        self._update(kernel.detach(), SETTLING)

    def forward(self, kernel: Tensor) -> Tensor:
        """The normalised kernel."""
        if not self.training:
            return self.factor * kernel / self.norm
        self._update(kernel.detach(), self.iterations)
        norm = torch.linalg.vector_norm(self._apply_kernel(kernel, self.image))
        self.norm = norm.detach()
        return self.factor * kernel / norm

    @torch.no_grad()
    def _update(self, kernel: Tensor, iterations: int) -> None:
        image, pad = self.image, kernel.shape[-1] // 2
        for _ in range(iterations):
            back = F.conv_transpose2d(self._apply_kernel(kernel, image), kernel, padding=pad)
            image = back / torch.linalg.vector_norm(back).clamp_min(_TINY)
        self.image = image
        self.norm = torch.linalg.vector_norm(self._apply_kernel(kernel, image))

    @staticmethod
    def _apply_kernel(kernel: Tensor, image: Tensor) -> Tensor:
        return F.conv2d(image, kernel, padding=kernel.shape[-1] // 2)


def conv_factor(bound: ConvBound, side: int, size: tuple[int, int]) -> float:
    """What an orthonormalised kernel of `side` pixels, stride 1 and padding `same` is multiplied by.

    `strict` 1/side, so that the convolution is 1-Lipschitz whatever the kernel: each input pixel is in at most side^2 windows.
    `deel` the source's factor, sqrt(h w / ((k h - c)(k w - c))) with c = b (b + 1), b = (k - 1)/2, which counts the windows that
    padding cuts. It is an average, not a bound.
    """
    if bound != "deel":
        return 1 / side if bound == "strict" else 1.0
    half = (side - 1) / 2
    cut = half * (half + 1)
    return math.sqrt(size[0] * size[1] / ((side * size[0] - cut) * (side * size[1] - cut)))


@torch.no_grad()
def settle(module: nn.Module) -> None:
    """Bring all estimates of a constrained network up to its present weights, and put it into eval mode.

    The layers of deel-torchlip are read many times, each of which is a power iteration.
    """
    module.train()
    for part in module.modules():
        if not parametrize.is_parametrized(part, "weight"):
            continue
        steps = list(part.parametrizations["weight"])  # type: ignore[index]
        usual = [(p, p.niter_spectral) for p in steps if isinstance(p, Orthonormal)]
        for p, _ in usual:
            p.niter_spectral = SETTLING
        own = all(isinstance(p, Orthonormal | Frobenius) for p in steps)
        for _ in range(1 if own else SETTLING):
            part.weight  # noqa: B018  (reading it runs the iterations)
        for p, count in usual:
            p.niter_spectral = count
    module.eval()
