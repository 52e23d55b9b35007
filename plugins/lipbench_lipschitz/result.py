# SPDX-License-Identifier: Apache-2.0
"""How every Lipschitz estimator reports: one function, so that kind, norm, scope and unit are never left out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from lipbench.api import Context, Direction, Interval, Metric, Value

from .task import NetworkOnRegion

BoundKind = Literal["lower", "upper", "exact", "estimate"]
Scope = Literal["global", "box", "ball"]
_DIRECTION: dict[str, Direction] = {"lower": "higher", "upper": "lower", "exact": "none", "estimate": "none"}


class Estimator(Metric):
    """A metric of the task `lipschitz` whose cost is counted from zero."""

    def compute(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Reset the meter, then estimate."""
        evidence.probe.meter.forwards = evidence.probe.meter.backwards = 0
        return self.estimate(evidence, ctx)

    @abstractmethod
    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Measure, and report through `bound`."""


def bound(
    evidence: NetworkOnRegion,
    value: float,
    *,
    kind: BoundKind,
    scope: Scope,
    certified: bool,
    unranked: str | None = None,
    interval: tuple[float, float, str] | None = None,
    **extras: Any,
) -> Value:
    """A Lipschitz number in both units.

    Args:
        evidence: What was measured; its probe's meter gives the cost.
        value: The number in raw units: output unit by raw input unit.
        kind: `lower` never above K, `upper` never below, `exact`, or `estimate` (neither).
        scope: Where the number holds: `global` all of R^n, `box` the data's range, `ball` the balls around the points. A
            lower bound carries the smallest region that it was searched in.
        certified: True where rounding is accounted for by a proof, False where it is estimated or not accounted for.
        unranked: Why it must not be ranked, None where it may.
        interval: Low, high and method, in raw units.
        extras: Traces, witnesses, diagnostics, JSON-able.

    Returns:
        The value per [0,1] input unit (raw value times `evidence.spec.unit`), the raw one in `extras["raw"]`.
    """
    unit = evidence.spec.unit
    facts: Mapping[str, Any] = {
        "kind": kind,
        "norm": evidence.norm,
        "scope": scope,
        "region": evidence.region if scope != "global" else "R^n",
        "raw": value,
        "raw_per_unit": unit,
        "certified": certified,
        "dtype": str(evidence.probe.dtype).removeprefix("torch."),
        **extras,
    }
    ends = None
    if interval is not None:
        ends = Interval(low=interval[0] * unit, high=interval[1] * unit, level=1.0, method=interval[2])
    return Value(
        value=value * unit,
        direction=_DIRECTION[kind],
        unit="output / [0,1] input",
        interval=ends,
        group=f"{kind}, {evidence.norm}, {facts['region']}",
        unranked=unranked,
        extras=facts,
        forwards=evidence.probe.meter.forwards,
        backwards=evidence.probe.meter.backwards,
    )
