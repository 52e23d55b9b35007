# SPDX-License-Identifier: Apache-2.0
"""Records read as results: which detector, on which pair of sets, with which seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lipbench.api import Record

LEVEL = 0.95
AUROC = "ood_auroc"
SHARES = (AUROC, "aupr", "fpr_at_tpr")
"""Metrics whose values lie in [0, 1]."""

Pair = tuple[str, str]
"""Labels of the in-domain set and of the other one."""
Published = Sequence[Mapping[str, Any]]
"""Entries of a reference file."""

_TRIVIAL = frozenset({"mean_intensity", "pca_mse"})


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over seeds."""

    value: float
    half: float | None = None
    """Half-width of the 95 % t interval over seeds; None for one seed."""

    def __str__(self) -> str:
        """Three digits behind the point.

        >>> str(Mean(value=0.78345, half=0.0123)), str(Mean(value=0.78345))
        ('0.783 ± 0.012', '0.783')
        """
        return f"{self.value:.3f}" + ("" if self.half is None else f" ± {self.half:.3f}")


@dataclass
class Grid:
    """AUROC of detectors on pairs, measured or published, without pairs of a set with itself."""

    cells: dict[str, dict[Pair, float]] = field(default_factory=dict)
    """Name of the detector, pair, AUROC."""
    kinds: dict[str, str] = field(default_factory=dict)
    """Name of the detector to `lmd`, `baseline` or `control`."""

    @property
    def pairs(self) -> list[Pair]:
        """All of them."""
        return list(dict.fromkeys(pair for cells in self.cells.values() for pair in cells))

    @property
    def headline(self) -> str | None:
        """The LMD detector with the most pairs, the first of several: not the best, which would be a choice by test results."""
        return max(self.of("lmd"), key=lambda name: len(self.cells[name]), default=None)

    def of(self, kind: str) -> list[str]:
        """Detectors of a kind."""
        return [name for name, found in self.kinds.items() if found == kind and self.cells.get(name)]


class Results:
    """The AUROCs of a suite.

    Args:
        records: In the order of the plan, which is that of detectors and pairs too.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        asked = [r for r in records if r.uses.get("metric") == AUROC]
        self.grid = Grid()
        self.pairs: list[Pair] = list(dict.fromkeys(pair_of(r) for r in asked))
        self.null = {pair_of(r) for r in asked if same_set(r)}
        self.cells: dict[str, dict[Pair, dict[int, Record]]] = {}
        self._asked: dict[str, set[Pair]] = {}
        for name, r in zip(_names(asked), asked, strict=True):
            self.grid.kinds.setdefault(name, kind_of(r))
            self._asked.setdefault(name, set()).add(pair_of(r))
            if measured(r):
                self.cells.setdefault(name, {}).setdefault(pair_of(r), {}).setdefault(r.seed, r)
        for name, cells in self.cells.items():
            self.grid.cells[name] = {pair: over_seeds(found).value for pair, found in cells.items() if pair not in self.null}

    @property
    def main(self) -> list[str]:
        """Detectors that were asked on at least half of the pairs; others belong to studies of one part of the method."""
        return [name for name, pairs in self._asked.items() if 2 * len(pairs) >= len(self.pairs)]

    @property
    def main_grid(self) -> Grid:
        """The AUROCs of those."""
        names = [name for name in self.main if self.grid.cells.get(name)]
        return Grid({name: self.grid.cells[name] for name in names}, {name: self.grid.kinds[name] for name in names})

    def mean(self, name: str, pair: Pair) -> Mean | None:
        """AUROC of a detector on a pair; None where it was not measured."""
        found = self.cells.get(name, {}).get(pair)
        return over_seeds(found) if found else None


def measured(record: Record) -> bool:
    """Whether it has a value."""
    return record.status == "ok" and record.value is not None and math.isfinite(record.value)


def pair_of(record: Record) -> Pair:
    """Labels of the two sets."""
    return record.roles.get("in_dist", ""), record.roles.get("out_dist", "")


def same_set(record: Record) -> bool:
    """Whether both sets are one, whatever their labels."""
    uses, params = record.uses, record.params
    return uses.get("in_dist") == uses.get("out_dist") and params.get("in_dist", {}) == params.get("out_dist", {})


def kind_of(record: Record) -> str:
    """`lmd`, `baseline`, or `control`: what needs no model at all."""
    use, params = record.uses.get("detector", ""), record.params.get("detector", {})
    if use == "lmd":
        return "lmd"
    return "control" if use in _TRIVIAL or params.get("source") == "pixels" else "baseline"


def over_seeds(found: Mapping[int, Record]) -> Mean:
    """Mean and t interval of the values of one detector on one pair; at least one seed."""
    values = [float(r.value or 0.0) for r in found.values()]
    middle = mean(values)
    if len(values) < 2:
        return Mean(value=middle)
    from scipy.special import stdtrit

    variance = math.fsum((v - middle) ** 2 for v in values) / (len(values) - 1)
    return Mean(value=middle, half=float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * math.sqrt(variance / len(values)))


def bounds(found: Mapping[int, Record]) -> tuple[float, float]:
    """The 95 % interval of a detector on a pair: over seeds where there are several, else over images; the value where none."""
    made = over_seeds(found)
    if made.half is not None:
        return made.value - made.half, made.value + made.half
    interval = next(iter(found.values())).interval or {}
    return float(interval.get("low", made.value)), float(interval.get("high", made.value))


def mean(values: Iterable[float]) -> float:
    """The mean of at least one number, in whatever order they come."""
    found = list(values)
    return math.fsum(found) / len(found)


def evaluations(record: Record) -> float | None:
    """Evaluations of the network for one image, where the record has them."""
    found = record.value if record.uses.get("metric") == "evaluations" else record.extras.get("evaluations")
    return float(found) if isinstance(found, (int, float)) else None


def attempts(record: Record) -> int | None:
    """How many reconstructions a detector uses: its own number, or all of the lift's."""
    found = record.params.get("detector", {}).get("attempts") or record.params.get("lift", {}).get("attempts")
    return found if isinstance(found, int) else None


def pair_name(pair: Pair) -> str:
    """A pair in words."""
    return f"{pair[0]} → {pair[1]}"


def _names(records: Sequence[Record]) -> list[str]:
    """Names of detectors: their labels, with those of lift, backbone and task's parameters only where these tell them apart.

    Any second lift is told; a second backbone or task only on one pair, since each in-domain set may have a model of its own.
    """
    names = [r.roles.get("detector", "") for r in records]
    for role in ("lift", "backbone", "task"):
        words: dict[tuple[str, object], set[str]] = {}
        places = [(n, None if role == "lift" else (pair_of(r), r.seed)) for n, r in zip(names, records, strict=True)]
        for place, r in zip(places, records, strict=True):
            words.setdefault(place, set()).add(_word(r, role))
        told = {name for (name, _), found in words.items() if len(found) > 1}
        names = [f"{n}, {_word(r, role)}" if n in told else n for n, r in zip(names, records, strict=True)]
    return names


def _word(record: Record, role: str) -> str:
    if role != "task":
        return record.roles.get(role, "")
    return ", ".join(f"{k} {said(v)}" for k, v in sorted(record.params.get("task", {}).items()))


def said(value: Any) -> str:
    """A parameter in words.

    >>> said(None), said(0.25), said("time")
    ('all', '0.25', 'time')
    """
    return "all" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
