# SPDX-License-Identifier: Apache-2.0
"""Scores of logits, higher is stranger."""

import torch


class _OfLogits:
    def __init__(self, model):
        self.model = model

    def predict(self, x):
        return self.score(self.model(x))


class EnergyBased(_OfLogits):
    """Liu et al., 2020, with temperature 1."""

    def score(self, logits):
        return -torch.logsumexp(logits, dim=1)


class MaxSoftmax(_OfLogits):
    """Hendrycks and Gimpel, 2017."""

    def score(self, logits):
        return -logits.softmax(dim=1).amax(dim=1)
