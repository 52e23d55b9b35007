# SPDX-License-Identifier: Apache-2.0
"""What tests of the task share: evidence of stages that a test has changed, and comparisons of scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from linear_map_cases import CTX, KINDS, roles
from lipbench_linear_map.evidence import MappedEmbeddings, Scores
from lipbench_linear_map.maps import Affine, OLSAffine
from lipbench_linear_map.task import LinearMapDetection
from sklearn.metrics import roc_auc_score
from torch import Tensor

from lipbench.api import Context

Stages = Mapping[str, Mapping[str, Tensor]]


class Spy(OLSAffine):
    """Least squares that remembers what it was fitted on."""

    def __init__(self) -> None:
        super().__init__()
        self.x: list[Tensor] = []
        self.y: list[Tensor] = []

    def fit(self, x: Tensor, factor: Mapping[str, Tensor], y: Tensor, ctx: Context) -> Affine:
        self.x.append(x)
        self.y.append(y)
        return super().fit(x, factor, y, ctx)


def evidence(stages: Stages, params: Mapping[str, Any] | None = None, **changes: Any) -> MappedEmbeddings:
    """Evidence from stages that a test may have changed."""
    return LinearMapDetection(**(params or {})).evidence(**roles(**changes), **stages, ctx=CTX)


def again(views: Mapping[str, Tensor], target_views: Mapping[str, Tensor], **changes: Any) -> MappedEmbeddings:
    """Evidence anew from changed views, every stage behind them too."""
    task, filled = LinearMapDetection(), roles(**changes)
    feature = filled["feature"]
    stages = {
        "source_views": views,
        "target_views": target_views,
        "source_detector": task.detector(views, feature, CTX),
        "target_detector": task.detector(target_views, feature, CTX),
        "factor": filled["map"].factorise(task._fit_rows(views, feature)),
    }
    return evidence(stages, **filled)


def auroc(scores: Scores) -> float:
    truth = np.repeat([0, 1], [len(scores.clean), len(scores.adversarial)])
    return float(roc_auc_score(truth, torch.cat([scores.clean, scores.adversarial]).numpy()))


def same(one: Scores, other: Scores, tolerance: float = 0.0) -> None:
    for kind in KINDS:
        torch.testing.assert_close(getattr(one, kind), getattr(other, kind), rtol=tolerance, atol=tolerance)
