# SPDX-License-Identifier: Apache-2.0
"""Planar replicas while they learn: who succeeds, and how their cells change."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from lipbench.api import Context, Metric, NotApplicable, Value

from ..engine.network import ReluNet
from ..engine.plane import Plane, box, decompose
from ..metrics.pictures import drawn
from ..metrics.values import mean_value, share
from .planar import distinct, on_grid, pick, scalar_maps, unit_zeros, zero_loops, zero_segments
from .replicas import ReluClassifiers
from .task import Local

_FAR = 20.0
"""Half width, in those of the box, of the window in which closed curves are looked for."""

_SIDE = 401
"""Points along each side of the grid on which the source counts maps."""


def _learned(evidence: Local, who: str) -> ReluClassifiers:
    if evidence.replicas is None or evidence.nets[0].inputs != 2:
        raise NotApplicable(f"{who} reads relu_classifiers on planar data; leave it out here")
    return evidence.replicas


class ReplicaLearning(Metric):
    """How replicas learn, all of them and not only the one that succeeds.

    Args:
        of: `reached`, the share whose test accuracy was at `level` at some time; `first_batch`, the mean batch at which it
            first was, those that never were counted with all batches; `final` accuracy; `best` accuracy of all replicas;
            `stuck`, the share that ends below `low`.
        level: What counts as success; the source draws networks until one has 0.98.
        low: What counts as stuck; chance is 0.5.
    """

    def __init__(
        self,
        *,
        of: Literal["reached", "first_batch", "final", "best", "stuck"] = "reached",
        level: Annotated[float, Field(gt=0, le=1)] = 0.98,
        low: Annotated[float, Field(gt=0, le=1)] = 0.6,
    ) -> None:
        self.of, self.level, self.low = of, level, low

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """What `of` says.

        Raises:
            NotApplicable: Nothing was learned.
        """
        model = _learned(evidence, "replica_learning")
        curve, looks = model.curve.numpy(), model.looks.numpy()
        if not len(looks):
            raise NotApplicable("replica_learning needs batches: above 0; leave it out here")
        there = curve >= self.level
        if self.of == "reached":
            return share(np.asarray(there.any(axis=0)), unit="share of replicas", direction="higher")
        if self.of == "stuck":
            return share(np.asarray(curve[-1] < self.low), unit="share of replicas", direction="lower")
        if self.of == "best":
            return Value(value=float(curve.max()), direction="higher", unit="accuracy")
        if self.of == "first_batch":
            first = np.where(there.any(axis=0), looks[there.argmax(axis=0)], looks[-1])
            return mean_value(first, unit="batches", of="replicas", direction="lower", never=int((~there.any(axis=0)).sum()))
        thin = np.unique(np.geomspace(1, len(looks), 60).round().astype(int)) - 1
        quartiles = np.quantile(curve[thin], [0.25, 0.5, 0.75], axis=1).T
        extras = {"looks": looks[thin].tolist(), "quartiles": [[round(float(v), 4) for v in row] for row in quartiles]}
        return mean_value(
            curve[-1],
            unit="accuracy",
            of="replicas",
            direction="higher",
            ends=[round(float(v), 4) for v in curve[-1]],
            **extras,
        )


class RegionEvolution(Metric):
    """Cells of replicas in the box of the data at all kept moments; the value is the mean at the last one.

    Args:
        of: `exact` cells; `distinct` maps of the second output less the first among them; `published`, what the source counts:
            such maps on a 401 x 401 grid, rounded to two decimals; `grid`, the cells that this grid hits; `loops`, the share
            of replicas whose decision boundary has a closed curve in a window of 20 times the box.
        replica: Which one the pictures of `exact` show; null for the first with the best accuracy at the end.
    """

    def __init__(
        self,
        *,
        of: Literal["exact", "distinct", "published", "grid", "loops"] = "exact",
        replica: Annotated[int, Field(ge=0)] | None = None,
    ) -> None:
        self.of, self.replica = of, replica

    def compute(self, evidence: Local, ctx: Context) -> Value:
        """What `of` says at the last moment; the extras have the means of all moments."""
        model = _learned(evidence, "region_evolution")
        past = evidence.once("past", model.past)
        if self.of == "loops":
            return share(np.array([count > 0 for count in _loops(evidence, past[-1][1])]), unit="share of replicas")
        counts = np.array([_counted(evidence, batch, nets, self.of) for batch, nets in past])
        extras: dict[str, Any] = {"batches": [b for b, _ in past], "means": counts.mean(axis=1).tolist()}
        if self.of == "exact":
            extras["frames"] = self._frames(evidence, model, past)
        return mean_value(counts[-1], unit="cells" if self.of in ("exact", "grid") else "maps", of="replicas", **extras)

    def _frames(self, evidence: Local, model: ReluClassifiers, past: Any) -> list[dict[str, Any]]:
        best = int(model.curve[-1].argmax()) if len(model.curve) else 0
        who = best if self.replica is None else min(self.replica, model.replicas - 1)
        found = []
        x, y = evidence.raw_test, evidence.test_labels.numpy()
        for batch, nets in past:
            low, high = evidence.spec.low, evidence.spec.high
            window = box([low, low], [high, high])
            plane = decompose([nets[who]], window)
            right = float((nets[who](x).argmax(axis=1) == y).mean())
            layers = [
                [[float(f"{v:.4g}") for v in segment.ravel()] for unit in units for segment in unit]
                for units in unit_zeros(nets[who], window)
            ]
            found.append({"batch": batch, "accuracy": right, "layers": layers, **drawn(plane, pick(nets[who]))})
        return found


def _plane(evidence: Local, batch: int, nets: tuple[ReluNet, ...]) -> Plane:
    low, high = evidence.spec.low, evidence.spec.high
    found: Plane = evidence.once(("plane", batch), lambda: decompose(nets, box([low, low], [high, high])))
    return found


def _counted(evidence: Local, batch: int, nets: tuple[ReluNet, ...], of: str) -> list[int]:
    plane = _plane(evidence, batch, nets)
    if of == "exact":
        return [int(c) for c in plane.counts(len(nets))]
    maps = scalar_maps(plane, pick(nets[0]))
    if of == "distinct":
        return [distinct(maps[plane.net == r], 9) for r in range(len(nets))]
    line = np.linspace(evidence.spec.low, evidence.spec.high, _SIDE)
    hit = evidence.once(("grid", batch), lambda: on_grid(plane, nets, line))
    seen = [maps[hit & (plane.net == r)] for r in range(len(nets))]
    return [len(rows) if of == "grid" else distinct(rows, 2) for rows in seen]


def _loops(evidence: Local, nets: tuple[ReluNet, ...]) -> list[int]:
    middle, reach = (evidence.spec.low + evidence.spec.high) / 2, _FAR * (evidence.spec.high - evidence.spec.low) / 2
    found = []
    for net in nets:
        plane = decompose([net], box([middle - reach] * 2, [middle + reach] * 2))
        found.append(zero_loops(zero_segments(plane.polygons(), scalar_maps(plane, pick(net))), 2 * reach))
    return found
