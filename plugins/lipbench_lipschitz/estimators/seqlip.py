# SPDX-License-Identifier: Apache-2.0
"""SeqLip with the exact maximum over slope vertices."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, NotApplicable, Value

from ..activations import Activation
from ..chain import dense_chain, layers, rounding_slack
from ..operator_norms import check_finite, gamma, spectral_norm
from ..result import Estimator, bound
from ..task import NetworkOnRegion, need_l2

ENTRIES = 2**21  # numbers in one batch of small matrices


class SeqLip(Estimator):
    """Upper bound on the global l2 constant: SeqLip, each factor maximised exactly.

    With W_l = U_l S_l V_l^T the constant is at most the product over the hidden layers of
    max_s || S'_{l+1} V_{l+1}^T diag(s) U_l S'_l ||_2, where S' is S at both ends of the network and its square root
    elsewhere. The norm is convex in s, so the maximum over all slopes is at a vertex: all 2^n of them are tried. The greedy
    search of the paper is no upper bound and is not offered.

    Args:
        width: Largest number of neurons in a hidden layer; the time doubles with each one.

    Cost: no forwards, no backwards; 2^n small eigenvalue problems for a hidden layer of n neurons.

    Source: Virmaux and Scaman, "Lipschitz regularity of deep neural networks", NeurIPS 2018, section 4.2.
    """

    def __init__(self, *, width: Annotated[int, Field(ge=1, le=24)] = 16) -> None:
        self.width = width

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """The product of the exact maxima, with a rounding margin."""
        need_l2(evidence, "seqlip")
        chain = dense_chain(evidence.probe.source, evidence.probe.shape)
        dense, activations = layers(chain)
        widest = max((len(d.weight) for d in dense[:-1]), default=0)
        if widest > self.width:
            raise NotApplicable(f"seqlip tries 2^n vertices and a hidden layer has n = {widest}; use schur, or width: {widest}")
        if not activations:
            factors = [spectral_norm(dense[0].weight)]
        else:
            last = len(activations)
            splits = [_split(d.weight, whole=i in (0, last)) for i, d in enumerate(dense)]
            factors = [_maximum(splits[i + 1][0], a, splits[i][1]) for i, a in enumerate(activations)]
        value = math.prod(factors) * (1 + gamma(len(factors) + 2))
        # a singular value decomposition is exact for matrices this close to the given ones
        errors = [64 * gamma(sum(d.weight.shape)) * spectral_norm(d.weight) for d in dense]
        return bound(
            evidence,
            check_finite(value + rounding_slack(chain, errors), "the SeqLip bound"),
            kind="upper",
            scope="global",
            certified=True,
            factors=factors,
            widths=[len(d.weight) for d in dense[:-1]],
        )


def _split(W: Tensor, *, whole: bool) -> tuple[Tensor, Tensor]:
    """S' V^T (r, in) and U S' (out, r) of W = U S V^T, S' = S at the ends of the network and its root elsewhere."""
    U, S, Vt = torch.linalg.svd(W, full_matrices=False)
    root = S if whole else S.sqrt()
    return root[:, None] * Vt, U * root


def _maximum(right: Tensor, activation: Activation, left: Tensor) -> float:
    """Upper bound on max over slopes s of ||right diag(s) left||_2, every vertex tried."""
    n = right.shape[1]
    if right.shape[0] > left.shape[1]:
        right, left = left.mT, right.mT
    best = 0.0
    bits = torch.arange(n)
    for codes in torch.arange(2**n).split(max(1, ENTRIES // max(right.numel(), left.numel()))):
        ones = (codes[:, None] >> bits & 1).double()
        slopes = activation.low + (activation.high - activation.low) * ones
        M = (right * slopes[:, None, :]) @ left
        best = max(best, float(torch.linalg.eigvalsh(M @ M.mT)[:, -1].max()))
    # rounding of both products and of the eigenvalues, relative to the norms of the factors
    size = float(torch.linalg.vector_norm(right) * torch.linalg.vector_norm(left)) * activation.lipschitz
    return math.sqrt(best + 64 * gamma(n + sum(left.shape) + 8) * size**2) * (1 + gamma(4))
