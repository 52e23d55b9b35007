# SPDX-License-Identifier: Apache-2.0
"""Metrics of the task `ood_detection`; positive is out of distribution throughout."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from lipbench_basics.statistics import clopper_pearson, delong, tpr_at_fpr
from pydantic import Field

from lipbench.api import Context, Interval, Metric, Value

from .evidence import OODScores

LEVEL = 0.95
_BINS = 20
_RESAMPLES = 500
_AT_ONCE = 50
"""Resamples in memory at once."""


class OODAuroc(Metric):
    """Area under the ROC curve of in-domain against foreign images, with DeLong's interval; histograms in the extras.

    Source: E. DeLong et al., Biometrics 44, 1988.
    """

    def compute(self, evidence: OODScores, ctx: Context) -> Value:
        """In [0, 1], higher is better; below 0.5 foreign images look more in-domain than in-domain ones."""
        inside, outside = evidence.inside.numpy(), evidence.outside.numpy()
        value, low, high, variance = delong(inside, outside, LEVEL)
        return Value(
            value=value,
            direction="higher",
            unit="AUROC",
            group=f"images enlarged to {evidence.enlarged_to} pixels" if evidence.enlarged_to else "",
            interval=Interval(low=low, high=high, level=LEVEL, method="DeLong"),
            extras={
                "images": [len(inside), len(outside)],
                "standard_error": float(np.sqrt(variance)),
                "histogram": _histogram(inside, outside),
                "evaluations": evidence.evaluations,
            },
        )


def _histogram(inside: np.ndarray, outside: np.ndarray) -> dict[str, list[float]]:
    """Shares over common bins that hold the central 99 % of all scores; the tails go into the outer bins."""
    low, high = np.quantile(np.concatenate([inside, outside]), [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    found = {"edges": [float(f"{edge:.6g}") for edge in edges]}
    for name, scores in (("inside", inside), ("outside", outside)):
        counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
        found[name] = (counts / len(scores)).round(5).tolist()
    return found


class Aupr(Metric):
    """Area under the precision-recall curve, by average precision; its interval is a bootstrap over images.

    Where all resamples agree, as they do where the scores separate the sets, there is no interval.

    Args:
        positive: Which images are to be found: `out` foreign ones, `in` in-domain ones by their negated scores. It depends on
            how many there are of each, which the extras say.
    """

    def __init__(self, *, positive: Literal["out", "in"] = "out") -> None:
        self.positive = positive

    def compute(self, evidence: OODScores, ctx: Context) -> Value:
        """In [0, 1], higher is better."""
        inside, outside = evidence.inside.numpy(), evidence.outside.numpy()
        truth = np.r_[np.zeros(len(inside)), np.ones(len(outside))]
        scores = np.r_[inside, outside]
        if self.positive == "in":
            truth, scores = 1 - truth, -scores
        rng = ctx.rng("bootstrap")
        weights = np.concatenate([_resampled(len(part), rng) for part in (inside, outside)], 1)
        value = float(_average_precisions(truth, scores, np.ones((1, len(scores))))[0])
        low, high = np.quantile(_average_precisions(truth, scores, weights), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        # Resampling repeats images, which shifts average precision; and perfect scores stay perfect, which says nothing.
        ends = Interval(low=min(float(low), value), high=max(float(high), value), level=LEVEL, method="bootstrap over images")
        return Value(
            value=value,
            direction="higher",
            unit="AUPR",
            group=self.positive,
            interval=ends if ends.low < ends.high else None,
            extras={"images": [len(inside), len(outside)]},
        )


def _average_precisions(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(k,) average precisions for k rows of weights (k, n) of the same scores (n,): sorted once for all of them."""
    order = np.argsort(-scores, kind="stable")
    last = np.r_[np.diff(scores[order]) != 0, True]
    found = np.empty(len(weights))
    for start in range(0, len(weights), _AT_ONCE):
        part = weights[start : start + _AT_ONCE, order]
        hits, all_ = (np.cumsum(part * kind, 1)[:, last] for kind in (truth[order], 1))
        gained = np.diff(hits, axis=1, prepend=0)
        found[start : start + _AT_ONCE] = (gained * hits / np.maximum(all_, 1)).sum(1) / hits[:, -1]
    return found


def _resampled(count: int, rng: np.random.Generator) -> np.ndarray:
    """(resamples, count) how often each image was drawn."""
    return rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES).astype(np.float64)


class FprAtTpr(Metric):
    """Share of in-domain images that are flagged where at least `tpr` of the foreign ones are found.

    Args:
        tpr: Share of foreign images to be found; the threshold never finds less.
    """

    def __init__(self, *, tpr: Annotated[float, Field(gt=0, lt=1)] = 0.95) -> None:
        self.tpr = tpr

    def compute(self, evidence: OODScores, ctx: Context) -> Value:
        """In [0, 1], lower is better; the interval is that of a share at the threshold found."""
        inside, outside = evidence.inside.numpy(), evidence.outside.numpy()
        # The mirror of the true positive rate at a false positive rate: foreign images missed play the false alarms.
        kept, threshold, missed = tpr_at_fpr(-outside, -inside, round(1 - self.tpr, 12))
        flagged = len(inside) - round(kept * len(inside))
        low, high = clopper_pearson(flagged, len(inside), LEVEL)
        return Value(
            value=flagged / len(inside),
            direction="lower",
            unit="FPR",
            group=f"TPR {self.tpr:g}",
            interval=Interval(low=low, high=high, level=LEVEL, method="Clopper-Pearson"),
            extras={"threshold": float(-threshold) if np.isfinite(threshold) else None, "tpr": 1 - missed},
        )


class Evaluations(Metric):
    """Evaluations of the network that the score of one image costs, reconstructions included."""

    def compute(self, evidence: OODScores, ctx: Context) -> Value:
        """A count, lower is better."""
        return Value(value=evidence.evaluations, direction="lower", unit="evaluations / image")


class Seconds(Metric):
    """Seconds that the score of one image took on the machine that ran it, reconstructions included, in batches.

    A measurement of time: the one value of the suite that a rerun changes.
    """

    def compute(self, evidence: OODScores, ctx: Context) -> Value:
        """Lower is better."""
        return Value(value=evidence.seconds, direction="lower", unit="s / image")
