# SPDX-License-Identifier: Apache-2.0
"""Local maps replaced by the centres of their clusters, with the controls that say what that means."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Metric, Value

from ..metrics.values import share
from .rows import applied, classes
from .task import Local, Maps

Assign = Literal["row", "input"]
Rows = Literal["raw", "scaled", "unbiased"]
STARTS = 4
"""Of k-means, where nothing else is said."""


def right(outputs: Tensor, labels: Tensor) -> np.ndarray:
    """(N, o) outputs and (N,) classes: (N,) bool."""
    found: np.ndarray = (classes(outputs) == labels).numpy()
    return found


class OriginalAccuracy(Metric):
    """Accuracy of the network itself on the test split."""

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """A share with its interval."""
        maps = evidence.own("original_accuracy")
        return share(right(maps.test_outputs, evidence.test_labels), unit="accuracy", direction="higher")


class ReconstructionError(Metric):
    """Largest difference between the outputs and [w; b] . [z; 1], relative to the largest output.

    By the definition of b it is 0 but for rounding, so it says nothing of w.
    """

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """A relative error."""
        maps = evidence.own("reconstruction_error")
        worst = (applied(maps.test, evidence.test) - maps.test_outputs).abs().max() / maps.test_outputs.abs().max()
        return Value(value=float(worst), direction="none", unit="relative error")


class ClusteredOutputs(Metric):
    """Each output's local maps replaced by the nearest of k centres, found by k-means on the rows of the training points.

    Args:
        k: Centres for each output; fewer where there are fewer distinct rows or a centre has none.
        of: `accuracy`; `fidelity`, the share of test points with the same class as the network itself; `inertia` on the
            training rows; `parameters`, the numbers in all centres.
        assign: How a test point finds its centre: by its own `row`, which needs the whole network, or by that of the nearest
            training `input`, which needs none of it.
        rows: `raw` as the source has them; `scaled`, each column by its deviation; `unbiased`, distances on w alone.
        starts: Of k-means, of which the one with the least inertia counts.

    Source: Sattelberg et al. 2023, section 2.4.1.
    """

    def __init__(
        self,
        *,
        k: Annotated[int, Field(ge=1)] = 10,
        of: Literal["accuracy", "fidelity", "inertia", "parameters"] = "accuracy",
        assign: Assign = "row",
        rows: Rows = "raw",
        starts: Annotated[int, Field(ge=1)] = STARTS,
    ) -> None:
        self.k, self.of, self.assign, self.rows, self.starts = k, of, assign, rows, starts

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """What `of` says."""
        maps = evidence.own("clustered_outputs")
        outputs, inertia, centres = clustered(evidence, maps, k=self.k, assign=self.assign, rows=self.rows, starts=self.starts)
        if self.of == "inertia":
            return Value(value=inertia, direction="lower", unit="squared distance", group=f"inertia {self.rows}")
        if self.of == "parameters":
            return Value(value=float(centres * maps.train.shape[2]), direction="none", unit="numbers")
        wanted = evidence.test_labels if self.of == "accuracy" else classes(maps.test_outputs)
        return share(right(outputs, wanted), unit=self.of, direction="higher", centres=centres)


def clustered(evidence: Local, maps: Maps, *, k: int, assign: Assign, rows: Rows, starts: int) -> tuple[Tensor, float, int]:
    """Outputs (M, o) at the test points by the centres, the inertia and the number of centres, summed over outputs.

    Args are those of `ClusteredOutputs`; metrics of one job share what is found.
    """
    found: tuple[Tensor, float, int] = evidence.once(
        ("clustered", k, assign, rows, starts), lambda: _clustered(evidence, maps, k, assign, rows, starts)
    )
    return found


def _clustered(evidence: Local, maps: Maps, k: int, assign: Assign, kind: Rows, starts: int) -> tuple[Tensor, float, int]:
    near = _nearest(evidence) if assign == "input" else None
    clusters = evidence.once(
        ("kmeans", k, kind, starts),
        lambda: [
            kmeans(_space(rows, kind), k, evidence.rng(f"kmeans {k} of output {j}"), starts)
            for j, rows in enumerate(maps.train.numpy())
        ],
    )
    found, inertia, centres = [], 0.0, 0
    for train, test, (labels, middles, own) in zip(maps.train.numpy(), maps.test.numpy(), clusters, strict=True):
        # Centres as maps: the mean of the members' whole rows.
        sums = np.stack([np.bincount(labels, weights=c) for c in train.T], axis=1)
        means = sums / np.bincount(labels)[:, None]
        chosen = labels[near] if near is not None else _closest(_space(test, kind, train), middles)
        found.append((means[chosen, :-1] * evidence.test.numpy()).sum(1) + means[chosen, -1])
        inertia, centres = inertia + own, centres + len(middles)
    return torch.from_numpy(np.stack(found, axis=1)), inertia, centres


def _space(rows: np.ndarray, kind: str, fit: np.ndarray | None = None) -> np.ndarray:
    if kind == "unbiased":
        return np.ascontiguousarray(rows[:, :-1])
    if kind == "scaled":
        spread = (rows if fit is None else fit).std(axis=0)
        return rows / np.where(spread > 0, spread, 1.0)
    return rows


def kmeans(rows: np.ndarray, k: int, rng: np.random.Generator, starts: int = STARTS) -> tuple[np.ndarray, np.ndarray, float]:
    """The best of several runs of Lloyd's algorithm from k-means++ starts, with no more centres than distinct rows.

    Args:
        rows: (N, d). Above 10,000 of them the runs are in mini-batches, and the best start alone is run.
        k: Centres.
        rng: Gives the seed.
        starts: Runs.

    Returns:
        Labels (N,), centres (k, d), each of at least one row, and the inertia, the least of the runs.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    k = min(k, len(np.unique(rows, axis=0)))
    if k == 1:
        middle = rows.mean(axis=0, keepdims=True)
        return np.zeros(len(rows), dtype=np.int64), middle, float(((rows - middle) ** 2).sum())
    seed = int(rng.integers(2**31))
    if len(rows) > 10_000:
        model: Any = MiniBatchKMeans(n_clusters=k, init_size=max(300, 3 * k), n_init=starts, random_state=seed)
    else:
        model = KMeans(n_clusters=k, n_init=starts, max_iter=100, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = model.fit_predict(rows)
    # Mini-batches may leave centres that no row is nearest to.
    used, labels = np.unique(labels, return_inverse=True)
    return labels.astype(np.int64), model.cluster_centers_[used], float(model.inertia_)


def _closest(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    from sklearn.metrics import pairwise_distances_argmin

    found: np.ndarray = pairwise_distances_argmin(rows, centres)
    return found


def _nearest(evidence: Local) -> np.ndarray:
    found: np.ndarray = evidence.once("nearest", lambda: _closest(evidence.test.numpy(), evidence.train.numpy()))
    return found


class PlainControl(Metric):
    """Classifiers that know nothing of the network: what the task gives to anybody.

    Args:
        kind: `logistic` regression; or `pieces`: k-means on the inputs, and in each cluster a ridge regression to the one-hot
            class.
        k: Clusters of `pieces`.
    """

    def __init__(self, *, kind: Literal["logistic", "pieces"] = "logistic", k: Annotated[int, Field(ge=1)] = 10) -> None:
        self.kind, self.k = kind, k

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """Accuracy on the test split."""
        x, y, xt = evidence.train.numpy(), evidence.train_labels.numpy(), evidence.test.numpy()
        if self.kind == "logistic":
            from sklearn.linear_model import LogisticRegression

            guesses = LogisticRegression(max_iter=2000).fit(x, y).predict(xt)
        else:
            labels, centres, _ = kmeans(x, self.k, evidence.rng("pieces"))
            own, goal = _closest(xt, centres), np.eye(int(y.max()) + 1)[y]
            guesses = np.zeros(len(xt), dtype=np.int64)
            for c in range(len(centres)):
                here = np.column_stack([x[labels == c], np.ones((labels == c).sum())])
                weights = np.linalg.solve(here.T @ here + np.eye(here.shape[1]), here.T @ goal[labels == c])
                guesses[own == c] = (np.column_stack([xt, np.ones(len(xt))])[own == c] @ weights).argmax(axis=1)
        return share(guesses == evidence.test_labels.numpy(), unit="accuracy", direction="higher")
