# SPDX-License-Identifier: Apache-2.0
"""How well adversarial images are told from originals: mapped, natively, and the gap between."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from lipbench_basics.statistics import clopper_pearson, delong, delong_difference, tpr_at_fpr
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Interval, InvalidInput, Metric, Value

from ..evidence import MappedEmbeddings, Scores

LEVEL = 0.95
_BINS = 16
_RESAMPLES = 500


def auroc_value(
    negatives: Tensor,
    positives: Tensor,
    *,
    direction: Literal["higher", "none"] = "higher",
    paired: bool = True,
    **extras: Any,
) -> Value:
    """AUROC of scores with its DeLong interval; `paired` where row i of both is the same image."""
    value, low, high, variance = delong(negatives.numpy(), positives.numpy(), LEVEL, paired=paired)
    return Value(
        value=value,
        direction=direction,
        unit="AUROC",
        interval=Interval(low=low, high=high, level=LEVEL, method="DeLong, images as clusters" if paired else "DeLong"),
        extras={"images": len(positives), "standard_error": float(np.sqrt(variance)), **extras},
    )


class Auroc(Metric):
    """AUROC of the target's detector on mapped features: adversarial images against originals of the same val part.

    The interval is DeLong's, with the two copies of an image as one cluster. The extras have histograms of the scores,
    mapped and native, for originals, noise and adversarial images. Costs no forward.

    Source: Jamil et al. 2023, Tables 3, 5 and 6; E. DeLong et al., Biometrics 1988; N. Obuchowski, Biometrics 1997.
    """

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1], higher is better."""
        histograms = {"mapped": _histogram(evidence.mapped), "native": _histogram(evidence.native_target)}
        return auroc_value(
            evidence.negatives, evidence.mapped.adversarial, native=evidence.native, histograms=histograms,
            rows=evidence.rows, columns=evidence.columns, live=evidence.live,
        )  # fmt: skip


def _histogram(scores: Scores) -> dict[str, list[float]]:
    """Shares over common bins that hold the central 99 % of all scores; the tails go into the outer bins."""
    kinds = {kind: getattr(scores, kind).numpy() for kind in ("clean", "noise", "adversarial")}
    low, high = np.quantile(np.concatenate(list(kinds.values())), [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    found = {"edges": [float(f"{edge:.6g}") for edge in edges]}
    for kind, values in kinds.items():
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        found[kind] = (counts / len(values)).round(5).tolist()
    return found


class NativeAuroc(Metric):
    """AUROC of a network's own detector on its own features, where nothing is mapped.

    Args:
        of: `source` or `target`.

    Source: Jamil et al. 2023, Table 3, diagonal.
    """

    def __init__(self, *, of: Literal["source", "target"]) -> None:
        self.of = of

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1], higher is better."""
        scores = evidence.native_source if self.of == "source" else evidence.native_target
        return auroc_value(scores.clean, scores.adversarial)


class TransferGap(Metric):
    """AUROC through the map less that of the source's own detector, on the same images; 0 is a map that loses nothing.

    The comparison is with the source because the mapped detector is a linear score of the source's features and can see no
    more than they hold. The interval is that of the paired difference by DeLong.
    """

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """Difference of AUROCs, higher is better."""
        own = evidence.native_source
        value, low, high, variance = delong_difference(
            evidence.negatives.numpy(), evidence.mapped.adversarial.numpy(), own.clean.numpy(), own.adversarial.numpy(),
            LEVEL, paired=True,
        )  # fmt: skip
        return Value(
            value=value,
            direction="higher",
            unit="AUROC",
            group="difference",
            interval=Interval(low=low, high=high, level=LEVEL, method="DeLong, paired difference"),
            extras={"standard_error": float(np.sqrt(variance))},
        )


class TprAtFpr(Metric):
    """Share of adversarial images that are found when at most `fpr` of the originals are flagged.

    Args:
        fpr: Largest share of flagged originals; the threshold never exceeds it.
    """

    def __init__(self, *, fpr: Annotated[float, Field(gt=0, lt=1)] = 0.05) -> None:
        self.fpr = fpr

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1], higher is better; the interval is a bootstrap over images, the threshold found anew in each."""
        negatives, positives = evidence.negatives.numpy(), evidence.mapped.adversarial.numpy()
        tpr, threshold, achieved = tpr_at_fpr(negatives, positives, self.fpr)
        # Both copies of an image are drawn together.
        draws = ctx.rng("bootstrap").integers(len(positives), size=(_RESAMPLES, len(positives)))
        found = [tpr_at_fpr(negatives[rows], positives[rows], self.fpr)[0] for rows in draws]
        low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Value(
            value=tpr,
            direction="higher",
            unit="TPR",
            group=f"FPR {self.fpr:g}",
            interval=Interval(
                low=min(float(low), tpr), high=max(float(high), tpr), level=LEVEL, method="bootstrap over images"
            ),
            extras={"threshold": threshold if np.isfinite(threshold) else None, "fpr": achieved},
        )


class SvmAccuracy(Metric):
    """Share of originals and adversarial images on the right side of the detector's own threshold.

    Source: Jamil et al. 2023, section 5.1.
    """

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1], higher is better."""
        right = int((evidence.negatives <= 0).sum() + (evidence.mapped.adversarial > 0).sum())
        total = len(evidence.negatives) + len(evidence.mapped.adversarial)
        own = evidence.native_target
        native = float(((own.clean <= 0).double().mean() + (own.adversarial > 0).double().mean()) / 2)
        return Value(
            value=right / total, direction="higher", unit="accuracy", interval=_proportion(right, total),
            extras={"native_target": native},
        )  # fmt: skip


class DirectAuroc(Metric):
    """AUROC of a detector trained on the source's features of the very rows that the map was fitted on.

    The map needs adversarial images of the source; this is what they give without a map.
    """

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1], higher is better."""
        return auroc_value(evidence.direct.clean, evidence.direct.adversarial)


def _proportion(right: int, total: int) -> Interval:
    if total < 1:
        raise InvalidInput("there is no image to count")
    low, high = clopper_pearson(right, total, LEVEL)
    return Interval(low=low, high=high, level=LEVEL, method="Clopper-Pearson")
