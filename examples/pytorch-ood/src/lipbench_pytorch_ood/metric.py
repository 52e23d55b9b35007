# SPDX-License-Identifier: Apache-2.0
"""What is measured of the scores."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from lipbench.api import Context, InvalidInput, Metric, NotFinite, Value
from lipbench_pytorch_ood.task import Scores


class Auroc(Metric):
    """Chance that a row of other data scores above one of the network's own, ties half."""

    def compute(self, evidence: Scores, ctx: Context) -> Value:
        """From 0 to 1; 0.5 is a guess."""
        if not len(evidence.inside) or not len(evidence.outside):
            raise InvalidInput("pytorch_ood_auroc: there are no scores of one of the two datasets")
        scores = np.concatenate([evidence.inside, evidence.outside])
        if not np.isfinite(scores).all():
            raise NotFinite("pytorch_ood_auroc: a score is NaN or infinite")
        labels = np.repeat([0, 1], [len(evidence.inside), len(evidence.outside)])
        return Value(value=float(roc_auc_score(labels, scores)), direction="higher", unit="1", group="AUROC")
