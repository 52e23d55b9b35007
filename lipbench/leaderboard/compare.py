# SPDX-License-Identifier: Apache-2.0
"""What got better or worse between two folders of results, by more than noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from lipbench.contract.values import Direction, Record
from lipbench.leaderboard.compare_sides import BySeed, Pair, match
from lipbench.leaderboard.compare_tests import (
    Difference,
    difference,
    of_intervals,
    p_values,
    standard_error,
)
from lipbench.leaderboard.paired import FEWEST_SEEDS, holm
from lipbench.leaderboard.summary import fault_of

Verdict = Literal["worse", "failed", "better", "fixed", "changed", "incomparable", "untested", "gone", "new", "same"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""The most serious first."""
REGRESSIONS: tuple[Verdict, ...] = ("worse", "failed")
Threshold = Mapping[str, float | None]

_COSTS: Mapping[str, Threshold] = {
    "seconds": {"relative": 0.5, "absolute": 1.0},
    "forwards": {"relative": 0.0},
    "backwards": {"relative": 0.0},
    "peak_bytes": {"relative": 0.25, "absolute": 64 * 2.0**20},
}
"""From which difference on a cost is shown, where the suite does not say."""


@dataclass(frozen=True, kw_only=True)
class Seed:
    """One cell on both sides."""

    seed: int
    verdict: Verdict
    """Without a test: `better` or `worse` only says in which direction the value moved."""
    base: float | None
    new: float | None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One metric of one row on both sides."""

    row: tuple[str, ...]
    metric: str
    verdict: Verdict
    base: float | None = None
    """Mean over the seeds that are compared."""
    new: float | None = None
    unit: str = "1"
    direction: Direction = "none"
    test: str = ""
    p: float | None = None
    """Adjusted by Holm over all tests of the comparison."""
    remarks: tuple[str, ...] = ()
    seeds: Sequence[Seed] = ()


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one metric of one row takes on both sides."""

    row: tuple[str, ...]
    metric: str
    name: str
    base: float
    new: float
    higher: bool
    gated: bool
    """Whether the suite gives it a threshold, so that a rise is a regression."""

    @property
    def regression(self) -> bool:
        """Whether it rose beyond a threshold that the suite gives."""
        return self.gated and self.higher


@dataclass(frozen=True, kw_only=True)
class SuiteComparison:
    """One suite on both sides."""

    suite: str
    there: Literal["both", "base", "new"]
    keys: tuple[str, ...]
    lines: Sequence[Line]
    costs: Sequence[Cost]

    def counts(self) -> dict[Verdict, int]:
        """How many lines have each verdict, the most serious first; those that none has are left out."""
        found = [line.verdict for line in self.lines]
        return {verdict: count for verdict in VERDICTS if (count := found.count(verdict))}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All suites of two folders."""

    alpha: float
    suites: Sequence[SuiteComparison]

    def fails(self, on: Literal["regression", "any", "never"]) -> bool:
        """Whether there is something to fail on. What a suite lost that NEW does not have at all counts for `any` alone."""
        if on == "never":
            return False
        dear = any(cost.regression for suite in self.suites for cost in suite.costs)
        found = {line.verdict for suite in self.suites for line in suite.lines}
        return dear or bool(found - {"same"} if on == "any" else found & {*REGRESSIONS})


@dataclass(frozen=True)
class _Open:
    """A line that still waits for its p value."""

    line: Line
    difference: Difference
    threshold: Threshold
    changed: bool
    """Whether a cell has another value under the same id."""


def compare(base: Mapping[str, Path], new: Mapping[str, Path], alpha: float = 0.05) -> Comparison:
    """Compare folders of suites by name.

    Args:
        base: Suite to its folder, as it was.
        new: As it is.
        alpha: Chance that code without any difference, run with other seeds, gets a verdict of `worse` or `better` anywhere.

    Raises:
        StoreError: A plan or records are damaged.
    """
    done: list[tuple[SuiteComparison, list[Line | _Open], list[tuple[Cost, Difference, Threshold]]]] = []
    for suite in sorted({*base, *new}):
        sides = match(base.get(suite), new.get(suite))
        there: Literal["both", "base", "new"] = "both" if suite in base and suite in new else "base" if suite in base else "new"
        lines = [_line(pair, (sides.compare.get("metrics") or {}).get(pair.metric)) for pair in sides.pairs]
        costs = [cost for pair in sides.pairs for cost in _costs(pair, sides.compare.get("costs") or {})]
        done.append((SuiteComparison(suite=suite, there=there, keys=sides.keys, lines=(), costs=()), lines, costs))
    p_lines = iter(_adjusted([one.difference for _, lines, _ in done for one in lines if isinstance(one, _Open)]))
    p_costs = iter(_adjusted([change for _, _, costs in done for _, change, _ in costs]))
    suites = [
        replace(
            suite,
            lines=[_decided(one, next(p_lines), alpha) if isinstance(one, _Open) else one for one in lines],
            costs=[cost for cost, change, least in costs if _matters(change, next(p_costs), least, alpha, True)],
        )
        for suite, lines, costs in done
    ]
    return Comparison(alpha=alpha, suites=suites)


def _adjusted(changes: Sequence[Difference]) -> list[float | None]:
    values = p_values(changes)
    adjusted = iter(holm([p for p in values if p is not None]))
    return [None if p is None else next(adjusted) for p in values]


def _good(records: BySeed) -> dict[int, Record]:
    return {seed: r for seed, r in records.items() if r is not None and r.status == "ok" and r.value is not None}


def _value(record: Record) -> float:
    return float(record.value if record.value is not None else math.nan)


def _line(pair: Pair, threshold: Threshold | None) -> Line | _Open:
    """What can be said of a place at once, or what a test is to decide."""
    base, new = _good(pair.base), _good(pair.new)
    restored = any(pair.base.get(seed) is not None and seed not in base for seed in new)
    line = Line(row=pair.row, metric=pair.metric, verdict="fixed" if restored else "same", seeds=_seeds(pair))
    early = _presence(pair, base, new)
    if early is not None:
        return replace(line, verdict=early[0], remarks=early[1], base=_mean(base), new=_mean(new))
    records = [*base.values(), *new.values()]
    some = records[-1]
    line = replace(line, unit=some.unit, base=_mean(base), new=_mean(new), remarks=(*_gaps(pair, new), *_causes(base, new)))
    shared = base.keys() & new.keys()
    twins = [seed for seed in shared if base[seed].cell == new[seed].cell]
    changed = any(base[seed].value != new[seed].value for seed in twins)
    if twins and not changed and len(twins) == len(shared):
        return replace(line, remarks=())
    if reason := _clash(base, new):
        return replace(line, verdict="incomparable", remarks=(reason,))
    struck = any(r.unranked is not None for r in records)
    line = replace(line, direction="none" if struck or some.direction not in ("higher", "lower") else some.direction)
    change = _difference(base, new)
    line = replace(line, base=change.base, new=change.new, test=change.words)
    if changed:
        line = replace(line, remarks=("the same cell has another value: it is not deterministic", *line.remarks))
    return _Open(line, change, threshold or {}, changed)


def _mean(good: Mapping[int, Record]) -> float | None:
    return sum(_value(r) / len(good) for r in good.values()) if good else None


def _presence(pair: Pair, base: Mapping[int, Record], new: Mapping[int, Record]) -> tuple[Verdict, tuple[str, ...]] | None:
    """The verdict where a side has no value; None where there are values to compare."""
    if not any(pair.base.values()):
        return "new" if any(pair.new.values()) else "same", ()
    if not pair.new:
        return "gone", ()
    lost = [seed for seed in base if seed in pair.new and seed not in new]
    if lost or (base and not new):
        reasons = dict.fromkeys(fault_of(pair.new[seed]) for seed in (lost or pair.new))
        return "failed", (f"{len(new)} of {len(pair.new)} seeds: {'; '.join(reasons)}",)
    if not base:
        return ("fixed", ()) if new else ("same", ("failed on both sides",))
    return None


def _gaps(pair: Pair, new: Mapping[int, Record]) -> tuple[str, ...]:
    """Which seeds that only NEW has are without a value: they are no loss, but a mean must not hide them."""
    reasons = dict.fromkeys(fault_of(record) for seed, record in pair.new.items() if seed not in new)
    return (f"{len(new)} of {len(pair.new)} seeds: {'; '.join(reasons)}",) if reasons else ()


_SAME: Mapping[str, Callable[[Record], str]] = {
    "direction": lambda r: r.direction,
    "unit": lambda r: r.unit,
    "group": lambda r: r.group or "none",
    "not to be ranked": lambda r: "no" if r.unranked is None else "yes",
}


def _clash(base: Mapping[int, Record], new: Mapping[int, Record]) -> str:
    """Why values cannot be compared; empty where they can."""
    for name, read in _SAME.items():
        left, right = ({read(r) for r in side.values()} for side in (base, new))
        if len(left | right) > 1:
            return f"{name}: {' and '.join(sorted(left))} in BASE, {' and '.join(sorted(right))} in NEW"
    return ""


def _causes(base: Mapping[int, Record], new: Mapping[int, Record]) -> tuple[str, ...]:
    """What else differs between the sides, as far as ids of cells cover it."""
    one, other = next(iter(base.values())), next(iter(new.values()))
    causes = []
    for what in ("params", "code", "data"):
        left, right = getattr(one, what), getattr(other, what)
        names = [name for name in dict.fromkeys((*left, *right)) if left.get(name) != right.get(name)]
        if names:
            causes.append(f"other {'parameters' if what == 'params' else what} of {', '.join(names)}")
    if one.device.partition(":")[0] != other.device.partition(":")[0]:
        causes.append(f"other device: {one.device} and {other.device}")
    return tuple(causes)


def _difference(base: Mapping[int, Record], new: Mapping[int, Record]) -> Difference:
    change = difference({s: _value(r) for s, r in base.items()}, {s: _value(r) for s, r in new.items()})
    if change.words or len(base) > 1 or len(new) > 1 or not change.paired:
        return change
    # Over one seed, the metric's own uncertainty is all there is; of another seed it does not know how much models differ.
    (one,), (other,) = base.values(), new.values()
    errors = (_error(one), _error(other))
    if errors[0] is None or errors[1] is None or not math.hypot(errors[0], errors[1]):
        return change
    return of_intervals(change.base, change.new, (errors[0], errors[1]))


def _error(record: Record) -> float | None:
    """Standard error by the metric's own interval; None where it has none, or one that is no matter of chance."""
    interval = record.interval or {}
    level = interval.get("level")
    if not isinstance(level, (int, float)) or not 0 < level < 1:
        return None
    return standard_error(float(interval["low"]), float(interval["high"]), float(level))


def _matters(change: Difference, p: float | None, threshold: Threshold, alpha: float, given: bool) -> bool:
    """Whether a difference is beyond its threshold and beyond noise; where there is no noise to see, the threshold decides."""
    least = max(threshold.get("absolute") or 0.0, (threshold.get("relative") or 0.0) * abs(change.base))
    if not abs(change.change) > least:
        return False
    if p is not None and p < alpha:
        return True
    return given and change.paired and (p is None or change.flat)


def _decided(one: _Open, p: float | None, alpha: float) -> Line:
    line, change = replace(one.line, p=p), one.difference
    if _matters(change, p, one.threshold, alpha, bool(one.threshold)):
        if p is None or p >= alpha:
            line = replace(line, test=", ".join(filter(None, [line.test, "by its threshold alone"])))
        if line.direction == "none":
            return replace(line, verdict="changed")
        return replace(line, verdict="better" if (change.change > 0) == (line.direction == "higher") else "worse")
    if one.changed:
        return replace(line, verdict="changed")
    if change.change and (p is None or change.flat) and not one.threshold:
        why = "no spread" if change.flat else f"fewer than {FEWEST_SEEDS} seeds to compare"
        return replace(line, verdict="untested", remarks=(f"{why}, and the suite gives no threshold", *line.remarks))
    if change.change and p is None and not change.paired:
        return replace(
            line, verdict="untested", remarks=(f"fewer than {FEWEST_SEEDS} seeds, none of them shared", *line.remarks)
        )
    return line


def _seeds(pair: Pair) -> list[Seed]:
    base, new = _good(pair.base), _good(pair.new)
    return [
        Seed(
            seed=seed,
            verdict=_cell(pair, base.get(seed), new.get(seed), seed),
            base=_value(base[seed]) if seed in base else None,
            new=_value(new[seed]) if seed in new else None,
        )
        for seed in dict.fromkeys((*pair.base, *pair.new))
        if pair.base.get(seed) is not None or pair.new.get(seed) is not None
    ]


def _cell(pair: Pair, base: Record | None, new: Record | None, seed: int) -> Verdict:
    if base is None or new is None:
        if new is not None:
            return "fixed" if pair.base.get(seed) is not None else "new"
        if base is None:
            return "same" if pair.base.get(seed) is not None else "failed"
        return "failed" if seed in pair.new else "gone"
    if base.value == new.value:
        return "same"
    direction = new.direction if new.direction == base.direction and new.unranked is None and base.unranked is None else "none"
    if base.cell == new.cell or direction == "none":
        return "changed"
    return "better" if (_value(new) > _value(base)) == (direction == "higher") else "worse"


def _costs(pair: Pair, given: Mapping[str, Threshold]) -> list[tuple[Cost, Difference, Threshold]]:
    """The costs of a place that differ at all."""
    base, new = _good(pair.base), _good(pair.new)
    found = []
    for name, usual in _COSTS.items():
        sides = [
            {seed: float(r.cost[name]) for seed, r in side.items() if isinstance((r.cost or {}).get(name), (int, float))}
            for side in (base, new)
        ]
        if not all(sides) or sides[0] == sides[1]:
            continue
        change = difference(*sides)
        if not change.change:
            continue
        cost = Cost(
            row=pair.row, metric=pair.metric, name=name, base=change.base, new=change.new, higher=change.change > 0, gated=name in given
        )  # fmt: skip
        found.append((cost, change, given.get(name, usual)))
    return found
