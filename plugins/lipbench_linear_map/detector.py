# SPDX-License-Identifier: Apache-2.0
"""The detector of adversarial inputs: a linear support vector machine on standardised features."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lipbench.api import InvalidInput, NotFinite

from .maps import Affine

_MOST_STEPS = 20_000


def train_detector(
    clean: Tensor, adversarial: Tensor, *, C: float = 1.0, seed: int = 0, log: Callable[[str], None] | None = None
) -> Affine:
    """Standardise, fit a linear SVM with the squared hinge loss, and fold both into one affine score.

    Constant columns are only centred. Solved in the primal where there are at least as many rows as columns, else in the dual.

    Args:
        clean: (n, d) features of originals.
        adversarial: (m, d) features of adversarial inputs.
        C: Inverse regularisation.
        seed: Seed of the order in which the dual solver visits rows; the primal solver draws nothing.
        log: Told when the solver stopped at its limit of 20,000 steps; what it found by then is used.

    Returns:
        A map from d columns to one score, larger is more adversarial: what `decision_function` of scikit-learn's
        `StandardScaler` and `LinearSVC` gives.

    Raises:
        InvalidInput: One of the two has no rows, or their widths differ.
        NotFinite: A feature is NaN or infinite.

    Source: M. Gorbett and N. Blanchard, WACV 2022; H. Jamil et al., Front. Comput. Sci. 5:1274832, 2023, section 4.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    if clean.ndim != 2 or adversarial.ndim != 2 or clean.shape[1] != adversarial.shape[1]:
        raise InvalidInput(
            f"a detector needs rows of one width, found {tuple(clean.shape)} clean and {tuple(adversarial.shape)} adversarial"
        )
    if not len(clean) or not len(adversarial):
        raise InvalidInput(f"a detector needs rows of both kinds, found {len(clean)} clean and {len(adversarial)} adversarial")
    x = torch.cat([clean, adversarial]).detach().double().numpy()
    if not np.isfinite(x).all():
        raise NotFinite("a feature that the detector should learn from is NaN or infinite")
    y = np.repeat([0, 1], [len(clean), len(adversarial)])
    scaler = StandardScaler()
    svm = LinearSVC(C=C, loss="squared_hinge", dual=len(x) < x.shape[1], max_iter=_MOST_STEPS, random_state=seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        svm.fit(scaler.fit_transform(x), y)
    if log is not None and any(issubclass(w.category, ConvergenceWarning) for w in caught):
        log(f"the detector did not converge in {_MOST_STEPS} steps; what it found by then is used")
    weight = svm.coef_[0] / scaler.scale_
    bias = svm.intercept_[0] - scaler.mean_ @ weight
    return Affine(weight=torch.from_numpy(weight)[:, None].contiguous(), bias=torch.tensor([bias], dtype=torch.float64))
