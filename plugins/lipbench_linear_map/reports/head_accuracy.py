# SPDX-License-Identifier: Apache-2.0
"""Whether a target's last layer goes by what the source saw or by what the target knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from lipbench.api import Column, Entry, Record, Table

from .averages import by_pair, deviation, mean
from .matrices import Published
from .reading import Found, Results, Setting, numbers

_METRIC = "head_accuracy"
_MEAN = "mean over sources"
"""Source of a published mean."""
_TITLE = "Accuracy of the target's last layer"
_COLUMNS = (
    Column(name="data"),
    Column(name="attack"),
    Column(name="target"),
    Column(name="own accuracy"),
    Column(name="mapped accuracy"),
    Column(name="sources"),
    Column(name="sources' own accuracy"),
    Column(name="published"),
)
_CAPTION = (
    "The target's last layer on adversarial embeddings of the other networks, mapped into its space: mean ± standard deviation "
    "over sources, of the population (ddof 0). Own accuracy: of the target on its own adversarial images; sources' own "
    "accuracy: mean of the sources on theirs. Does it follow the source or the target? Mapped accuracy near that of the "
    "sources says that the map hands on what the source saw, its errors with it; near the target's own, that the target "
    "decides. More is not better."
)
_WIDE = frozenset({"52.30 ± 19.21 %", "46.75 ± 20.01 %"})
"""The published means that tell which standard deviation it is."""
_DDOF = (
    "The published standard deviations of ResNet-152 and ViT, 19.21 and 20.01 %, are possible with ddof 0 alone: one of the five sources is given "
    "as 16.6 % and 8.9 %, and for a sample (ddof 1) that is too far from the mean."
)


@dataclass(frozen=True, kw_only=True)
class _Mean:
    """A published mean over sources."""

    data: str
    attack: str
    target: str
    own: float | None
    value: float
    printed: str
    """As the source prints it."""
    spread: float | None
    """The standard deviation, in the unit of `value`."""
    verdict: str

    def fits(self, setting: Setting, target: str) -> bool:
        """Whether it is about this target, under this attack on these data."""
        roles = (("data", self.data), ("attack", self.attack))
        agree = (any(fnmatchcase(w, pattern) for w in (setting.label(r), setting.use(r))) for r, pattern in roles)
        return fnmatchcase(target, self.target) and all(agree)


def head_accuracy(records: Sequence[Record], published: Published = ()) -> Table:
    """A row for each target; below, the published table where none of its targets is among ours.

    Args:
        records: In the order of the plan.
        published: Entries of the suite's reference file.
    """
    results = Results(records)
    settings = list(_settings(results))
    targets = [(s, target) for s in settings for target in _targets(results, s)]
    if not targets:
        return Table(title=_TITLE, columns=(), rows=())
    theirs = list(_means(published))
    beside = {t: next((m for m in theirs if m.fits(*t)), None) for t in targets}
    below = [] if any(beside.values()) else theirs
    notes = list(dict.fromkeys(m.verdict for m in (*beside.values(), *below) if m is not None and m.verdict))
    rows = [_row(results, *t, beside[t], notes) for t in targets]
    return Table(
        title=_TITLE,
        columns=_COLUMNS,
        rows=[*rows, *(_published_row(m, notes) for m in below)],
        notes=notes,
        caption=_caption(results, settings, wide=any(m.printed in _WIDE for m in theirs), below=bool(below)),
    )


def _settings(results: Results) -> Iterable[Setting]:
    """Of each data and attack the setting with the most pairs, the first of several; null maps only where all are."""
    groups: dict[tuple[str, str], list[Setting]] = {}
    for s in results.settings:
        if results.values(s, _METRIC):
            groups.setdefault((s.label("data"), s.label("attack")), []).append(s)
    for group in groups.values():
        yield max(group, key=lambda s: (not s.null, len({p[:2] for p in results.mapped(s, _METRIC)})))


def _targets(results: Results, setting: Setting) -> list[str]:
    """In the order of the plan."""
    return list(dict.fromkeys(p.target for p in results.values(setting, _METRIC)))


def _row(results: Results, setting: Setting, target: str, theirs: _Mean | None, notes: Sequence[str]) -> list[Entry]:
    records = {p: r for p, r in results.records(setting, _METRIC).items() if p.target == target}
    own = numbers(records, "target_adversarial")
    # Where images are crafted on one network of the pair, the target's own are those of the diagonal.
    own = {p: v for p, v in own.items() if results.native(p)} or own
    others = {p: r for p, r in records.items() if not results.native(p)}
    mapped = list(by_pair({p: float(r.value or 0.0) for p, r in others.items()}).values())
    return [
        Entry(text=setting.label("data")),
        Entry(text=setting.label("attack")),
        Entry(text=target),
        _accuracy(own),
        _number(mean(mapped) if mapped else None, deviation(mapped, ddof=0)),
        Entry(text=str(len(mapped)), value=float(len(mapped))),
        _accuracy(numbers(others, "source_adversarial")),
        Entry(text="") if theirs is None else _theirs(theirs, notes),
    ]


def _accuracy(found: Found) -> Entry:
    """Mean over seeds, then over pairs."""
    return _number(mean(by_pair(found).values()) if found else None)


def _number(value: float | None, spread: float | None = None) -> Entry:
    if value is None:
        return Entry(text="")
    return Entry(text=f"{value:.3f}" + ("" if spread is None else f" ± {spread:.3f}"), value=value)


def _theirs(mean_: _Mean, notes: Sequence[str]) -> Entry:
    note = notes.index(mean_.verdict) + 1 if mean_.verdict else None
    text = _number(mean_.value, mean_.spread).text
    return Entry(text=f"{text} ({mean_.printed})" if mean_.printed else text, value=mean_.value, note=note)


def _published_row(mean_: _Mean, notes: Sequence[str]) -> list[Entry]:
    return [
        *(Entry(text=text) for text in (mean_.data, mean_.attack, mean_.target)),
        _number(mean_.own),
        _number(mean_.value, mean_.spread),
        Entry(text=""),
        Entry(text=""),
        _theirs(mean_, notes),
    ]


def _means(published: Published) -> Iterator[_Mean]:
    """The published means over sources."""
    own = {_about(where): float(e["value"]) for e, where in _entries(published) if where["source"] == where["target"]}
    for entry, where in _entries(published):
        if where["source"] == _MEAN:
            printed, spread = _printed(str(entry.get("note") or ""))
            data, attack, target = _about(where)
            yield _Mean(
                data=data,
                attack=attack,
                target=target,
                own=own.get((data, attack, target)),
                value=float(entry["value"]),
                printed=printed,
                spread=spread,
                verdict=str(entry.get("verdict") or ""),
            )


def _entries(published: Published) -> Iterator[tuple[Mapping[str, Any], Mapping[str, str]]]:
    """Entries of the value itself, with what they are about."""
    for entry in published:
        where: Mapping[str, str] = entry.get("where") or {}
        if where.get("metric") == _METRIC and {"source", "target"} <= where.keys() and not entry.get("extra"):
            yield entry, where


def _about(where: Mapping[str, str]) -> tuple[str, str, str]:
    return where.get("data", "*"), where.get("attack", "*"), where["target"]


def _printed(note: str) -> tuple[str, float | None]:
    """What a note gives as printed, and the standard deviation in it as a share.

    >>> _printed("Table 7 CIFAR-10 ResNet-18 printed as 40.55 +- 4.83 %")
    ('40.55 ± 4.83 %', 0.0483)
    """
    found = re.search(r"(\d[\d.]*)\s*(?:\+-|±)\s*(\d+(?:\.\d+)?)(\s*%)?", note)
    if found is None:
        return "", None
    value, spread, percent = found.groups()
    return f"{value} ± {spread}{' %' if percent else ''}", round(float(spread) / (100 if percent else 1), 12)


def _caption(results: Results, settings: Sequence[Setting], *, wide: bool, below: bool) -> str:
    seeds = {len({p.seed for p in results.values(s, _METRIC)}) for s in settings}
    parts = [f"{'; '.join(map(str, settings))}.", _CAPTION]
    parts.append("Means over seeds come first." if max(seeds) > 1 else "One seed.")
    if below:
        parts.append(
            "Rows with an entry under published are those of the source of the method: no network of theirs is among ours."
        )
    if wide:
        parts.append(_DDOF)
    return " ".join(parts)
