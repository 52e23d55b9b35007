# SPDX-License-Identifier: Apache-2.0
"""How well the map predicts the target's features."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from lipbench_basics.statistics import clopper_pearson, r2

from lipbench.api import Context, Interval, Metric, NotApplicable, Value

from ..evidence import MappedEmbeddings

LEVEL = 0.95
_RESAMPLES = 1000


class MapMse(Metric):
    """Squared error of the mapped adversarial features of the val part.

    Args:
        per: `element` averages over images and features, the size that the source prints; `vector` sums over features.

    Source: Jamil et al. 2023, Tables 2 and 4. Errors in spaces of different targets cannot be compared.
    """

    def __init__(self, *, per: Literal["element", "vector"] = "element") -> None:
        self.per = per

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """Lower is better; the interval is the normal one of a mean over images."""
        found = evidence.predicted("map_mse")
        errors = (found.adversarial - found.true_adversarial).square().sum(1).numpy()
        width = found.true_adversarial.shape[1]
        scale = width if self.per == "element" else 1
        half = 1.959964 * errors.std(ddof=1) / np.sqrt(len(errors)) if len(errors) > 1 else 0.0
        mean = float(errors.mean())
        return Value(
            value=mean / scale,
            direction="lower",
            unit="target unit²" if self.per == "element" else "target unit² a vector",
            interval=Interval(
                low=max(0.0, mean - half) / scale, high=(mean + half) / scale, level=LEVEL, method="normal, over images"
            ),
            extras={"width": width},
        )


class R2(Metric):
    """Share of the variance of the target's features that the map predicts, originals and adversarial images of the val part.

    1 - SSE / SST over all features together; negative where the mean of the val part would predict better.
    """

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """At most 1, higher is better; the interval is a bootstrap over images."""
        found = evidence.predicted("r2")
        truth, guess = torch.cat([found.true_clean, found.true_adversarial]), torch.cat([found.clean, found.adversarial])
        value = r2(truth, guess)
        wrong, spread = (guess - truth).square().sum(1), (truth - truth.mean(0)).square().sum(1)
        # Both copies of an image are drawn together.
        sse, sst = (t.reshape(2, -1).sum(0).numpy() for t in (wrong, spread))
        draws = ctx.rng("bootstrap").multinomial(len(sse), np.full(len(sse), 1 / len(sse)), size=_RESAMPLES)
        ratios = 1 - (draws @ sse) / (draws @ sst)
        low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Value(
            value=value,
            direction="higher",
            unit="R2",
            interval=Interval(low=float(low), high=float(high), level=LEVEL, method="bootstrap over images"),
        )


class HeadAccuracy(Metric):
    """Accuracy of the target's last layer on mapped adversarial embeddings.

    To be read beside the accuracies of target and source on their own adversarial images, which the extras have: what is
    close to the source's follows the source. More is not better.

    Source: Jamil et al. 2023, Table 7.
    """

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1], without a direction."""
        found = evidence.predicted("head_accuracy")
        if found.head is None:
            raise NotApplicable("head_accuracy needs feature: embedding, which is what the last layer reads; leave it out here")
        labels = evidence.target.labels
        right = int((found.head(found.adversarial).argmax(1) == labels).sum())
        low, high = clopper_pearson(right, len(labels), LEVEL)
        return Value(
            value=right / len(labels),
            direction="none",
            unit="accuracy",
            interval=Interval(low=low, high=high, level=LEVEL, method="Clopper-Pearson"),
            extras={
                "target_adversarial": _share(evidence.target.guess_adversarial == labels),
                "source_adversarial": _share(evidence.source.guess_adversarial == labels),
                "target_clean": _share(evidence.target.guess_clean == labels),
                "source_clean": _share(evidence.source.guess_clean == labels),
            },
        )


class RowsPerColumn(Metric):
    """Rows that the map was fitted on for each column of the source's features.

    Near 1 least squares without regularisation blows up: noise is inflated by 1 + p / (n - p - 1), where p counts the columns
    that vary, `live` in the extras.
    """

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """A ratio, without a direction."""
        extras = {"rows": evidence.rows, "columns": evidence.columns, "live": evidence.live}
        return Value(value=evidence.rows / evidence.columns, direction="none", unit="rows / column", extras=extras)


def _share(right: torch.Tensor) -> float:
    return float(right.double().mean())
