# SPDX-License-Identifier: Apache-2.0
"""How alike the local maps of two networks are, with no matrix fitted: CKA, Procrustes, and cosines beside permuted pairs."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Metric, Value

from .mapping import predicted
from .task import Local

_TIE = 1e-12
"""Mean cosines nearer than this are equal."""


def linear_cka(x: Tensor, y: Tensor) -> Tensor:
    """Centred kernel alignment of (..., N, d) and (..., N, e) with linear kernels, by features and not by N x N matrices.

    1 for orthogonal maps and isotropic scales of each other; 0 where no column of one correlates with one of the other.

    Source: S. Kornblith, M. Norouzi, H. Lee, G. Hinton, Similarity of neural network representations revisited, ICML 2019, eq. 3.
    """
    x, y = _centred(x), _centred(y)
    own = (x.mT @ x).flatten(-2).norm(dim=-1) * (y.mT @ y).flatten(-2).norm(dim=-1)
    return (x.mT @ y).square().sum((-2, -1)) / own.clamp_min(1e-300)


def procrustes(x: Tensor, y: Tensor) -> Tensor:
    """Cosine of the angle between (..., N, d) and (..., N, e) after the best rotation or reflection of the centred rows.

    Source: A. Williams, E. Kunz, S. Kornblith, S. Linderman, Generalized shape metrics on neural representations, NeurIPS 2021.
    """
    x, y = _centred(x), _centred(y)
    own = x.flatten(-2).norm(dim=-1) * y.flatten(-2).norm(dim=-1)
    return torch.linalg.svdvals(x.mT @ y).sum(-1) / own.clamp_min(1e-300)


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(-2, keepdim=True)


class RowSimilarity(Metric):
    """Similarity of two networks' local maps at the same test points, the mean over outputs; nothing is predicted.

    Args:
        of: Linear `cka`, or `procrustes`; both are 1 for rotated and scaled copies.
        on: `rows` [w; b]; `weights` w alone; or the networks' `outputs`, all at once.
        pairs: The `same` points, or the target's in random order: what is found where nothing belongs together.
    """

    def __init__(
        self,
        *,
        of: Literal["cka", "procrustes"] = "cka",
        on: Literal["rows", "weights", "outputs"] = "weights",
        pairs: Literal["same", "shuffled"] = "same",
    ) -> None:
        self.of, self.on, self.pairs = of, on, pairs

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """A similarity in [0, 1]."""
        source, target = evidence.pair("row_similarity")
        if self.on == "outputs":
            x, y = source.test_outputs[None], target.test_outputs[None]
        else:
            last = None if self.on == "rows" else -1
            x, y = source.test[:, :, :last], target.test[:, :, :last]
        if self.pairs == "shuffled":
            y = y[:, torch.from_numpy(evidence.rng("similarity").permutation(y.shape[1]))]
        found = (linear_cka if self.of == "cka" else procrustes)(x, y)
        return Value(value=float(found.mean()), direction="none", unit=self.of)


def permuted_cosines(a: Tensor, b: Tensor, permutations: int, generator: torch.Generator) -> tuple[float, float, Tensor]:
    """Mean cosine of pairs of rows, and the same after permutations of the pairs.

    The cosines of all N x N pairs are summed over outputs once; a permutation then picks N of them.

    Args:
        a: (o, N, d).
        b: (o, N, d).
        permutations: P.
        generator: Draws them.

    Returns:
        The mean of pairs, its exact mean over all permutations, and (P,) means of permuted pairs.
    """
    a, b = (torch.nn.functional.normalize(t, dim=2) for t in (a, b))
    cosines = torch.einsum("ond,omd->nm", a, b) / len(a)
    count = len(cosines)
    orders = torch.rand(permutations, count, generator=generator).argsort(1)
    drawn = cosines[torch.arange(count), orders].mean(1)
    return float(cosines.diagonal().mean()), float(cosines.mean()), drawn


class CosineTest(Metric):
    """Are weights at the same point more alike than those at two points? A permutation test of the mean cosine.

    Args:
        of: `excess` of the mean cosine over its mean under permuted pairs; `p`, the share of permutations, the observed one
            counted in, with a mean cosine at least as large.
        map: `identity`, the source's own w beside the target's; `fit`, those that the matrix predicts.
        points: Test points that are permuted, at most.
        permutations: How many; the least p is 1 over one more.

    Source: for p, B. Phipson and G. Smyth, Permutation p-values should never be zero, Stat. Appl. Genet. Mol. Biol. 9, 2010.
    """

    def __init__(
        self,
        *,
        of: Literal["excess", "p"] = "excess",
        map: Literal["identity", "fit"] = "identity",
        points: Annotated[int, Field(ge=2)] = 500,
        permutations: Annotated[int, Field(ge=1)] = 999,
    ) -> None:
        self.of, self.map, self.points, self.permutations = of, map, points, permutations

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """What `of` says."""
        source, target = evidence.pair("cosine_test")
        guess, _ = predicted(evidence, source, target, self.map, "biased")
        rows, kept = slice(self.points), slice(-1)
        seen, mean, drawn = evidence.once(
            ("permuted", self.map, self.points, self.permutations),
            lambda: permuted_cosines(
                guess[:, rows, kept], target.test[:, rows, kept], self.permutations, evidence.generator("permutations")
            ),
        )
        # Means of the same cosines in another order differ by rounding; they are ties.
        p = (1 + int((drawn >= seen - _TIE).sum())) / (1 + self.permutations)
        extras = {"cosine": seen, "permuted_mean": mean, "permuted_sd": float(drawn.std()), "p": p}
        if self.of == "p":
            return Value(value=p, direction="none", unit="p", extras=extras)
        return Value(value=seen - mean, direction="none", unit="cosine", extras=extras)
