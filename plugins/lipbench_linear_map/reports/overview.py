# SPDX-License-Identifier: Apache-2.0
"""The headline table: what a detector is worth after a map, with all controls beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lipbench.api import Column, Entry, Record, Table

from .averages import by_pair, over_seeds
from .derived import adaptive, adaptive_attacks, gap, rows_and_columns
from .reading import Found, Results, Setting, said, varying

_ABSENT = "-"
_NAMED = 3
"""Failures that a note spells out."""
_KEYS = ("data", "attack", "map", "feature")
_COLUMNS = (
    Column(name="AUROC mapped", direction="higher"),
    Column(name="native target"),
    Column(name="native source"),
    Column(name="gap", direction="higher"),
    Column(name="clean false alarm", direction="lower"),
    Column(name="vs noise", direction="higher"),
    Column(name="success only", direction="higher"),
    Column(name="adaptive AUROC", direction="higher"),
    Column(name="robust accuracy", direction="higher"),
    Column(name="R2", direction="higher"),
    Column(name="rows/column"),
)
_CAPTION = (
    "Means over ordered pairs of two networks, the detector of one (the target) applied to mapped features of the other (the "
    "source). Native: each network's own detector on its own features, on the same pairs. Gap: mapped less native source, 0 is "
    "a map that loses nothing. Clean false alarm: mean of |AUROC - 0.5| of mapped against native originals, ideally 0. "
    "Vs noise: adversarial images against random signs of the same size. Success only: images on which the attack succeeded."
)


def overview(records: Sequence[Record]) -> Table:
    """One row for each data, attack, map, feature and task parameter that varies.

    Args:
        records: In the order of the plan.
    """
    results = Results(records)
    # A sweep over the rows of the fit is a plot of its own, and would be most of this table.
    settings = [s for s in results.settings if s.get("map_rows") is None] or results.settings
    if not settings:
        return Table(title="Overview", columns=(), rows=())
    keys = [*_KEYS, *varying(settings)]
    notes: list[str] = []
    rows = [_row(results, s, keys, notes) for s in settings]
    columns = [*(Column(name=k) for k in keys), Column(name="pairs"), *_COLUMNS]
    return Table(title="Overview", columns=columns, rows=rows, notes=notes, caption=_caption(results))


def _row(results: Results, setting: Setting, keys: Sequence[str], notes: list[str]) -> list[Entry]:
    auroc = results.mapped(setting)
    own = results.own(setting, "source", auroc)
    target = results.own(setting, "target", auroc or results.values(setting, "auroc"))
    alarm = {p: abs(v - 0.5) for p, v in results.mapped(setting, "clean_false_alarm").items()}
    evaded, right = adaptive(results, setting)
    shown: list[tuple[Found, tuple[str, ...]]] = [
        (auroc, ("auroc",)),
        (target, ("auroc", "native_auroc")),
        (own, ("native_auroc",)),
        (gap(results, setting), ("transfer_gap",)),
        (alarm, ("clean_false_alarm",)),
        (results.mapped(setting, "auroc_vs_noise"), ("auroc_vs_noise",)),
        (results.mapped(setting, "auroc_success_only"), ("auroc_success_only",)),
        (evaded, ("adaptive_auroc",)),
        (right, ("adaptive_robust_accuracy",)),
        (results.mapped(setting, "r2"), ("r2",)),
    ]
    first, *others = [said(setting, key) for key in keys]
    return [
        Entry(text=first, note=_note(notes, _faults(results.failed(setting)))),
        *(Entry(text=text) for text in others),
        _pairs(auroc),
        *(_mean(found, any(results.asked(setting, m) for m in metrics)) for found, metrics in shown),
        _ratio(results, setting),
    ]


def _mean(found: Found, asked: bool) -> Entry:
    made = over_seeds(found)
    if made is None:
        return Entry(text=_ABSENT if asked else "")
    return Entry(text=str(made), value=made.value)


def _pairs(found: Found) -> Entry:
    pairs, seeds = len(by_pair(found)), len({p.seed for p in found})
    missing = pairs * seeds - len(found)
    text = f"{pairs}" if seeds < 2 else f"{pairs} x {seeds} seeds"
    return Entry(text=text + (f" less {missing}" if missing else ""), value=float(len(found)))


def _ratio(results: Results, setting: Setting) -> Entry:
    ratios = [rows / columns for p, (rows, columns) in rows_and_columns(results, setting).items() if not results.native(p)]
    if not ratios:
        return Entry(text="")
    low, high = f"{min(ratios):.3g}", f"{max(ratios):.3g}"
    return Entry(text=low, value=min(ratios)) if low == high else Entry(text=f"{low} to {high}")


def _faults(failed: Sequence[Record]) -> str:
    """Each failure once, with its metric and the number of cells; of many, the first few."""
    counts = Counter(_fault(r) for r in failed)
    said = list(counts.items())[:_NAMED]
    more = len(failed) - sum(n for _, n in said)
    words = [text if n == 1 else f"{text} ({n} cells)" for text, n in said]
    return "; ".join([*words, *([f"{more} more cells failed"] if more else [])])


def _fault(record: Record) -> str:
    error = record.error or {}
    message = " ".join(error.get("message", "").split())
    return f"{record.metric} failed ({error.get('class', record.status)})" + (f": {message}" if message else "")


def _note(notes: list[str], text: str) -> int | None:
    if not text:
        return None
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1


def _caption(results: Results) -> str:
    parts = [_CAPTION]
    if any(len(adaptive_attacks(results, s)) > 1 for s in results.settings):
        parts.append("Of several adaptive attacks, the one that brings the AUROC down most.")
    seeds = {len({p.seed for p in results.values(s, "auroc")}) for s in results.settings} - {0}
    if any(n > 1 for n in seeds):
        parts.append("Mean ± half-width of the 95 % t interval over seeds.")
    if 1 in seeds:
        parts.append("One seed: no interval." if seeds == {1} else "Rows of one seed have no interval.")
    if any(len(found := results.mapped(s)) < len(by_pair(found)) * len({p.seed for p in found}) for s in results.settings):
        parts.append("Less: cells that are missing.")
    parts.append("Empty: the suite does not ask for it.")
    return " ".join(parts)
