# SPDX-License-Identifier: Apache-2.0
"""What bits and facets say around data points."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from lipbench_basics.statistics import delong
from pydantic import Field

from lipbench.api import Context, Interval, Metric, NotApplicable, Value

from ..engine.facets import active_bits
from ..engine.neighbours import Nearest, nearest_euclid, nearest_hamming
from ..engine.network import ReluNet
from ..engine.programs import for_each
from ..task import Geometry
from .values import LEVEL, mean_value, share

By = Literal["hamming", "euclid", "penultimate", "cosine", "logits"]


class ActiveBits(Metric):
    """Units that carry a facet of the cell of a point, the mean over points.

    Args:
        count: Points.
        per: `cell` the number, `unit` its share of all units.
    """

    def __init__(self, *, count: Annotated[int, Field(ge=1)] = 4, per: Literal["cell", "unit"] = "cell") -> None:
        self.count, self.per = count, per

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over points; the mean of each layer and the rank of all rows in the extras."""
        net = evidence.net("active_bits")

        def look() -> list[tuple[np.ndarray, int, int]]:
            def one(item: tuple[int, np.random.Generator]) -> tuple[np.ndarray, int, int]:
                cell = active_bits(net, evidence.x[item[0]], item[1])
                ctx.report(f"point {item[0] + 1} of {points} is done")
                return cell.active, cell.rank, cell.programs

            points = min(self.count, len(evidence.x))
            return for_each(one, [(i, evidence.rng(f"rays {i}")) for i in range(points)])

        looked = evidence.once(("active", self.count), look)
        active = np.array([a for a, _, _ in looked])
        layers = [float(part.sum(axis=1).mean()) for part in np.split(active, np.cumsum(net.widths)[:-1], axis=1)]
        return mean_value(
            active.sum(axis=1) / (net.units if self.per == "unit" else 1),
            unit="active bits" if self.per == "cell" else "share of units",
            of="points",
            layers=layers,
            widths=list(net.widths),
            rank=looked[0][1],
            inputs=net.inputs,
            programs=int(sum(p for _, _, p in looked)),
        )


class NearestAgreement(Metric):
    """Share of points whose nearest neighbour has their class.

    The bits are those of a network that learned these classes, so on training points the share restates its fit. The last
    hidden layer, and the bits of an untrained network, are the controls.

    Args:
        by: `hamming` distance of bit vectors, `euclid` of inputs, of the `penultimate` layer, or of the `logits`, or the `cosine`
            of the penultimate layer.
        among: `split`: the other points of the split; `train`: the training split.
        count: What is counted: points that `agree`, or points with several nearest neighbours, `ties`; of these the first
            counts.

    Source: Liu et al. 2023, Table 3; it does not say among which points, its figures fit `split`.
    """

    def __init__(
        self, *, by: By = "hamming", among: Literal["split", "train"] = "split", count: Literal["agree", "ties"] = "agree"
    ) -> None:
        self.by, self.among, self.count = by, among, count

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """In [0, 1], higher is better for `agree`."""
        y = evidence.labels("nearest_agreement")
        net = evidence.net("nearest_agreement")
        x, labels = evidence.x, y
        same = self.among == "split" or evidence.split == "train"
        if not same:
            x, given = evidence.other()
            if given is None:
                raise NotApplicable("nearest_agreement needs classes on the training split; leave it out here")
            labels = given
        found: Nearest = evidence.once((self.by, self.among), lambda: _nearest(self.by, net, evidence.x, x, same, ctx.device))
        ties = float(found.tied.mean())
        if self.count == "ties":
            return share(found.tied, unit="share", direction="lower")
        return share(labels[found.index] == y, unit="share of the same class", direction="higher", ties=ties)


def _nearest(by: By, net: ReluNet, queries: np.ndarray, references: np.ndarray, same: bool, device: str) -> Nearest:
    if by == "hamming":
        return nearest_hamming(net.bits(queries), net.bits(references), same=same, device=device)
    if by == "euclid":
        return nearest_euclid(queries, references, same=same, device=device)
    last = net if by == "logits" else net.without_output()
    q, r = (last(x) for x in (queries, references))
    if by == "cosine":  # of rows of norm 1 the nearest by Euclid is the one with the largest cosine
        q, r = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), np.finfo(np.float64).tiny) for v in (q, r))
    return nearest_euclid(q, r, same=same, device=device)


class ClassDistances(Metric):
    """Mean squared distance of two points of one class against that of two points of different classes.

    Of bit vectors the squared distance is the Hamming distance. Below 1 classes lie apart, and 1 says that the distance knows
    nothing of them.

    Args:
        by: The `hamming` distance of bit vectors, or the squared distance of `inputs`.
    """

    def __init__(self, *, by: Literal["hamming", "inputs"] = "hamming") -> None:
        self.by = by

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """A ratio, lower is better; the mean of each pair of classes in the extras."""
        y, net = evidence.labels("class_distances"), evidence.net("class_distances")
        x = net.bits(evidence.x).astype(np.float64) if self.by == "hamming" else evidence.x
        classes, place = np.unique(y, return_inverse=True)
        counts = np.bincount(place)
        if len(classes) < 2 or int(counts.min()) < 2:
            raise NotApplicable("class_distances needs two classes, and two points of each; use more points")
        sums = np.zeros((len(classes), x.shape[1]))
        np.add.at(sums, place, x)
        squares = np.bincount(place, weights=(x * x).sum(axis=1)) / counts
        mean = sums / counts[:, None]
        between = squares[:, None] + squares[None] - 2 * mean @ mean.T
        # No point is paired with itself.
        matrix = np.where(np.eye(len(classes), dtype=bool), between * (counts / (counts - 1))[:, None], between)
        pairs = counts[:, None] * (counts[None] - np.eye(len(classes)))
        own = np.eye(len(classes), dtype=bool)
        within, apart = (float((matrix * pairs)[part].sum() / pairs[part].sum()) for part in (own, ~own))
        if apart <= 0:
            raise NotApplicable("all points are one point to this distance; leave it out here")
        extras = {
            "classes": [int(c) for c in classes],
            "matrix": [[float(f"{v:.5g}") for v in row] for row in matrix],
            "within": within,
            "between": apart,
        }
        return Value(value=within / apart, direction="lower", unit="ratio", extras=extras)


class NetworkAccuracy(Metric):
    """Accuracy of the network itself on the points."""

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """In [0, 1], higher is better."""
        y = evidence.labels("network_accuracy")
        net = evidence.net("network_accuracy")
        return share(net(evidence.x).argmax(axis=1) == y, unit="accuracy", direction="higher")


class ProbeDistance(Metric):
    """Hamming distance between a point and another one at a fixed Euclidean distance in a random direction.

    Args:
        radius: That distance, in units of the data; the other point is not clipped to the box.

    Source: Liu et al. 2023, Table 4; the law of the direction is not stated there, here it is uniform.
    """

    def __init__(self, *, radius: Annotated[float, Field(gt=0)] = 0.5) -> None:
        self.radius = radius

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over points."""
        found = _probe(evidence.net("probe_distance"), evidence.x, self.radius, ctx)
        return mean_value(found, unit="bits", of="points", units=evidence.net("").units)


class ProbeAuroc(Metric):
    """The same distance as a detector: attacked points against the clean ones that they were made from.

    Both are probed in the same directions. 0.5 is no detection; below, attacked points cross fewer units.

    Args:
        radius: See `probe_distance`.
    """

    def __init__(self, *, radius: Annotated[float, Field(gt=0)] = 0.5) -> None:
        self.radius = radius

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """AUROC with DeLong's interval."""
        net = evidence.net("probe_auroc")
        return paired_auroc(
            evidence, _probe(net, evidence.clean, self.radius, ctx), _probe(net, evidence.x, self.radius, ctx), "probe_auroc"
        )


def _probe(net: ReluNet, x: np.ndarray, radius: float, ctx: Context) -> np.ndarray:
    u = ctx.rng("directions").standard_normal(x.shape)
    u *= radius / np.linalg.norm(u, axis=1, keepdims=True)
    found: np.ndarray = (net.bits(x) != net.bits(x + u)).sum(axis=1)
    return found


def paired_auroc(evidence: Geometry, clean: np.ndarray, moved: np.ndarray, who: str) -> Value:
    """How well a number tells attacked points from clean ones.

    Raises:
        NotApplicable: There is no attack.
    """
    if not evidence.attacked:
        raise NotApplicable(f"{who} compares attacked points with clean ones; use an attack, or leave it out here")
    value, low, high, _ = delong(clean, moved, LEVEL, paired=True)
    return Value(
        value=value,
        direction="none",
        unit="AUROC",
        interval=Interval(low=low, high=high, level=LEVEL, method="DeLong, pairs"),
        extras={"count": len(clean), "clean_mean": float(clean.mean()), "attacked_mean": float(moved.mean())},
    )
