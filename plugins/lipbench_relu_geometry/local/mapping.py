# SPDX-License-Identifier: Apache-2.0
"""One matrix an output from the local maps of one network to those of another, with its controls."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lipbench.api import Context, Interval, Metric, Value

from ..metrics.values import LEVEL, share
from .clusters import right
from .rows import applied, classes
from .task import Local, Maps

Kind = Literal["fit", "identity", "mean", "shuffled"]
Rows = Literal["biased", "unbiased", "scaled"]
_LARGE = 5_000_000
"""Numbers of a table of rows above which it is not decomposed by singular values."""


class MappedOutputs(Metric):
    """The target's local maps predicted from the source's at the same point, and what the predicted maps say.

    Args:
        of: `accuracy`; `agreement`, the share of test points with the target's class; `gain`, the agreement less that of the
            source without any map; `r2`, weighted by the variance of the columns; `r2_uniform`, their plain mean; `cosine` of
            predicted and true w; `cosine_before` of the source's and the target's w; `rank` of the source's training rows.
        map: `fit` by least squares on the training points; `identity`, which gives the source itself; `mean`, the target's
            mean map for every point; `shuffled`, the fit to the target's rows in random order.
        rows: `biased` rows [w; b]; `unbiased`: a map of w alone, and the target's mean b for all, with R2 over w alone;
            `scaled`: each column divided by its deviation first, with a constant column.

    Source: Sattelberg et al. 2023, eq. 8.
    """

    def __init__(
        self,
        *,
        of: Literal["accuracy", "agreement", "gain", "r2", "r2_uniform", "cosine", "cosine_before", "rank"] = "accuracy",
        map: Kind = "fit",
        rows: Rows = "biased",
    ) -> None:
        self.of, self.map, self.rows = of, map, rows

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """What `of` says."""
        source, target = evidence.pair("mapped_outputs")
        if self.of == "cosine_before":
            return _plain(_cosine(source.test, target.test), "cosine")
        guess, rank = predicted(evidence, source, target, self.map, self.rows)
        if self.of == "rank":
            return Value(value=float(rank), direction="none", unit="rank")
        if self.of == "cosine":
            return _plain(_cosine(guess, target.test), "cosine")
        if self.of in ("r2", "r2_uniform"):
            # A map of w alone is judged by w alone; the constant b would hide what it does.
            last = -1 if self.rows == "unbiased" else None
            return _plain(_r2(guess[..., :last], target.test[..., :last], weighted=self.of == "r2"), "R2")
        outputs, goal = applied(guess, evidence.test), classes(target.test_outputs)
        if self.of == "gain":
            return _gain(right(outputs, goal), right(source.test_outputs, goal))
        wanted = evidence.test_labels if self.of == "accuracy" else goal
        return share(right(outputs, wanted), unit=self.of, direction="higher")


def _plain(value: float, unit: str) -> Value:
    return Value(value=value, direction="higher", unit=unit)


def _gain(after: np.ndarray, before: np.ndarray) -> Value:
    """Difference of two shares on the same points, with the normal interval of a paired difference and McNemar's counts."""
    d = after.astype(float) - before
    half = 1.96 * float(d.std(ddof=1)) / len(d) ** 0.5
    return Value(
        value=float(d.mean()),
        direction="higher",
        unit="share",
        interval=Interval(low=float(d.mean()) - half, high=float(d.mean()) + half, level=LEVEL, method="normal, paired points"),
        extras={"won": int((d > 0).sum()), "lost": int((d < 0).sum())},
    )


def solve(x: Tensor, y: Tensor) -> tuple[Tensor, int]:
    """The matrix M of minimum norm with the least ||x M - y||, and the rank of x, in float64.

    Singular values below 1e-10 of the first are 0. Large tables go by the normal equations with a ridge of 1e-6 of the mean
    square of a column.
    """
    if x.numel() > _LARGE:
        gram = x.T @ x
        ridge = 1e-6 * gram.trace() / len(gram)
        return torch.linalg.solve(gram + ridge * torch.eye(len(gram), dtype=x.dtype), x.T @ y), int(
            torch.linalg.matrix_rank(gram)
        )
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    keep = s > 1e-10 * s[0]
    return vt[keep].T @ ((u[:, keep].T @ y) / s[keep, None]), int(keep.sum())


def predicted(evidence: Local, source: Maps, target: Maps, kind: Kind, rows: Rows) -> tuple[Tensor, int]:
    """(o, M, d + 1) predicted rows of the target at the test points, and the largest rank of the source's rows.

    Args are those of `MappedOutputs`; metrics of one job share what is found.
    """
    found: tuple[Tensor, int] = evidence.once(("mapped", kind, rows), lambda: _predicted(evidence, source, target, kind, rows))
    return found


def _predicted(evidence: Local, source: Maps, target: Maps, kind: Kind, rows: Rows) -> tuple[Tensor, int]:
    if kind == "identity":
        return source.test, 0
    if kind == "mean":
        return target.train.mean(1, keepdim=True).expand_as(target.test), 0
    found, ranks = [], []
    order: Any = slice(None)
    if kind == "shuffled":
        order = torch.from_numpy(evidence.rng("shuffled").permutation(target.train.shape[1]))
    for x, y, xt in zip(source.train, target.train, source.test, strict=True):
        guess, rank = _fitted(x, y[order], xt, rows)
        found.append(guess)
        ranks.append(rank)
    return torch.stack(found), max(ranks)


def _fitted(x: Tensor, y: Tensor, xt: Tensor, rows: Rows) -> tuple[Tensor, int]:
    if rows == "unbiased":
        m, rank = solve(x[:, :-1], y[:, :-1])
        return torch.cat([xt[:, :-1] @ m, y[:, -1].mean().expand(len(xt), 1)], dim=1), rank
    if rows == "scaled":
        (mx, sx), (my, sy) = ((t.mean(0), t.std(0).clamp_min(1e-12)) for t in (x, y))
        # A column that does not vary carries nothing beyond the constant.
        m, rank = solve((x - mx) / sx, (y - my) / sy)
        return ((xt - mx) / sx) @ m * sy + my, rank
    m, rank = solve(x, y)
    return xt @ m, rank


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a[:, :, :-1], b[:, :, :-1], dim=2).mean())


def _r2(guess: Tensor, truth: Tensor, *, weighted: bool) -> float:
    """Mean over outputs; columns that do not vary are left out of the plain mean."""
    left = (guess - truth).square().sum(1)
    spread = (truth - truth.mean(1, keepdim=True)).square().sum(1)
    if weighted:
        return float((1 - left.sum(1) / spread.sum(1)).mean())
    varied = spread > 1e-12 * spread.amax(1, keepdim=True)
    return float(torch.stack([(1 - e[v] / s[v]).mean() for e, s, v in zip(left, spread, varied, strict=True)]).mean())
