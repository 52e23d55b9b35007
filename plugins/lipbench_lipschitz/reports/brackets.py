# SPDX-License-Identifier: Apache-2.0
"""The headline table: between which certified bounds each constant lies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lipbench.api import Column, Entry, Record, Table

from .bounds import SLACK
from .reading import Bound, Quantity, Region, number, quantity_of, read_bounds, task_region

_ABSENT = "-"
_CAPTION = (
    "Where the Lipschitz constant K of each network lies: the largest certified lower bound and the smallest certified upper "
    "bound that any metric, precision and kind of pairs gives. Lower bounds are ratios of pairs inside the region. An upper "
    "bound may hold on a larger region (it is then named after the metric), so a gap also holds what K is larger there. "
    "Exact: K on the region itself, with which a gap is not computed. Gap: upper / lower - 1. Estimates and values that are "
    "not to be ranked take no part, and networks are not ranked against each other."
)


@dataclass
class _Row:
    """What is known of one constant on one region."""

    quantity: Quantity
    region: Region
    bounds: dict[int, list[Bound]] = field(default_factory=dict)
    """All bounds of the quantity, by seed."""
    failed: list[Record] = field(default_factory=list)

    def best(self, kind: str) -> dict[int, Bound]:
        """The tightest sound bound of a kind that applies here, by seed."""
        found = {
            seed: [b for b in bounds if b.sound and b.kind == kind and self._applies(b)] for seed, bounds in self.bounds.items()
        }
        sign = -1 if kind == "lower" else 1
        return {seed: min(bounds, key=lambda b: (sign * b.value, b.order())) for seed, bounds in found.items() if bounds}

    def _applies(self, bound: Bound) -> bool:
        below, above = bound.region.inside(self.region), self.region.inside(bound.region)
        return {"lower": below, "upper": above, "exact": below and above}[bound.kind]

    def refused(self, kind: str) -> list[str]:
        """Why values of this kind take no part."""
        words = {
            f"{b.metric}: {b.record.unranked or 'not certified'}"
            for bounds in self.bounds.values()
            for b in bounds
            if b.kind == kind and not b.sound and self._applies(b)
        }
        return sorted(words)


class _Notes:
    """Footnotes, each text once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, *remarks: str) -> int | None:
        """Number of the footnote; None where nothing is to be said."""
        text = "; ".join(r for r in remarks if r)
        if not text:
            return None
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def brackets(records: Sequence[Record]) -> Table:
    """One row for each network, data, norm, layer and region; means over seeds.

    Args:
        records: In any order.
    """
    rows = _rows(records)
    if not rows:
        return Table(title="Brackets", columns=(), rows=())
    keys = _keys(rows)
    seeds = any(len(r.bounds) > 1 for r in rows)
    raw = any(_unit(r) != 1 for r in rows)
    notes = _Notes()
    unit = next((b.record.unit for r in rows for bs in r.bounds.values() for b in bs), "")
    return Table(
        title="Brackets",
        columns=_columns(keys, unit, seeds=seeds, raw=raw),
        rows=[_entries(r, keys, notes, seeds=seeds, raw=raw) for r in rows],
        notes=notes.texts,
        caption=_caption(rows, keys, seeds),
    )


def _rows(records: Sequence[Record]) -> list[_Row]:
    """A row for each region that a lower bound, an exact value, a local upper bound or a failure is about."""
    values: dict[Quantity, dict[int, list[Bound]]] = {}
    for b in read_bounds(records):
        if b.kind != "estimate":
            values.setdefault(b.quantity, {}).setdefault(b.record.seed, []).append(b)
    failed = sorted((r for r in records if r.status != "ok"), key=lambda r: (r.metric, r.seed, r.cell))
    faults: dict[Quantity, dict[Region, list[Record]]] = {}
    for r in failed:
        faults.setdefault(quantity_of(r), {}).setdefault(task_region(r), []).append(r)
    rows = []
    for quantity in sorted({*values, *faults}, key=Quantity.order):
        bounds = values.get(quantity, {})
        regions = {b.region for found in bounds.values() for b in found if b.region.place != "global"} | set(
            faults.get(quantity, {})
        )
        for region in sorted(regions or {Region(place="global")}, key=Region.order):
            # Seeds that were not asked about this region would bring in bounds of wider ones.
            here = {s: found for s, found in bounds.items() if any(b.region == region for b in found)}
            rows.append(_Row(quantity=quantity, region=region, bounds=here, failed=faults.get(quantity, {}).get(region, [])))
    return rows


def _keys(rows: Sequence[_Row]) -> list[str]:
    """Norm and layer are columns where they vary."""
    return ["network", "data", *(k for k in ("norm", "layer") if len({getattr(r.quantity, k) for r in rows}) > 1)]


def _unit(row: _Row) -> float:
    return float(next((b.record.extras.get("raw_per_unit", 1) for bounds in row.bounds.values() for b in bounds), 1))


def _columns(keys: Sequence[str], unit: str, *, seeds: bool, raw: bool) -> list[Column]:
    return [
        *(Column(name=k) for k in keys),
        Column(name="region"),
        *([Column(name="seeds")] if seeds else []),
        Column(name="lower", direction="higher", unit=unit),
        Column(name="lower by"),
        Column(name="exact", unit=unit),
        Column(name="upper", direction="lower", unit=unit),
        Column(name="upper by"),
        Column(name="gap in %", direction="lower"),
        *([Column(name="K per raw unit")] if raw else []),
    ]


def _entries(row: _Row, keys: Sequence[str], notes: _Notes, *, seeds: bool, raw: bool) -> list[Entry]:
    lower, exact, upper = (row.best(kind) for kind in ("lower", "exact", "upper"))
    total = len(row.bounds)
    first, *others = [str(getattr(row.quantity, k)) for k in keys]
    entries = [Entry(text=first, note=notes.add(*_faults(row.failed))), *(Entry(text=t) for t in others)]
    entries.append(Entry(text=str(row.region)))
    if seeds:
        entries.append(Entry(text=str(total), value=float(total)))
    guessed = "its rounding error is estimated and subtracted, not proved" if any(not b.proved for b in lower.values()) else ""
    entries.append(_mean(lower, total, notes, _missing(row, lower, "lower", "no certified lower bound") or guessed))
    entries.append(Entry(text=_credit([b.metric for b in lower.values()])))
    entries.append(_mean(exact, total, notes, ""))
    entries.append(_mean(upper, total, notes, _missing(row, upper, "upper", "no certified upper bound that holds here")))
    entries.append(Entry(text=_credit([_where(b, row.region) for b in upper.values()])))
    entries.append(_gap(lower, upper, notes))
    if raw:
        entries.append(Entry(text=_raw(row, lower, upper)))
    return entries


def _mean(best: Mapping[int, Bound], total: int, notes: _Notes, remark: str) -> Entry:
    if not best:
        return Entry(text=_ABSENT, note=notes.add(remark))
    value = math.fsum(b.value for b in best.values()) / len(best)
    part = f"{len(best)} of {total} seeds" if len(best) < total else ""
    return Entry(text=number(value), value=value, note=notes.add(part, remark))


def _missing(row: _Row, best: Mapping[int, Bound], kind: str, words: str) -> str:
    return "" if best else "; ".join([words, *row.refused(kind)])


def _where(bound: Bound, region: Region) -> str:
    return bound.metric if bound.region == region else f"{bound.metric} on {bound.region}"


def _credit(names: Sequence[str]) -> str:
    """The metrics that gave the bounds, the one of most seeds first."""
    counts = Counter(names)
    return " / ".join(sorted(counts, key=lambda name: (-counts[name], name))) or _ABSENT


def _gap(lower: Mapping[int, Bound], upper: Mapping[int, Bound], notes: _Notes) -> Entry:
    both = sorted(lower.keys() & upper.keys())
    if not both:
        return Entry(text=_ABSENT)
    if any(lower[s].value <= 0 for s in both):
        return Entry(text=_ABSENT, note=notes.add("a lower bound is 0"))
    gap = 100 * math.fsum(upper[s].value / lower[s].value - 1 for s in both) / len(both)
    wrong = any(lower[s].value > upper[s].value * (1 + SLACK) for s in both)
    return Entry(text=_percent(gap), value=gap, note=notes.add("the lower bound lies above the upper bound" if wrong else ""))


def _percent(gap: float) -> str:
    if abs(gap) < 0.005:
        return "< 0.01"
    return f"{gap:.2f}" if abs(gap) < 100 else f"{gap:.0f}" if abs(gap) < 1e5 else f"{gap:.1e}"


def _raw(row: _Row, lower: Mapping[int, Bound], upper: Mapping[int, Bound]) -> str:
    unit = _unit(row)
    if unit == 1:
        return ""
    low, high = (
        number(math.fsum(b.value for b in best.values()) / len(best) / unit) if best else "" for best in (lower, upper)
    )
    if low and high:
        return f"{low} to {high}"
    return f"at least {low}" if low else f"at most {high}" if high else ""


def _faults(failed: Iterable[Record]) -> list[str]:
    """Each failure once, with its metric and the number of cells."""
    counts = Counter(_fault(r) for r in failed)
    return [words if n == 1 else f"{words} ({n} cells)" for words, n in counts.items()]


def _fault(record: Record) -> str:
    error = record.error or {}
    message = " ".join(error.get("message", "").split())
    return f"{record.metric} failed ({error.get('class', record.status)})" + (f": {message}" if message else "")


def _caption(rows: Sequence[_Row], keys: Sequence[str], seeds: bool) -> str:
    parts = [_CAPTION]
    fixed = [f"{k}: {getattr(rows[0].quantity, k)}" for k in ("norm", "layer") if k not in keys]
    if fixed:
        parts.append(f"{', '.join(fixed).capitalize()}.")
    places = {r.region.place for r in rows}
    if "box" in places:
        parts.append("Box: the range of the data.")
    if "balls" in places:
        parts.append("Ball(r): balls of radius r, in raw input units, around test points; the largest of their constants.")
    if seeds:
        parts.append("Several seeds: means, also of the gap.")
    return " ".join(parts)
