# SPDX-License-Identifier: Apache-2.0
"""Checks of a metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lipbench.contract.components import Metric
from lipbench.contract.errors import LipbenchError, in_words
from lipbench.contract.values import Value
from lipbench.testing.arrays import (
    arrays_in,
    close,
    first_rows,
    floating,
    permuted,
    replaced,
    rotated,
    scaled,
    with_nan,
    written_by,
)
from lipbench.testing.common import COMMON
from lipbench.testing.kit import Checks, Conformance, DoesNotApply, Subject, find, global_seed, in_batches

TOLERANCE = 1e-5
"""Relative: what another order, batch or rotation may change."""
FACTOR = 4.0
"""A power of two, so that scaling is exact but for the metric's own rounding."""


@dataclass(frozen=True, kw_only=True)
class MetricSubject(Subject):
    """A metric under test, and what it reads."""

    evidence: Callable[[], Any]
    better: Callable[[], Any] | None = None
    single: Callable[[], Any] | None = None
    empty: Callable[[], Any] | None = None
    unit: str | None = None
    bounds: tuple[float, float] | None = None
    invariances: Mapping[str, float | None] = field(default_factory=dict)
    tolerance: float = TOLERANCE

    def measure(self, evidence: Any, seed: int = 0, world: int = 0, **more: Any) -> Value:
        """What a new one makes of evidence, with the global generators at `world`, as the harness sets them for a cell."""
        metric: Metric = self.make()
        with global_seed(world):
            return metric.compute(evidence, self.context(seed, **more))

    def number(self, evidence: Any, **more: Any) -> float:
        """The number alone."""
        return float(self.measure(evidence, **more).value)


def value(subject: MetricSubject) -> Iterable[str]:
    """It gives a `Value` with a finite number, a unit, a direction, and an interval around the number."""
    made = subject.measure(subject.evidence())
    if not isinstance(made, Value):
        yield f"compute must give a Value, it gave a {type(made).__name__}"
        return
    if not math.isfinite(made.value):
        yield f"the value is {made.value}"
    if not made.unit.strip():
        yield "the unit is empty; write '1' for a pure number"
    if made.forwards < 0 or made.backwards < 0:
        yield "forwards and backwards are numbers of rows, not below 0"
    if made.interval is not None:
        low, high = made.interval.low, made.interval.high
        if not low <= made.value <= high:
            yield f"the interval from {low:g} to {high:g} does not hold the value {made.value:g}"
        if not 0 < made.interval.level <= 1 or not made.interval.method.strip():
            yield f"the interval needs a level in (0, 1] and a method, it has {made.interval.level!r} and {made.interval.method!r}"
    if subject.bounds is not None and not subject.bounds[0] <= made.value <= subject.bounds[1]:
        yield f"the value {made.value:g} is outside of its range, {subject.bounds[0]:g} to {subject.bounds[1]:g}"


def unit(subject: MetricSubject) -> Iterable[str]:
    """The unit is the one that the author says, and fits how the value scales."""
    degree = subject.invariances.get("scaling")
    if subject.unit is None and degree is None:
        raise DoesNotApply("neither unit= nor a scaling was declared")
    found = subject.measure(subject.evidence()).unit
    if subject.unit is not None and found != subject.unit:
        yield f"the unit is {found!r}, the author says {subject.unit!r}"
    if degree and found in ("1", "%"):
        yield f"the value scales with the evidence (degree {degree:g}), so it is no pure number, but its unit is {found!r}"


def direction(subject: MetricSubject) -> Iterable[str]:
    """Better evidence gives a value that is better in its direction."""
    if subject.better is None:
        raise DoesNotApply("no better= evidence was given")
    plain, better = subject.measure(subject.evidence()), subject.measure(subject.better())
    if plain.direction != better.direction:
        yield f"its direction is {plain.direction!r} or {better.direction!r}, by the evidence"
    elif plain.direction == "none":
        yield "its direction is 'none', but the author says which evidence is better"
    elif not (better.value > plain.value if plain.direction == "higher" else better.value < plain.value):
        yield f"{plain.direction!r} is better, but better evidence gives {better.value:g} and the other {plain.value:g}"


def determinism(subject: MetricSubject) -> Iterable[str]:
    """The same seed gives the same value, bit for bit, from each object and each time."""
    one, other = subject.measure(subject.evidence()), subject.measure(subject.evidence())
    if one.value != other.value or dict(one.extras) != dict(other.extras):
        yield f"measuring twice gives {one.value!r} and {other.value!r} or other extras; draw from ctx alone"
    metric, evidence = subject.make(), subject.evidence()
    with global_seed(0):
        first = metric.compute(evidence, subject.context())
    with global_seed(0):
        second = metric.compute(evidence, subject.context())
    if first.value != second.value:
        yield f"one object gives {first.value!r} and then {second.value!r}: it keeps something from one call to the next"
    if subject.number(subject.evidence(), world=1) != one.value:
        yield "the value hangs on a global random generator; draw from ctx.rng() or ctx.generator()"


def evidence_unchanged(subject: MetricSubject) -> Iterable[str]:
    """It does not write to its evidence, which others read too."""
    for path in written_by(subject.measure, subject.evidence()):
        yield f"it writes to {path} of its evidence; copy before writing"


def batch_independence(subject: MetricSubject) -> Iterable[str]:
    """Smaller batches, after memory ran out, give the same value up to rounding."""
    whole, smaller = in_batches(lambda **context: subject.number(subject.evidence(), **context))
    for size, part in smaller.items():
        if not close(whole, part, max(subject.tolerance, 1e-4)):
            yield f"with batches of {size} the value is {part!r}, not {whole!r}"


def nan_evidence(subject: MetricSubject) -> Iterable[str]:
    """NaN in all its arrays is refused or shows in the value; it never becomes an ordinary number."""
    _needs_arrays(subject.evidence())
    try:
        found = subject.number(replaced(subject.evidence(), with_nan))
    except Exception:
        return
    if math.isfinite(found):
        yield f"evidence with NaN gives {found:g}; raise InvalidInput, or let NaN through"


def empty_evidence(subject: MetricSubject) -> Iterable[str]:
    """No rows are refused in a sentence."""
    if subject.empty is None:
        _needs_arrays(subject.evidence())
    evidence = subject.empty() if subject.empty else replaced(subject.evidence(), first_rows(0))
    try:
        found = subject.number(evidence)
    except LipbenchError:
        return
    except Exception as error:
        yield f"no rows raise {in_words(error)}; raise InvalidInput and say what is missing"
        return
    if math.isfinite(found):
        yield f"no rows give {found:g}; raise InvalidInput"


def single_row(subject: MetricSubject) -> Iterable[str]:
    """One row gives a finite value, or is refused in a sentence."""
    if subject.single is None:
        _needs_arrays(subject.evidence())
    evidence = subject.single() if subject.single else replaced(subject.evidence(), first_rows(1))
    try:
        found = subject.number(evidence)
    except LipbenchError:
        return
    except Exception as error:
        yield f"one row raises {in_words(error)}; raise InvalidInput or NotApplicable and say how many it needs"
        return
    if not math.isfinite(found):
        yield f"one row gives {found}; raise InvalidInput or NotApplicable and say how many it needs"


def invariances(subject: MetricSubject) -> Iterable[str]:
    """What the author declares holds: order of rows, scale, rotation."""
    if not subject.invariances:
        raise DoesNotApply("none is declared")
    _needs_arrays(subject.evidence())
    plain = subject.number(subject.evidence())
    for name, degree in subject.invariances.items():
        change = _CHANGES[name]()
        wanted = plain * FACTOR**degree if name == "scaling" and degree is not None else plain
        found = subject.number(replaced(subject.evidence(), change))
        if not close(found, wanted, subject.tolerance):
            yield f"{name} gives {found!r} where {wanted!r} was declared"


_CHANGES: Mapping[str, Callable[[], Callable[[Any], Any]]] = {
    "permutation": lambda: permuted(np.random.default_rng(1)),
    "scaling": lambda: scaled(FACTOR),
    "rotation": lambda: rotated(np.random.default_rng(1)),
}
"""Invariances that an author can declare."""


def _needs_arrays(evidence: Any) -> None:
    if not any(floating(array) for _, array in arrays_in(evidence)):
        raise DoesNotApply("its evidence holds no arrays that could be changed")


CHECKS: Checks[MetricSubject] = Checks(
    checks=(
        *COMMON, value, unit, direction, determinism, evidence_unchanged, batch_independence, nan_evidence, empty_evidence,
        single_row, invariances,
    )
)  # fmt: skip


def check_metric(
    component: type[Metric] | str,
    *,
    evidence: Callable[[], Any],
    better: Callable[[], Any] | None = None,
    single: Callable[[], Any] | None = None,
    empty: Callable[[], Any] | None = None,
    unit: str | None = None,
    bounds: tuple[float, float] | None = None,
    invariances: Mapping[str, float | None] | None = None,
    tolerance: float = TOLERANCE,
    params: Mapping[str, Any] | None = None,
    plugin: str | None = None,
    waive: Mapping[str, str] | None = None,
) -> Conformance:
    """Check that a metric keeps the contract: value, unit, direction, determinism, batches, NaN, few rows, invariances.

    Args:
        component: Its name, or its class.
        evidence: Makes what it reads; called again and again, it gives the same.
        better: Makes evidence that is better than that, to check the direction.
        single: Makes evidence of one row; by default the first row of each array.
        empty: Makes evidence without rows; by default none of each array.
        unit: The unit that its values must have.
        bounds: The range of its values, such as (0, 1).
        invariances: Any of `permutation` and `rotation` (to None), and `scaling` (to the degree: evidence times c gives the
            value times c to that power, 0 where it stays).
        tolerance: Relative, for the invariances and for batches.
        params: Parameters that its constructor gets.
        plugin: File or module of a plugin that is not installed.
        waive: Name of a check to the reason why it need not pass.

    Raises:
        ConformanceError: With a line for each fault.
        LipbenchError: An invariance is not known.
    """
    for name in invariances or {}:
        if name not in _CHANGES:
            raise LipbenchError(f"there is no invariance {name!r}; known: {', '.join(_CHANGES)}")
    cls, declared = find("metric", component, plugin)
    subject = MetricSubject(
        kind="metric", cls=cls, declared=declared, params=params or {}, evidence=evidence, better=better, single=single,
        empty=empty, unit=unit, bounds=bounds, invariances=invariances or {}, tolerance=tolerance,
    )  # fmt: skip
    return CHECKS.run(subject, waive or {})
