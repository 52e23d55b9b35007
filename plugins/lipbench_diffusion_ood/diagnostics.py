# SPDX-License-Identifier: Apache-2.0
"""Metrics that look behind an AUROC: the worst pair of classes, and what of an image its score follows."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Interval, Metric, NotApplicable, Value

from .evidence import TRAITS, OODScores

_LEVEL, _Z = 0.95, 1.959964
_FEWEST = 4
"""Images that an interval of a rank correlation needs."""


class ClassPairs(Metric):
    """The lowest AUROC over pairs of an in-domain and a foreign class; all of them are in the extras.

    Labels serve this table alone: no detector sees them.

    Args:
        least: Images that a class needs on either side to be counted.

    Source: Z. Liu et al., Leveraging diffusion models for unsupervised out-of-distribution detection on image manifold, 2024,
    figure 5.
    """

    def __init__(self, *, least: Annotated[int, Field(ge=1)] = 5) -> None:
        self.least = least

    def compute(self, evidence: OODScores, ctx: Context) -> Value:
        """In [0, 1], higher is better. The lowest of many is low by chance too, so it has no interval.

        Raises:
            NotApplicable: A set has no labels, or no class of enough images.
        """
        if evidence.inside_labels is None or evidence.outside_labels is None:
            raise NotApplicable("class_pairs: a set has no labels; leave the metric out of this block")
        sides = [(evidence.inside, evidence.inside_labels), (evidence.outside, evidence.outside_labels)]
        inside, outside = ([(c, scores[labels == c].numpy()) for c in labels.unique().tolist()] for scores, labels in sides)
        inside, outside = ([(c, s) for c, s in side if len(s) >= self.least] for side in (inside, outside))
        if not inside or not outside:
            raise NotApplicable(f"class_pairs: no class has {self.least} images; write a larger images:, or a smaller least:")
        table = np.array([[_auroc(a, b) for _, b in outside] for _, a in inside])
        return Value(
            value=float(table.min()),
            direction="higher",
            unit="AUROC",
            group="worst class pair",
            extras={
                "inside_classes": [c for c, _ in inside],
                "outside_classes": [c for c, _ in outside],
                "auroc": table.round(4).tolist(),
            },
        )


def _auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Share of pairs in which the second scores higher, ties half."""
    at = np.sort(inside)
    return float((np.searchsorted(at, outside, "left") + np.searchsorted(at, outside, "right")).mean() / (2 * len(at)))


class ScoreDrift(Metric):
    """Spearman's rank correlation of in-domain scores with a trait of the image that has nothing to do with its kind.

    A detector whose score follows the brightness or the complexity of an image will find foreign images of other brightness
    or complexity, and miss those that are foreign in other ways.

    Args:
        trait: `intensity`, the mean of the pixels, or `complexity`, the length of the image compressed by zlib at 8 bits.

    Source of the interval: D. G. Bonett, T. A. Wright, Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations, Psychometrika 65, 2000.
    """

    def __init__(self, *, trait: Literal["intensity", "complexity"] = "intensity") -> None:
        self.trait = trait

    def compute(self, evidence: OODScores, ctx: Context) -> Value:
        """In [-1, 1], best near 0; the extras have that of foreign images.

        Raises:
            NotApplicable: All scores, or all traits, are the same.
        """
        column = TRAITS.index(self.trait)
        rho = _spearman(evidence.inside, evidence.inside_traits[:, column])
        other = _spearman(evidence.outside, evidence.outside_traits[:, column])
        if rho is None:
            raise NotApplicable(f"score_drift: all in-domain images have the same score or the same {self.trait}")
        n = len(evidence.inside)
        interval = None
        if n >= _FEWEST and abs(rho) < 1:
            half = _Z * math.sqrt((1 + rho**2 / 2) / (n - 3))
            low, high = (math.tanh(math.atanh(rho) + sign * half) for sign in (-1, 1))
            interval = Interval(low=low, high=high, level=_LEVEL, method="Bonett-Wright")
        return Value(
            value=rho, direction="none", unit="Spearman's rho", group=self.trait, interval=interval, extras={"outside": other}
        )


def _spearman(scores: Tensor, trait: Tensor) -> float | None:
    """None where one of them is constant."""
    from scipy.stats import spearmanr

    if bool((scores == scores[0]).all()) or bool((trait == trait[0]).all()):
        return None
    return float(spearmanr(scores.numpy(), trait.numpy()).statistic)
