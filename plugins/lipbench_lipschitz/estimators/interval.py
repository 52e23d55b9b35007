# SPDX-License-Identifier: Apache-2.0
"""Upper bounds on a box or on balls: interval arithmetic on pre-activations, slopes and the Jacobian."""

from __future__ import annotations

import torch

from lipbench.api import Context, Value

from ..activations import Activation
from ..chain import dense_chain
from ..intervals import UNIT, Balls, Interval, jacobian_range, norm_bound, preactivations, slope_range
from ..result import Estimator, bound
from ..task import NetworkOnRegion

# Entries of interval Jacobians that are held at a time.
MAX_ENTRIES = 4_000_000
# Values of single balls that are listed in the extras.
MAX_LISTED = 200


class IntervalJacobian(Estimator):
    """Upper bound on K over the box, or over balls, from intervals that hold every Jacobian there.

    Interval bounds on the pre-activations give intervals of slopes, and their product with the weights an interval matrix
    [JL, JU]. In l2 the value is min( || max(|JL|, |JU|) ||, ||mid|| + ||rad|| ), in l1 and linf the largest column or row sum
    of max(|JL|, |JU|). All operations are rounded outwards. With a radius the value is the largest over the balls: the first
    layer is bounded on the ball itself, by dual norms, and all further ones on boxes. Tight only on small balls: on a large
    box most neurons are unstable and the value can exceed the product of the layers' norms.

    Cost: no pass through the network; two dense products of width x width x inputs for each layer and ball.

    Source: Fast-Lip (Weng et al. 2018, ICML) and interval bound propagation as in RecurJac (Zhang et al. 2019).
    """

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Bound each box; report the largest."""
        chain = dense_chain(evidence.probe.source, evidence.spec.shape)
        boxes = region_boxes(evidence)
        widest = max(s.weight.shape[0] for s in chain if not isinstance(s, Activation))
        rows = max(1, MAX_ENTRIES // (widest * evidence.probe.inputs))
        values, unstable = [], []
        for first in range(0, len(boxes.mid), rows):
            part = slice(first, first + rows)
            box = Interval(mid=boxes.mid[part], rad=boxes.rad[part])
            inputs = preactivations(chain, box, _balls(evidence, part))
            steps = [s for s in chain if isinstance(s, Activation)]
            slopes = [slope_range(s, x) for s, x in zip(steps, inputs, strict=True)]
            values.append(norm_bound(jacobian_range(chain, slopes), evidence.norm).expand(len(box.mid)))
            unstable += [((x.low < 0) & (x.high > 0)).double().mean() for x in inputs]
        found = torch.cat(values)
        return bound(
            evidence,
            float(found.max()),
            kind="upper",
            scope="box" if evidence.radius is None else "ball",
            certified=True,
            worst_point=None if evidence.radius is None else int(found.argmax()),
            median=float(found.median()),
            balls=found.tolist() if evidence.radius is not None and len(found) <= MAX_LISTED else None,
            around_zero=float(torch.stack(unstable).mean()) if unstable else 0.0,
        )


def _balls(evidence: NetworkOnRegion, part: slice) -> Balls | None:
    if evidence.radius is None:
        return None
    return Balls(centres=evidence.points[part].flatten(1).double().cpu(), radius=evidence.radius, norm=evidence.norm)


def region_boxes(evidence: NetworkOnRegion) -> Interval:
    """Boxes (N, n) that hold the region: the data's box, or one for each ball, cut by it."""
    shape = (1, evidence.probe.inputs)
    low = torch.full(shape, evidence.low, dtype=torch.float64)
    high = torch.full(shape, evidence.high, dtype=torch.float64)
    if evidence.radius is not None:
        centres = evidence.points.flatten(1).double().cpu()
        reach = evidence.radius + 4 * UNIT * (centres.abs() + evidence.radius)
        low, high = torch.maximum(low, centres - reach), torch.minimum(high, centres + reach)
    return Interval.between(low, high)
